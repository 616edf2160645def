//! Files of other tools that lie among manifests: each is named once, and not read.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;

/// What such a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Foreign {
    Kustomization,
    Chart,
    Values,
    Template,
    Case,
}

const BUILD: &str = "build it first: `kubectl kustomize DIR` and give the result to `-f -`";
const RENDER: &str = "render the chart first: `helm template` and give the result to `-f -`";
const PLAY: &str = "play it with packets: `tortie lab run`";

impl Foreign {
    /// What a file is by the name at the end of its path.
    pub(crate) fn of_name(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name {
            "kustomization.yaml" | "kustomization.yml" => Some(Self::Kustomization),
            "Chart.yaml" | "Chart.yml" | "values.schema.json" => Some(Self::Chart),
            _ if name.starts_with("values") && (name.ends_with(".yaml") || name.ends_with(".yml")) => {
                Some(Self::Values)
            }
            _ if name.ends_with(".case.yaml") => Some(Self::Case),
            _ => None,
        }
    }

    const fn id(self) -> &'static str {
        match self {
            Self::Case => "skipped-case",
            _ => "skipped-file",
        }
    }

    const fn what(self, many: bool) -> &'static str {
        match (self, many) {
            (Self::Kustomization, false) => "a kustomization is not built here",
            (Self::Kustomization, true) => "kustomizations are not built here",
            (Self::Chart, _) => "part of a Helm chart",
            (Self::Values, _) => "values of a Helm chart",
            (Self::Template, false) => "a Helm template",
            (Self::Template, true) => "Helm templates",
            (Self::Case, false) => "a case",
            (Self::Case, true) => "cases",
        }
    }

    /// What to do with it instead.
    pub(crate) const fn way_out(self) -> &'static str {
        match self {
            Self::Kustomization => BUILD,
            Self::Chart | Self::Values | Self::Template => RENDER,
            Self::Case => PLAY,
        }
    }
}

/// The outermost folders among paths that are Helm charts.
pub(crate) fn charts(paths: &[String]) -> Vec<String> {
    let folder = |path: &String| match path.rsplit_once('/') {
        Some((folder, "Chart.yaml" | "Chart.yml")) => Some(format!("{folder}/")),
        None if path == "Chart.yaml" || path == "Chart.yml" => Some(String::new()),
        _ => None,
    };
    let all: BTreeSet<String> = paths.iter().filter_map(folder).collect();
    let inner = |f: &&String| !all.iter().any(|o| o != *f && f.starts_with(o.as_str()));
    all.iter().filter(inner).cloned().collect()
}

/// Whether a file is one that Helm reads for the chart in a folder. Its `crds` are plain manifests, and so is the rest.
pub(crate) fn is_of_chart(chart: &str, path: &str) -> bool {
    let Some(inside) = path.strip_prefix(chart) else { return false };
    let part = inside.split('/').next().unwrap_or(inside);
    matches!(part, "templates" | "charts") || matches!(Foreign::of_name(part), Some(Foreign::Chart | Foreign::Values))
}

/// How many files a note names.
const NAMED: usize = 3;

/// What was left out of an input.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    files: BTreeMap<Foreign, Vec<String>>,
    charts: BTreeSet<String>,
}

impl Skipped {
    pub(crate) fn file(&mut self, what: Foreign, path: &str) {
        self.files.entry(what).or_default().push(path.to_owned());
    }

    pub(crate) fn chart(&mut self, folder: &str) {
        self.charts.insert(folder.to_owned());
    }

    /// One note a chart, and one for the files of each other sort.
    pub(crate) fn notes(self) -> impl Iterator<Item = Diagnostic> {
        let chart = |folder: String| {
            let shown = if folder.is_empty() { "this folder" } else { folder.trim_end_matches('/') };
            let message = format!("{shown} is a Helm chart: its templates and values are not read");
            Diagnostic::note("skipped-file", message).help(RENDER)
        };
        let file = |(what, paths): (Foreign, Vec<String>)| {
            let named = paths.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = match paths.len() {
                1 => format!("{named} is not read: {}", what.what(false)),
                n if n > NAMED => format!("{named} and {} more are not read: {}", n - NAMED, what.what(true)),
                _ => format!("{named} are not read: {}", what.what(true)),
            };
            Diagnostic::note(what.id(), message).help(what.way_out())
        };
        self.charts.into_iter().map(chart).chain(self.files.into_iter().map(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_takes_its_templates_and_the_charts_in_it_along() {
        let paths = ["a/Chart.yaml", "a/charts/b/Chart.yaml", "ab/c.yaml"].map(str::to_owned);
        assert_eq!(charts(&paths), ["a/"]);
        for (path, of_chart) in [
            ("a/Chart.yaml", true),
            ("a/values-prod.yaml", true),
            ("a/templates/x/np.yaml", true),
            ("a/charts/b/templates/np.yaml", true),
            ("a/crds/crd.yaml", false),
            ("a/other.yaml", false),
            ("ab/c.yaml", false),
        ] {
            assert_eq!(is_of_chart("a/", path), of_chart, "{path}");
        }
        assert_eq!(charts(&["Chart.yaml".to_owned()]), [""]);
        assert!(is_of_chart("", "templates/np.yaml"));
    }

    #[test]
    fn files_of_one_sort_share_a_note() {
        let mut skipped = Skipped::default();
        for path in ["a", "b", "c", "d", "e"] {
            skipped.file(Foreign::Template, path);
        }
        let notes: Vec<String> = skipped.notes().map(|n| n.message).collect();
        assert_eq!(notes, ["a, b, c and 2 more are not read: Helm templates"]);
    }
}
