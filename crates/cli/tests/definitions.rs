//! What other programs read of the repository: the action of GitHub, hooks of pre-commit, krew's manifest, binstall's
//! metadata. Each is read as they read it, and run where it can be. That its command lines are ones that tortie takes,
//! `src/surface.rs` holds.
#![cfg(unix)]

#[path = "../../revision/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::History;
use tempfile::TempDir;

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}}}\n---\n\
                   {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: db, labels: {app: db}}}\n";
const CLOSED: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: db}\n\
                      spec: {podSelector: {matchLabels: {app: db}}}\n";
const CASE: &str = "tortie: v1\nmanifests: [pods.yaml]\nsteps: [{expect: [{probe: TCP/80, default: allow}]}]\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no mapping")).keys().cloned().collect()
}

/// Names behind a word in a text: `inputs.fail-on` behind `inputs.`.
fn named(text: &str, word: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    text.split(word).skip(1).map(name).collect()
}

#[test]
fn the_action_passes_its_inputs_to_a_script_that_is_there() {
    let action = yaml(&text("action.yml"));
    assert_eq!(action["runs"]["using"], "composite");
    let steps = action["runs"]["steps"].as_array().expect("steps");
    let mut passed = BTreeSet::new();
    let mut inputs = BTreeSet::new();
    for step in steps {
        // A composite step says its shell.
        assert!(step["shell"].is_string(), "{step}");
        let run = step["run"].as_str().expect("a command");
        assert!(!run.contains("${{"), "what users write must not become code: {run}");
        let (script, verb) = run.split_once("\" ").expect("a script and what it is to do");
        let script = script.strip_prefix("\"$GITHUB_ACTION_PATH/").expect("a script of the action");
        let mode = fs::metadata(root().join(script)).unwrap_or_else(|e| panic!("{script}: {e}")).permissions().mode();
        assert!(mode & 0o111 == 0o111, "{script} cannot be run");
        assert!(["install", "run"].contains(&verb), "{verb}");
        if !step["env"].is_null() {
            passed.extend(keys(&step["env"]));
            inputs.extend(named(&step["env"].to_string(), "inputs."));
        }
    }
    assert_eq!(inputs, keys(&action["inputs"]), "inputs, and those that are passed on");
    assert_eq!(
        passed,
        named(&text(".ci/action"), "TORTIE_").into_iter().map(|name| format!("TORTIE_{name}")).collect()
    );
    for (id, output) in action["outputs"].as_object().expect("outputs") {
        assert_eq!(output["value"], format!("${{{{ steps.run.outputs.{id} }}}}"));
        assert!(text(".ci/action").contains(&format!("{id}=%s")), "the script does not write {id}");
        assert!(steps.iter().any(|step| step["id"] == "run"));
    }
}

/// A job of GitHub Actions.
struct Job {
    folder: TempDir,
}

impl Job {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("k8s")).expect("a folder");
        let job = Self { folder };
        job.write("k8s/pods.yaml", POD);
        job
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.folder.path().join(path), text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path)).unwrap_or_default()
    }

    /// Exit code and log of a step of the action.
    fn step(&self, verb: &str, path: &Path, variables: &[(&str, &str)]) -> (i32, String) {
        let at = self.folder.path();
        let mut command = Command::new("/bin/sh");
        command.arg(root().join(".ci/action")).arg(verb).current_dir(at).env_clear().env("PATH", path);
        command.env("GITHUB_OUTPUT", at.join("output")).env("GITHUB_STEP_SUMMARY", at.join("summary"));
        let Output { status, stdout, .. } =
            command.env("RUNNER_TEMP", at).envs(variables.iter().copied()).output().expect("a shell");
        (status.code().expect("no signal"), String::from_utf8(stdout).expect("text"))
    }

    fn run(&self, variables: &[(&str, &str)]) -> (i32, String) {
        let programs = Path::new(env!("CARGO_BIN_EXE_tortie")).parent().expect("a folder");
        self.step("run", programs, variables)
    }
}

