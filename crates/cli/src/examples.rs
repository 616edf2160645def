//! The examples that are built in, and `tortie examples`.

use std::fs;
use std::io::Write;
use std::path::Path;

use tortie_manifest::Memory;

use crate::arguments::Examples;
use crate::failure::{Failure, Outcome};
use crate::terminal;

/// Files of `examples/`, compiled in: a program that was installed works without the repository.
macro_rules! embed {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../examples/", $path))),)*]
    };
}

const FILES: &[(&str, &str)] = embed![
    "three-apis/1-admin.yaml",
    "three-apis/2-tier.yaml",
    "three-apis/3-before-networkpolicies.yaml",
    "three-apis/4-networkpolicy.yaml",
    "three-apis/5-behind-networkpolicies.yaml",
    "three-apis/6-baseline.yaml",
    "three-apis/README.md",
    "three-apis/cluster.yaml",
    "three-apis/three-apis.case.yaml",
    "three-namespaces-calico/Allow-Traffic-single-namespace.yaml",
    "three-namespaces-calico/Creating-ns-pods-labels.yaml",
    "three-namespaces-calico/README.md",
    "three-namespaces-calico/allow-dev-to-prod-traffic.yaml",
    "three-namespaces-calico/allow-prod-to-qa-tcp-8888.yaml",
    "three-namespaces-calico/allowing-coredns-ingress-prod.yaml",
    "three-namespaces-calico/block-all-traffic-namespace.yaml",
    "three-namespaces-calico/deny-traffic-inside-namespace.yaml",
    "three-namespaces-calico/strangers.yaml",
    "three-namespaces-calico/three-namespaces-calico.case.yaml",
    "three-namespaces-calico/trouble-pods.yaml",
    "three-namespaces-hardened/Allow-Traffic-single-namespace.yaml",
    "three-namespaces-hardened/Creating-ns-pods-labels.yaml",
    "three-namespaces-hardened/README.md",
    "three-namespaces-hardened/allow-dev-to-prod-traffic.yaml",
    "three-namespaces-hardened/allow-prod-to-qa-tcp-8888.yaml",
    "three-namespaces-hardened/allowing-coredns-ingress-prod.yaml",
    "three-namespaces-hardened/block-all-traffic-namespace.yaml",
    "three-namespaces-hardened/deny-traffic-inside-namespace.yaml",
    "three-namespaces-hardened/strangers.yaml",
    "three-namespaces-hardened/three-namespaces-hardened.case.yaml",
    "three-namespaces-hardened/trouble-pods.yaml",
    "three-namespaces/Allow-Traffic-single-namespace.yaml",
    "three-namespaces/Creating-ns-pods-labels.yaml",
    "three-namespaces/README.md",
    "three-namespaces/allow-dev-to-prod-traffic.yaml",
    "three-namespaces/allow-prod-to-qa-tcp-8888.yaml",
    "three-namespaces/allowing-coredns-ingress-prod.yaml",
    "three-namespaces/block-all-traffic-namespace.yaml",
    "three-namespaces/deny-traffic-inside-namespace.yaml",
    "three-namespaces/strangers.yaml",
    "three-namespaces/three-namespaces.case.yaml",
    "three-namespaces/trouble-pods.yaml",
];

/// The practical that is played when nobody says which.
pub(crate) const DEFAULT: &str = "three-namespaces";

/// The examples as files: `three-namespaces/three-namespaces.case.yaml` and so on.
pub(crate) fn files() -> Memory {
    Memory::new(FILES.iter().copied())
}

/// Writes them to a folder. Either all are written, or none where one of them exists.
pub(crate) fn run(arguments: &Examples) -> Result<Outcome, Failure> {
    let directory = &arguments.directory;
    if let Some((path, _)) = FILES.iter().find(|(path, _)| directory.join(path).exists()) {
        let taken = directory.join(path);
        return Err(Failure::Message(format!(
            "{} exists already, and nothing was written: name another folder",
            taken.display()
        )));
    }
    for (path, text) in FILES {
        write(&directory.join(path), text)
            .map_err(|e| Failure::Message(format!("cannot write {}: {e}", directory.join(path).display())))?;
    }
    let mut folders: Vec<&str> = FILES.iter().filter_map(|(path, _)| Some(path.split_once('/')?.0)).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        terminal::print(&format!("{}\n", directory.join(folder).display()))?;
    }
    Ok(Outcome::Fine)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_manifest::case::open;
    use tortie_manifest::{Entry, Files, LoadOptions};

    fn on_disk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{prefix}{}", entry.file_name().display());
            if entry.path().is_dir() {
                on_disk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_example_is_built_in() {
        let mut found = Vec::new();
        on_disk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples")), "", &mut found);
        found.sort();
        assert_eq!(FILES.iter().map(|(path, _)| *path).collect::<Vec<_>>(), found);
    }

    #[test]
    fn what_is_built_in_can_be_played() {
        let files = files();
        for Entry { name, .. } in files.list("").unwrap() {
            let cases = open(&files, &name, &LoadOptions::default());
            assert!(cases.diagnostics.is_empty() && cases.cases.iter().all(|c| c.is_playable()), "{name}");
        }
        assert!(files.is_folder(DEFAULT));
    }
}
