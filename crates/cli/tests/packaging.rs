//! What distributions and shells take from the program: completions, manual pages, its other name.

use std::path::Path;
use std::process::Command;

/// Exit code, standard output, standard error.
fn run(program: &Path, at: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(program).args(arguments).current_dir(at).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

fn tortie() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tortie"))
}

/// The examples of help, run as they stand there, in an empty home.
#[cfg(unix)]
#[test]
fn examples_of_help_do_what_they_say() {
    let home = tempfile::tempdir().expect("a folder");
    let folders = [".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions", ".config/elvish"];
    for folder in folders {
        std::fs::create_dir_all(home.path().join(folder)).expect("a folder");
    }
    let programs = tortie().parent().expect("a folder").display().to_string();
    let mut runs = 0;
    for command in ["completions", "man"] {
        let (_, help, _) = run(tortie(), home.path(), &[command, "--help"]);
        for line in help.lines().map(str::trim).filter(|line| line.starts_with("tortie ")) {
            let line = line.split("  ").next().expect("one");
            let mut shell = Command::new("/bin/sh");
            shell.args(["-euc", line]).current_dir(home.path()).env("HOME", home.path()).env("PATH", &programs);
            let output = shell.output().expect("a shell");
            assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
            runs += 1;
        }
    }
    assert!(runs >= 6, "only {runs} examples were run");
    let read = |path: &str| std::fs::read_to_string(home.path().join(path)).expect(path);
    assert!(read(".zfunc/_tortie").starts_with("#compdef tortie"));
    assert!(read(".config/fish/completions/tortie.fish").contains("-l filename"));
    assert_eq!(read(".local/share/man/man1/tortie.1"), read("tortie.1"));
    assert!(read(".local/share/man/man1/tortie-lab-run.1").contains("tortie lab run"));
}

#[cfg(unix)]
#[test]
fn as_a_plugin_it_speaks_of_kubectl() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-tortie");
    std::os::unix::fs::symlink(tortie(), &plugin).expect("a link");
    let (code, help, _) = run(&plugin, folder.path(), &["check", "--help"]);
    assert!(code == 0 && help.contains("Usage: kubectl tortie check [OPTIONS]"), "{help}");
    assert!(help.contains("\n  kubectl tortie check -f policies/ --fix\n"), "{help}");
    assert!(help.contains("overlays/prod | kubectl tortie check -f -\n"), "{help}");
    let (code, out, _) = run(&plugin, folder.path(), &[]);
    assert!(code == 0 && out.contains("\n  kubectl tortie lab run\n"), "{out}");
    let (code, _, err) = run(&plugin, folder.path(), &["chek"]);
    assert!(code == 2 && err.contains("Usage: kubectl tortie"), "{err}");
    let (_, help, _) = run(tortie(), folder.path(), &["check", "--help"]);
    assert!(!help.contains("kubectl tortie"), "{help}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("taken"), "").expect("a file");
    let (code, out, err) = run(tortie(), folder.path(), &["man", "taken"]);
    assert!(code == 2 && out.is_empty() && err.contains("cannot write to taken"), "{err}");
}
