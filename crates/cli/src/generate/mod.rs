//! `tortie generate`: the least policies that allow recorded connections.

pub(crate) mod arguments;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tortie_analysis::snapshot::Snapshot;
use tortie_convert::{Api, Difference, Refusal};
use tortie_flows::{GenerateError, Generated, Options, generate};
use tortie_model::ObjectRef;

use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::recorded::{self, count};
use crate::{convert, input, terminal};
use arguments::Generate;

pub(crate) fn run(arguments: &Generate) -> Result<Outcome, Failure> {
    let snapshot = input::cluster(&arguments.manifests, 2)?;
    let recording = recorded::recording(&arguments.flows, arguments.format)?;
    let population = recorded::population(&snapshot);
    let options = Options {
        all: arguments.all,
        by: arguments.by.into(),
        api: arguments.api.into(),
        only: arguments.direction.only(),
    };
    let generated = during("making policies", || generate(&population, &recording, options));
    let generated = generated.map_err(|error| match error {
        GenerateError::Refused(Refusal::Differs(difference)) => Failure::Message(refused(options.api, &difference)),
        other => Failure::message(other),
    })?;
    recorded::unanswered(generated.uncovered.iter().map(|(_, why)| why));
    if generated.policies.is_empty() {
        return Err(Failure::message("no recorded connection needs a policy of a workload in the manifests"));
    }
    match &arguments.output {
        Some(folder) => write(folder, &generated, arguments.force)?,
        None => {
            let documents: Vec<&str> = generated.policies.iter().map(|policy| policy.yaml.as_str()).collect();
            terminal::print(&documents.join("---\n"))?;
        }
    }
    say(&snapshot, &generated);
    Ok(Outcome::findings_if(!generated.uncovered.is_empty()))
}

/// What an API cannot say of the policies that were made.
fn refused(api: Api, difference: &Difference) -> String {
    let mut out = format!("{} cannot say all that the flows ask for, so none is written", convert::of(api));
    for says in difference.gaps.iter().map(|gap| gap.says.as_str()).collect::<BTreeSet<_>>() {
        out.push_str(&format!(": {says}"));
    }
    out + &format!("; {}", difference.witness)
}

/// What is to be known besides the policies.
fn say(snapshot: &Snapshot, generated: &Generated) {
    let list = |objects: &[ObjectRef]| {
        let mut names: Vec<String> = objects.iter().map(ToString::to_string).collect();
        names.sort();
        const MOST: usize = 6;
        if names.len() > MOST {
            let more = names.len() - MOST;
            names.truncate(MOST);
            names.push(format!("and {more} more"));
        }
        names.join(", ")
    };
    let note = |text: String| terminal::say(terminal::wrapped(&text, "  ", terminal::width()).trim_start());
    if generated.denied > 0 {
        let flows = count(generated.denied as u64, "flow");
        note(format!("note: {flows} recorded as denied stay denied"));
    }
    for alike in &generated.alike {
        note(format!("note: no label tells these apart, so one policy is for all of them: {}", list(alike)));
    }
    if !generated.untouched.is_empty() {
        note(format!(
            "note: no connection of these was recorded, so they get no policy (--all denies them everything): {}",
            list(&generated.untouched)
        ));
    }
    if !generated.replaced.is_empty() {
        note(format!(
            "note: these policies are in the manifests already, and what they allow adds to the new ones: {}",
            list(&generated.replaced)
        ));
    }
    if let Some(pods) = convert::behind_their_services(snapshot, &generated.to_themselves) {
        note(format!(
            "note: a NetworkPolicy would let a pod reach itself by way of a Service, and no other policy does; this is \
             about {pods}"
        ));
    }
    let policies = match generated.policies.len() {
        1 => "1 policy".to_owned(),
        n => format!("{n} policies"),
    };
    let flows = count(generated.covered as u64, "recorded flow");
    note(format!("{policies} for {flows}; proven: all of them are allowed, and nothing that none of them needs"));
}

/// Writes a file for each policy. Files that are there are kept, unless they are to be replaced.
fn write(folder: &Path, generated: &Generated, force: bool) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: &std::io::Error| Failure::Message(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let path = |object: &ObjectRef| -> PathBuf {
        let namespace = object.namespace.as_ref().map(|namespace| format!("{namespace}-")).unwrap_or_default();
        folder.join(format!("{namespace}{}.yaml", object.name))
    };
    let paths: Vec<PathBuf> = generated.policies.iter().map(|policy| path(&policy.object)).collect();
    if let Some(there) = paths.iter().find(|path| path.exists()).filter(|_| !force) {
        return Err(Failure::Message(format!("{} is there already; --force replaces it", there.display())));
    }
    for (path, policy) in paths.iter().zip(&generated.policies) {
        std::fs::write(path, &policy.yaml).map_err(|error| failed(path, &error))?;
    }
    Ok(())
}
