//! `--fix` and `--diff`: mending files, or showing how.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use similar::TextDiff;
use tortie_analysis::snapshot::Snapshot;
use tortie_connectivity::{Connectivity, Difference};
use tortie_lint::{Config, Finding, Fixed, apply_fixes};
use tortie_manifest::{Disk, Entry, Expansion, Files, LoadOptions, Loaded, load};

use super::arguments::Check;
use super::{Found, look, many};
use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::terminal;

/// The disk with some files as they would be.
struct Overlay(BTreeMap<String, String>);

impl Files for Overlay {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).map_or_else(|| Disk.read(path), |text| Ok(text.clone().into_bytes()))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        Disk.list(path)
    }

    fn is_folder(&self, path: &str) -> bool {
        Disk.is_folder(path)
    }
}

pub(super) fn run(arguments: &Check, loaded: &Loaded, config: &Config, found: &[Found]) -> Result<Outcome, Failure> {
    if arguments.files.iter().any(|f| f == "-") {
        return Err(Failure::message("standard input cannot be mended: name files or folders"));
    }
    let findings: Vec<&Finding> = found.iter().filter_map(Found::lint).filter(|f| f.fix.is_some()).collect();
    let fixed = apply_fixes(findings.iter().copied());
    if fixed.is_empty() {
        terminal::say("nothing that could be mended safely");
        return Ok(Outcome::Fine);
    }
    during("trying changes", || verify(arguments, loaded, config, &findings, &fixed))?;
    for file in &fixed {
        let name = file.file.name();
        if arguments.diff {
            let diff = TextDiff::from_lines(file.file.text(), &file.text);
            let (old, new) = (format!("a/{name}"), format!("b/{name}"));
            terminal::print(&diff.unified_diff().context_radius(3).header(&old, &new).to_string())?;
        } else {
            replace(Path::new(&**name), file)?;
            terminal::say(format_args!("{name}: {}", file.titles.join("; ")));
        }
    }
    if !arguments.diff {
        terminal::say(format_args!("{} mended", many(fixed.len(), "file")));
    }
    Ok(Outcome::Fine)
}

/// Reads again what the files would be: it must be understood, the findings must be gone, and where a fix does not mean
/// to change what passes, the same must pass.
fn verify(
    arguments: &Check,
    loaded: &Loaded,
    config: &Config,
    findings: &[&Finding],
    fixed: &[Fixed],
) -> Result<(), Failure> {
    let texts = fixed.iter().map(|f| (f.file.name().to_string(), f.text.clone())).collect();
    let options = LoadOptions { namespace: arguments.namespace.as_str().into() };
    let again = load(&Overlay(texts), &arguments.files, &options);
    let broken = again.diagnostics.len() > loaded.diagnostics.len() || again.objects.len() != loaded.objects.len();
    let left = look(&again, config);
    let count = |list: &[Found], finding: &Finding| {
        let same = |f: &&Finding| f.lint.id == finding.lint.id && f.object() == finding.object();
        list.iter().filter_map(Found::lint).filter(same).count()
    };
    let before = look(loaded, config);
    let worse = findings.iter().any(|f| count(&left, f) >= count(&before, f));
    if broken || worse {
        return Err(Failure::message("what would be written does not say what was meant; nothing was changed"));
    }
    if findings.iter().all(|f| f.fix.as_ref().is_some_and(|fix| !fix.changes_verdicts)) {
        let of = |loaded: &Loaded| Connectivity::of(&Snapshot::new(loaded, &Expansion::default()).index);
        if !Difference::between(&of(loaded), &of(&again)).is_empty() {
            return Err(Failure::message("what would be written lets other packets pass; nothing was changed"));
        }
    }
    Ok(())
}

/// Writes a file beside the old one and puts it in its place: at no moment is it half written.
fn replace(path: &Path, file: &Fixed) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::Message(format!("cannot write {}: {e}", path.display()));
    let now = std::fs::read(path).map_err(failed)?;
    if String::from_utf8_lossy(&now).trim_start_matches('\u{feff}') != file.file.text() {
        return Err(Failure::Message(format!("{} was changed meanwhile; it was left as it is", path.display())));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(file.text.as_bytes()).map_err(failed)?;
    let permissions = std::fs::metadata(path).map_err(failed)?.permissions();
    new.as_file().set_permissions(permissions).map_err(failed)?;
    new.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
