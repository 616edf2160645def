//! tortie as its users call it, with a terminal's width and without colours.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Exit code, standard output, standard error.
pub(crate) type Told = (i32, String, String);

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

/// Runs it in a folder, with nothing on standard input.
pub(crate) fn tortie(at: &Path, arguments: &[&str]) -> Told {
    fed(at, arguments, "")
}

/// Runs it in a folder, with this on standard input.
pub(crate) fn fed(at: &Path, arguments: &[&str], input: &str) -> Told {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .args(arguments)
        .current_dir(at)
        .env("COLUMNS", "80")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tortie starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // The program may end without reading it all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("tortie ends");
    writer.join().expect("the writer does not panic");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}
