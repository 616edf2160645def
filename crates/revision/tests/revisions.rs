//! Reading what a repository holds at a revision.

mod support;

use std::fs;
use std::path::Path;

use support::History;
use tempfile::TempDir;
use tortie_manifest::{Files, LoadOptions, load};
use tortie_revision::{Repository, RevisionError, Tree};

/// Three commits on `main`, one on `topic`, which left it at the second, and one on `orphan`, which was never on it.
fn history() -> (TempDir, [gix::ObjectId; 4]) {
    let folder = tempfile::tempdir().expect("a folder");
    let history = History::new(folder.path());
    let first = history.commit("main", &[], &[("k8s/a.yaml", "one"), ("readme", "x")]);
    let second = history.commit("main", &[first], &[("k8s/a.yaml", "two"), ("k8s/deep/b.yaml", "b")]);
    let third = history.commit("main", &[second], &[("k8s/a.yaml", "three")]);
    let topic = history.commit("topic", &[second], &[("k8s/a.yaml", "topic")]);
    history.commit("orphan", &[], &[("z", "z")]);
    fs::create_dir(folder.path().join("k8s")).expect("a folder");
    (folder, [first, second, third, topic])
}

fn around(folder: &TempDir) -> Repository {
    Repository::around(folder.path()).expect("a repository")
}

fn read(tree: &Tree, folder: &TempDir, path: &str) -> String {
    let path = folder.path().join(path);
    String::from_utf8(tree.read(path.to_str().expect("text")).expect("a file")).expect("text")
}

#[test]
fn a_revision_is_named_as_in_git() {
    let (folder, [first, second, ..]) = history();
    let repository = around(&folder);
    let short = first.to_string()[..9].to_owned();
    let whole = second.to_string();
    for (revision, expected) in
        [("main", "three"), ("HEAD", "three"), ("HEAD~2", "one"), ("main^", "two"), (&short, "one"), (&whole, "two")]
    {
        assert_eq!(read(&repository.tree(revision).expect(revision), &folder, "k8s/a.yaml"), expected, "{revision}");
    }
}

#[test]
fn a_range_has_two_ends_and_three_dots_begin_where_they_parted() {
    let (folder, _) = history();
    let repository = around(&folder);
    let ends = |text: &str| {
        let ends = repository.range(text).expect(text).expect("a range");
        ends.map(|tree| read(&tree, &folder, "k8s/a.yaml"))
    };
    assert_eq!(ends("main..topic"), ["three", "topic"]);
    assert_eq!(ends("main...topic"), ["two", "topic"]);
    assert_eq!(ends("topic.."), ["topic", "three"]);
    assert_eq!(ends("...topic"), ["two", "topic"]);
    assert!(repository.range("main").expect("fine").is_none());
    let unrelated = repository.range("main...orphan").err().expect("nothing in common");
    assert_eq!(unrelated.to_string(), "`main` and `orphan` have no commit in common");
}

#[test]
fn what_is_no_revision_is_told_with_a_name_that_is() {
    let (folder, [first, ..]) = history();
    let said = |revision: &str| around(&folder).tree(revision).err().expect("no revision").to_string();
    assert_eq!(said("mian~1"), "there is no revision `mian~1`; did you mean `main~1`?");
    assert_eq!(said("xyz"), "there is no revision `xyz`");
    assert_eq!(said("main:readme~"), "there is no revision `main:readme~`");
    assert_eq!(said("HEAD~1:k8s"), "`HEAD~1:k8s` is no commit");
    let remote = folder.path().join(".git/refs/remotes/origin");
    fs::create_dir_all(&remote).expect("a folder");
    fs::write(remote.join("release"), format!("{first}\n")).expect("a branch");
    assert_eq!(said("release"), "there is no revision `release`; did you mean `origin/release`?");
    fs::write(folder.path().join(".git/shallow"), format!("{first}\n")).expect("a shallow clone");
    assert!(said("HEAD~5").contains("this is a shallow clone"), "{}", said("HEAD~5"));
}

#[test]
fn where_no_repository_is_there_are_no_revisions() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Repository::around(&folder.path().join("k8s")).err().expect("no repository");
    assert!(matches!(&error, RevisionError::NoRepository(path) if path.ends_with("k8s")), "{error}");
    fs::create_dir(folder.path().join(".git")).expect("a folder");
    fs::write(folder.path().join(".git/HEAD"), "what").expect("a file");
    assert!(Repository::around(folder.path()).is_err());
}

#[test]
fn the_files_of_a_revision_are_read_like_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("k8s/a.yaml", "{kind: Namespace, apiVersion: v1, metadata: {name: a}}"),
        ("k8s/deep/b.yaml", "{kind: Namespace, apiVersion: v1, metadata: {name: b}}"),
        ("k8s/link.yaml", "->../shared/c.yaml"),
        ("k8s/folder", "->deep"),
        ("k8s/self.yaml", "->self.yaml"),
        ("k8s/out.yaml", "->../../../etc/passwd"),
        ("shared/c.yaml", "{kind: Namespace, apiVersion: v1, metadata: {name: c}}"),
    ];
    History::new(folder.path()).commit("main", &[], &files);
    let tree = around(&folder).tree("main").expect("main");
    let path = |path: &str| folder.path().join(path).to_str().expect("text").to_owned();
    assert!(tree.is_folder(&path("k8s")) && tree.is_folder(&path("k8s/../k8s/deep")) && tree.is_folder(&path("")));
    assert!(!tree.is_folder(&path("k8s/a.yaml")) && !tree.has(&path("other")) && !tree.has(&path("../x")));
    let names: Vec<_> = tree.list(&path("k8s")).expect("a folder").into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["a.yaml", "deep", "link.yaml", "out.yaml", "self.yaml"]);
    assert!(tree.read(&path("k8s")).is_err() && tree.list(&path("k8s/a.yaml")).is_err());
    assert!(tree.read(&path("k8s/self.yaml")).is_err() && tree.read(&path("k8s/out.yaml")).is_err());
    let inputs = ["k8s/a.yaml", "k8s/deep", "k8s/link.yaml"].map(path);
    let loaded = load(&tree, &inputs, &LoadOptions::default());
    assert_eq!(loaded.objects.len(), 3, "{:?}", loaded.diagnostics);
    assert!(loaded.files.iter().all(|f| Path::new(&**f.name()).starts_with(folder.path())));
}