#[test]
fn the_action_annotates_what_check_finds() {
    let job = Job::new();
    job.write("k8s/wrong.yaml", &CLOSED.replace("podSelector", "podSelecter"));
    let (code, log) = job.run(&[]);
    assert!(code == 1 && log.starts_with("::error file=k8s/wrong.yaml,line="), "{code} {log}");
    assert_eq!(job.read("output"), "report=\n");
    let (code, log) = job.run(&[("TORTIE_PATHS", "k8s/pods.yaml\n"), ("TORTIE_FAIL_ON", "note")]);
    assert!(code == 1 && log.contains("::notice file=k8s/pods.yaml"), "{code} {log}");
    let (code, log) = job.run(&[("TORTIE_PATHS", "k8s/pods.yaml"), ("TORTIE_FORMAT", "sarif")]);
    assert_eq!((code, log.as_str()), (0, ""));
    let report = job.folder.path().join("tortie-check.sarif");
    assert!(job.read("output").ends_with(&format!("report={}\n", report.display())), "{}", job.read("output"));
    let sarif: Value = serde_json::from_str(&job.read("tortie-check.sarif")).expect("JSON");
    assert_eq!(sarif["version"], "2.1.0");
}

#[test]
fn the_action_puts_differences_into_the_summary() {
    let job = Job::new();
    let history = History::new(job.folder.path());
    let base = history.commit("main", &[], &[("k8s/pods.yaml", POD)]);
    history.commit("release", &[base], &[("k8s/pods.yaml", POD)]);
    history.commit("main", &[base], &[("k8s/pods.yaml", POD), ("k8s/db.yaml", CLOSED)]);
    let diff =
        |more: &[(&str, &str)]| job.run(&[&[("TORTIE_COMMAND", "diff"), ("TORTIE_PATHS", "k8s")], more].concat());
    assert_eq!(diff(&[("TORTIE_BASE", "release")]), (1, String::new()));
    assert!(job.read("summary").starts_with("<!-- tortie diff -->\n### "), "{}", job.read("summary"));
    assert!(job.read("summary").contains("NetworkPolicy/shop/db is new"), "{}", job.read("summary"));
    assert_eq!(job.read("summary"), job.read("tortie-diff.md"));
    // Without a base, the commit before; and nothing is opened.
    assert_eq!(diff(&[("TORTIE_FAIL_ON", "opened")]).0, 0);
    // What a pull request is for is looked for where checkouts have it.
    assert_eq!(diff(&[("GITHUB_BASE_REF", "release")]).0, 2, "there is no origin");
}

#[test]
fn the_action_plays_cases() {
    let job = Job::new();
    job.write("k8s/shop.case.yaml", CASE);
    let (code, log) = job.run(&[("TORTIE_COMMAND", "test"), ("TORTIE_PATHS", "k8s")]);
    assert!(code == 0 && log.contains("1 case: 1 ok"), "{code} {log}");
    job.write("k8s/shop.case.yaml", &CASE.replace("allow", "deny"));
    let junit = [("TORTIE_COMMAND", "test"), ("TORTIE_PATHS", "  k8s  \n\n"), ("TORTIE_FORMAT", "junit")];
    assert_eq!(job.run(&junit), (1, String::new()));
    assert!(job.read("tortie-test.xml").contains("<testsuites"), "{}", job.read("tortie-test.xml"));
    let (code, log) = job.run(&[("TORTIE_COMMAND", "doctor")]);
    assert!(code == 2 && log.starts_with("::error::"), "{code} {log}");
    // Nothing in an input is code.
    let (code, _) = job.run(&[("TORTIE_PATHS", "$(printf x >got-in)\n`printf x >got-in`\n; printf x >got-in")]);
    assert!(code == 2 && !job.folder.path().join("got-in").exists());
}

#[test]
fn the_action_installs_the_version_that_it_is_of() {
    let job = Job::new();
    let programs = job.folder.path().join("programs");
    fs::create_dir(&programs).expect("a folder");
    let program = |name: &str, text: &str| {
        fs::write(programs.join(name), format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).expect("to be run");
    };
    program("cargo", "printf '%s\\n' \"$*\"; [ \"$1\" = install ]");
    let script = root().join(".ci/action").display().to_string();
    let cli = format!("{}/../crates/cli", script.strip_suffix("/action").expect("a folder"));
    assert!(Path::new(&cli).join("Cargo.toml").exists());
    let from_source = format!("install --locked --path {cli}\n");
    assert_eq!(job.step("install", &programs, &[]), (0, from_source.clone()));
    // Where there is no binary of this release, it is built.
    program("cargo-binstall", "");
    let binary = format!("binstall --no-confirm --strategies crate-meta-data --manifest-path {cli} tortie\n");
    assert_eq!(job.step("install", &programs, &[]), (0, binary.clone() + &from_source));
    program("cargo", "printf '%s\\n' \"$*\"");
    assert_eq!(job.step("install", &programs, &[]), (0, binary));
}

