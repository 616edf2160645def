//! The examples as their files say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use tortie_analysis::observation::StepReport;
use tortie_manifest::Memory;
use tortie_manifest::case::Case;
use tortie_model::Family;

use crate::seen::{all_hold, case, observations, play};
use crate::{Result, World};

/// An example: its files, and what was seen when it was played as it is.
pub(crate) struct Example {
    name: &'static str,
    texts: BTreeMap<String, String>,
    reports: OnceLock<std::result::Result<Vec<StepReport>, String>>,
}

impl Example {
    pub(crate) fn read(name: &'static str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let mut texts = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
            let path = entry?.path();
            let file = path.file_name().and_then(|n| n.to_str()).ok_or("a file's name is no text")?.to_owned();
            if file.ends_with(".yaml") {
                let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                texts.insert(file, text);
            }
        }
        Ok(Self { name, texts, reports: OnceLock::new() })
    }

    /// Its YAML files.
    pub(crate) const fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// The name of its case file.
    pub(crate) fn case_file(&self) -> String {
        format!("{}.case.yaml", self.name)
    }

    pub(crate) fn case(&self) -> Result<Case> {
        case(&Memory::new(self.texts.clone()), "")
    }

    /// What was seen; it is played once.
    pub(crate) fn reports(&self, world: &World) -> Result<&[StepReport]> {
        let played = || play(&world.sandbox, self.case()?);
        let reports =
            self.reports.get_or_init(|| played().map_err(|e: Box<dyn std::error::Error + Send + Sync>| e.to_string()));
        reports.as_deref().map_err(|e| e.clone().into())
    }
}

/// Plays a practical of nine steps.
pub(crate) fn holds(world: &World, example: &Example) -> Result {
    all_steps(world, example, 9, 5_000)
}

/// Plays an example, and counts its steps and what is seen in them.
pub(crate) fn all_steps(world: &World, example: &Example, steps: usize, least: usize) -> Result {
    let started = std::time::Instant::now();
    let reports = example.reports(world)?;
    println!("{}: {} probes, {:.1?}", example.name, observations(reports).count(), started.elapsed());
    all_hold(reports, least)?;
    if reports.len() != steps {
        return Err(format!("{} steps", reports.len()).into());
    }
    for report in reports {
        for family in Family::ALL {
            let mut of = report.observations.iter().filter(|o| o.family == family);
            if !of.any(|o| o.kernel.is_some() && o.expected.is_some()) {
                return Err(format!("step {}: nothing was seen over {}", report.step, family.as_str()).into());
            }
        }
    }
    Ok(())
}
