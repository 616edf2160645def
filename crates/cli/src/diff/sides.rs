//! The two clusters that are compared: folders, revisions, the working tree.

use std::collections::HashSet;
use std::path::Path;

use tortie_analysis::preview::Preview;
use tortie_analysis::snapshot::Snapshot;
use tortie_manifest::{Diagnostic, Disk, Files, LoadOptions, Loaded, Place, STAGED_NOTE, load};
use tortie_revision::{Repository, Tree};

use super::arguments::Diff;
use crate::failure::Failure;
use crate::progress::during;
use crate::{input, terminal};

/// One of the clusters.
pub(crate) struct Side {
    /// The revision that it is of; none for files on the disk.
    pub(crate) revision: Option<String>,
    /// What it is called in a sentence.
    pub(crate) name: String,
    /// The cluster.
    pub(crate) snapshot: Snapshot,
    /// What is staged in it, where the cluster is the one in which that was done.
    pub(crate) preview: Option<Preview>,
}

impl Side {
    /// A place in its files, as people write it: `main:k8s/db.yaml:12`.
    pub(crate) fn place(&self, place: &Place) -> String {
        let revision = self.revision.as_ref().map_or_else(String::new, |revision| format!("{revision}:"));
        format!("{revision}{}:{}", place.file.name(), place.line())
    }

    /// The same with all that is staged in it enforced.
    fn previewed(&self) -> Self {
        let preview = input::preview(&self.snapshot, &self.name);
        Self {
            revision: self.revision.clone(),
            name: format!("{} with all that is staged", self.name),
            snapshot: self.snapshot.previewed(&preview),
            preview: Some(preview),
        }
    }
}

/// Where one of the clusters is read.
enum Source {
    /// One path on the disk, which must be there.
    Path(String),
    /// All paths of -f on the disk.
    WorkingTree,
    /// All paths of -f in a revision.
    Revision(Box<Tree>),
}

impl Source {
    fn files(&self) -> &dyn Files {
        match self {
            Self::Path(_) | Self::WorkingTree => &Disk,
            Self::Revision(tree) => &**tree,
        }
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Self::Path(_) => true,
            Self::WorkingTree => path == "-" || path.contains(['*', '?']) || Path::new(path).exists(),
            Self::Revision(tree) => tree.has(path),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Path(path) => path.clone(),
            Self::WorkingTree => "the working tree".to_owned(),
            Self::Revision(tree) => tree.name().to_owned(),
        }
    }
}

/// Reads both clusters. Nothing for the old one, where none is asked for.
pub(super) fn read(arguments: &Diff) -> Result<(Option<Side>, Side), Failure> {
    let (old, new) = sources(arguments)?;
    if let Some(old) = &old {
        for path in &arguments.files {
            let [here, there] = [old, &new].map(|source| source.has(path));
            let revisions = matches!(old, Source::Revision(_)) || matches!(new, Source::Revision(_));
            match (here, there) {
                (true, true) => {}
                _ if !revisions => {}
                (false, false) => {
                    return Err(Failure::Message(format!("{path} is neither in {} nor in {}", old.name(), new.name())));
                }
                (here, _) => {
                    let name = if here { new.name() } else { old.name() };
                    terminal::say(format_args!("note: {path} is not in {name}: nothing is there"));
                }
            }
        }
    }
    let mut said = HashSet::new();
    let old = old.map(|source| side(arguments, &source, &mut said)).transpose()?;
    let new = side(arguments, &new, &mut said)?;
    let empty = |side: &Side| side.snapshot.store.objects().next().is_none();
    if empty(&new) && old.as_ref().is_none_or(empty) {
        return Err(Failure::message("nothing to read: there are no objects in either"));
    }
    if arguments.staged {
        let previewed = new.previewed();
        return Ok((Some(old.unwrap_or(new)), previewed));
    }
    Ok((old, new))
}