#[test]
fn hooks_have_what_pre_commit_asks_for() {
    let hooks = yaml(&text(".pre-commit-hooks.yaml"));
    let hooks = hooks.as_array().expect("a list");
    assert_eq!(hooks.iter().map(|hook| &hook["id"]).collect::<Vec<_>>(), ["tortie-check", "tortie-test"]);
    let known = ["id", "name", "description", "language", "entry", "args", "files", "pass_filenames"];
    for hook in hooks {
        assert_eq!(keys(hook), known.map(ToOwned::to_owned).into(), "{hook}");
        assert_eq!(hook["language"], "system", "a workspace cannot be built by `cargo install --path .`");
        // Names of files would be arguments; manifests follow -f, and lints look at all of them at once.
        assert_eq!(hook["pass_filenames"], false);
    }
}

/// Blocks of a language on the page about all this.
fn blocks(language: &str) -> Vec<String> {
    let page = text("docs/ecosystem.md");
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().expect("its end").to_owned()).collect()
}

/// Workflows and hooks that the page shows use what is defined.
#[test]
fn the_page_uses_what_is_defined() {
    let (mut used, mut hooks) = (0, 0);
    let action = yaml(&text("action.yml"));
    let inputs = keys(&action["inputs"]);
    let ids: Vec<Value> = yaml(&text(".pre-commit-hooks.yaml"))
        .as_array()
        .expect("a list")
        .iter()
        .map(|hook| hook["id"].clone())
        .collect();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for block in blocks("yaml") {
        let value = yaml(&block);
        let steps = list(&value["jobs"]["policies"]["steps"]);
        for step in steps.iter().filter(|step| step["uses"].as_str().is_some_and(|u| u.contains("/tortie@"))) {
            assert_eq!(step["uses"], "tortie-dev/tortie@main");
            let with = keys(&step["with"]);
            assert!(with.is_subset(&inputs), "{with:?}");
            used += 1;
        }
        for output in named(&block, ".outputs.") {
            assert!(!action["outputs"][&output].is_null(), "the action has no output {output}");
        }
        for hook in list(&value["repos"]).iter().flat_map(|repo| list(&repo["hooks"])) {
            assert!(ids.contains(&hook["id"]), "{hook}");
            hooks += 1;
        }
    }
    assert_eq!((used, hooks), (5, 2));
    // Inputs are told in a table.
    let page = text("docs/ecosystem.md");
    assert!(inputs.iter().all(|input| page.contains(&format!("| `{input}` |"))), "{inputs:?}");
}

/// What the page says of schemas: where they are, and what they take.
#[test]
fn the_page_names_every_schema() {
    let page = text("docs/ecosystem.md");
    let mut rows = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs/schemas")).expect("a folder") {
        let file = entry.expect("an entry").file_name().into_string().expect("text");
        let schema: Value = serde_json::from_str(&text(&format!("docs/schemas/{file}"))).expect("JSON");
        let name = file.strip_suffix(".json").expect("JSON");
        rows.insert(format!("| [{name}](schemas/{file}) | {} |", schema["title"].as_str().expect("text")));
    }
    let told = page.lines().filter(|line| line.contains("](schemas/")).map(ToOwned::to_owned).collect();
    assert_eq!(rows, told);
    let mut addresses = 0;
    for rest in page.split(concat!(env!("CARGO_PKG_REPOSITORY"), "/raw/main/")).skip(1) {
        let path: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
        let schema: Value = serde_json::from_str(&text(&path)).expect("JSON");
        assert_eq!(schema["$id"], format!("{}/raw/main/{path}", env!("CARGO_PKG_REPOSITORY")));
        addresses += 1;
    }
    assert_eq!(addresses, 3);
    for (language, name, begins) in [("yaml", "case", "# yaml-language-server"), ("toml", "config", "#:schema")] {
        let schema: Value = serde_json::from_str(&text(&format!("docs/schemas/{name}.json"))).expect("JSON");
        let block = blocks(language).into_iter().find(|block| block.starts_with(begins)).expect(begins);
        let value: Value = if language == "yaml" { yaml(&block) } else { toml::from_str(&block).expect("TOML") };
        assert!(jsonschema::is_valid(&schema, &value), "{block}");
    }
}

/// Targets by what krew calls their systems.
fn targets() -> BTreeMap<&'static str, &'static str> {
    [
        ("linux/amd64", "x86_64-unknown-linux-gnu"),
        ("linux/arm64", "aarch64-unknown-linux-gnu"),
        ("darwin/amd64", "x86_64-apple-darwin"),
        ("darwin/arm64", "aarch64-apple-darwin"),
        ("windows/amd64", "x86_64-pc-windows-msvc"),
    ]
    .into()
}

/// What `.ci/release` calls the archive of a target.
fn archive(target: &str) -> String {
    let cargo = Path::new(env!("CARGO")).parent().expect("a folder");
    let mut release = Command::new("/bin/sh");
    let output = release.arg(root().join(".ci/release")).args(["--name", target]).env("PATH", cargo).output();
    let output = output.expect("a shell");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[test]
fn krew_and_binstall_fetch_what_a_release_packs() {
    let version = env!("CARGO_PKG_VERSION");
    let manifest: toml::Value = toml::from_str(&text("crates/cli/Cargo.toml")).expect("TOML");
    let binstall = &manifest["package"]["metadata"]["binstall"];
    let expand = |template: &toml::Value, target: &str| {
        let ext = if target.contains("windows") { ".exe" } else { "" };
        let values = [
            ("repo", env!("CARGO_PKG_REPOSITORY")),
            ("name", "tortie"),
            ("bin", "tortie"),
            ("version", version),
            ("target", target),
            ("binary-ext", ext),
        ];
        let template = template.as_str().expect("a template").to_owned();
        let out = values.iter().fold(template, |text, (name, value)| text.replace(&format!("{{ {name} }}"), value));
        assert!(!out.contains('{'), "{out}");
        out
    };
    // As krew-release-bot fills it in: of each archive its address and sum.
    let template = text(".krew.yaml");
    let mut filled = String::new();
    for line in template.lines() {
        let line = match line.trim().strip_prefix("{{addURIAndSha \"") {
            Some(rest) => {
                let address = rest.strip_suffix("\" .TagName }}").expect("an address, of the tag");
                format!("    uri: {address}\n    sha256: {}", "0".repeat(64))
            }
            None => line.to_owned(),
        };
        filled.push_str(&(line.replace("{{ .TagName }}", &format!("v{version}")) + "\n"));
    }
    let plugin = yaml(&filled);
    assert_eq!((&plugin["kind"], &plugin["metadata"]["name"]), (&"Plugin".into(), &"tortie".into()));
    assert_eq!(plugin["spec"]["version"], format!("v{version}"));
    let short = plugin["spec"]["shortDescription"].as_str().expect("text");
    assert!(short.len() <= 50 && !short.ends_with('.'), "{short}");
    let mut left = targets();
    for platform in plugin["spec"]["platforms"].as_array().expect("platforms") {
        let label = |name: &str| platform["selector"]["matchLabels"][name].as_str().expect("a label");
        let system = format!("{}/{}", label("os"), label("arch"));
        let target = left.remove(system.as_str()).unwrap_or_else(|| panic!("{system} twice, or never"));
        let address = expand(&binstall["pkg-url"], target);
        assert_eq!(platform["uri"], address);
        assert_eq!(address.rsplit('/').next(), Some(archive(target).as_str()));
        let inside = expand(&binstall["bin-dir"], target);
        let (folder, program) = inside.split_once('/').expect("a folder");
        assert_eq!(format!("{folder}.tar.gz"), archive(target));
        assert_eq!(platform["bin"], program);
        let files = serde_json::json!([{"from": format!("*/{program}"), "to": "."}, {"from": "*/LICENSE", "to": "."}]);
        assert_eq!(platform["files"], files);
    }
    assert!(left.is_empty(), "without a manifest: {left:?}");
    assert_eq!(binstall["pkg-fmt"].as_str(), Some("tgz"));
}