fn sources(arguments: &Diff) -> Result<(Option<Source>, Source), Failure> {
    let asked = |what: &str| {
        if arguments.files.is_empty() {
            return Err(Failure::Message(format!("{what}: say which manifests, as in -f k8s/")));
        }
        Ok(())
    };
    let repository = || {
        let path = arguments.files.first().map_or(Path::new("."), |path| Path::new(path));
        Repository::around(path).map_err(Failure::message)
    };
    let revision = |text: &String| -> Result<Source, Failure> {
        if text == "-" || Path::new(text).exists() {
            return Ok(Source::Path(text.clone()));
        }
        if text.contains('/') && arguments.files.is_empty() {
            return Err(Failure::Message(format!("{text} is neither a file nor a folder; {NO_FILES}")));
        }
        asked(&format!("`{text}` is no file, so it is taken for a revision"))?;
        Ok(Source::Revision(Box::new(repository()?.tree(text).map_err(Failure::message)?)))
    };
    match (&arguments.old, &arguments.new) {
        (None, _) if arguments.staged => {
            asked("what is staged is looked for in manifests")?;
            Ok((None, Source::WorkingTree))
        }
        (None, _) if arguments.flows.is_none() => Err(Failure::message(
            "say what to compare: two folders, or revisions and -f, as in `tortie diff main HEAD -f k8s/`",
        )),
        (None, _) => {
            asked("recorded connections are put to manifests")?;
            Ok((None, Source::WorkingTree))
        }
        (Some(old), Some(new)) => {
            let sources = (revision(old)?, revision(new)?);
            if matches!(sources, (Source::Path(_), Source::Path(_))) && !arguments.files.is_empty() {
                return Err(Failure::Message(format!(
                    "{old} and {new} are files or folders, which need no -f: it names manifests in revisions"
                )));
            }
            Ok((Some(sources.0), sources.1))
        }
        (Some(only), None) => {
            if !Path::new(only).exists() && only.contains("..") {
                asked(&format!("`{only}` is a range of revisions"))?;
                if let Some([old, new]) = repository()?.range(only).map_err(Failure::message)? {
                    let source = |tree| Source::Revision(Box::new(tree));
                    return Ok((Some(source(old)), source(new)));
                }
            }
            let old = revision(only)?;
            asked(&format!("{only} is to be compared with something"))?;
            Ok((Some(old), Source::WorkingTree))
        }
    }
}

const NO_FILES: &str = "for a revision, say which manifests, as in -f k8s/";

/// Reads one of the clusters, and says what was found in it; what is the same in both is said once.
fn side(arguments: &Diff, source: &Source, said: &mut HashSet<String>) -> Result<Side, Failure> {
    let options = LoadOptions { namespace: arguments.namespace.as_str().into() };
    let paths: Vec<&str> = match source {
        Source::Path(path) => vec![path],
        Source::WorkingTree | Source::Revision(_) => {
            let there = arguments.files.iter().filter(|path| source.has(path) || arguments.old.is_none());
            there.map(String::as_str).collect()
        }
    };
    let mut loaded = during(input::READING, || load(source.files(), &paths, &options));
    // A folder in which there is nothing yet, or any more, is a beginning, or an end.
    if arguments.old.is_some() && matches!(&loaded.diagnostics[..], [only] if only.id == "no-manifests") {
        terminal::say(format_args!("note: there are no objects in {}", source.name()));
        loaded = Loaded::default();
    }
    let revision = match source {
        Source::Revision(tree) => Some(tree.name().to_owned()),
        Source::Path(_) | Source::WorkingTree => None,
    };
    let mut title = revision.as_ref().map(|name| format!("in {name}:"));
    let mut say = |diagnostic: &Diagnostic| {
        let text = diagnostic.render(true);
        if said.insert(text.clone()) {
            // A finding has no room for the revision that its file is of.
            title.take_if(|_| diagnostic.place.is_some()).into_iter().for_each(terminal::say);
            terminal::say(text);
        }
    };
    input::news(&loaded).for_each(&mut say);
    // The pods of a workload are alike; two are enough to ask about one and another.
    let snapshot = input::trusted(&loaded, 2)?;
    // That what is staged decides nothing is no news to whoever asks for it.
    let news = |note: &&Diagnostic| !arguments.staged || note.id != STAGED_NOTE;
    snapshot.objects.notes().iter().filter(news).for_each(say);
    Ok(Side { revision, name: source.name(), snapshot, preview: None })
}
