//! `lab verify`: what a stranger has changed in a node of a running lab is found and named.
//!
//! The stranger is this program itself, run in the node's network by `lab exec`.

#[cfg(target_os = "linux")]
#[path = "support/schema.rs"]
mod support;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["stranger", what, name] => stranger::act(what, name),
        _ => lab::run(),
    }
}

/// Somebody else with the right to change the ruleset of a node.
#[cfg(target_os = "linux")]
mod stranger {
    use std::process::ExitCode;

    use tortie_netlink::nft::{Batch, Op, Place, TableId, read_table};
    use tortie_netlink::{Protocol, Socket};
    use tortie_ruleset::{Expr, Family, Rule, Table, Verdict};

    pub(crate) fn act(what: &str, name: &str) -> ExitCode {
        let mut socket = Socket::open(Protocol::Netfilter).expect("a socket");
        let id = TableId::new(Family::Inet, "tortie");
        let held = read_table(&mut socket, &id).expect("readable").expect("a table").table;
        match Batch::of(&change(what, name, &id, &held)).expect("encoded").commit(&mut socket, None) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    fn change(what: &str, name: &str, id: &TableId, held: &Table) -> Vec<Op> {
        let table = id.clone();
        match what {
            // All elements of the maps whose names begin so.
            "empty" => {
                let maps = held.maps.iter().filter(|(map, _)| map.starts_with(name));
                maps.map(|(map, (spec, elements))| Op::DeleteElements {
                    table: table.clone(),
                    map: map.clone(),
                    spec: spec.clone(),
                    elements: elements.iter().cloned().collect(),
                })
                .collect()
            }
            // A rule that lets everything pass, in front of all others of the chain whose name begins so.
            "open" => {
                let chain = held.chains.iter().map(|(chain, _)| chain).find(|chain| chain.starts_with(name));
                let (chain, place) = (chain.expect("such a chain").clone(), Place::Start);
                let rule = Rule { exprs: vec![Expr::Verdict(Verdict::Accept)], comment: None };
                vec![Op::AddRule { table, chain, place, rule }]
            }
            "chain" => vec![Op::AddChain { table, chain: name.to_owned(), base: None }],
            other => panic!("what is {other}?"),
        }
    }
}

#[cfg(target_os = "linux")]
mod lab {
    use std::process::{Command, ExitCode, Output, Stdio};

    use libtest_mimic::{Arguments, Failed, Trial};
    use serde_json::Value;
    use tempfile::TempDir;

    const OBJECTS: &str = "\
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: one}, spec: {nodeName: node-1, containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: two}, spec: {nodeName: node-2, containers: [{name: c, image: i}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: b, name: some}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}}]
    ports: [{port: 80}]
";

    type Result = std::result::Result<(), Failed>;
    type Test = fn() -> Result;

    pub(crate) fn run() -> ExitCode {
        let tests: [(&str, Test); 4] = [
            ("a lab that nobody has touched is proven", untouched),
            ("an element that is gone is named, with the policy that is missed", element),
            ("a rule that was added is named, and put right with the next change", rule),
            ("what no packet meets is told as well", harmless),
        ];
        let trials = tests.into_iter().map(|(name, test)| Trial::test(name, test)).collect();
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    }

    /// A lab in the background whose tables anybody may change, ended with the test.
    struct Lab {
        name: String,
        folder: TempDir,
    }

    impl Lab {
        /// `None` where namespaces are refused and the caller said that this may be skipped.
        fn up(name: &str) -> Option<Self> {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join("objects.yaml"), OBJECTS).expect("written");
            let lab = Self { name: format!("verify-{name}-{}", std::process::id()), folder };
            let (code, _, err) = lab.ask(&["up", "--detach", "--unprotected", "-f", "objects.yaml"]);
            let may_skip = std::env::var("TORTIE_ALLOW_SKIP").is_ok_and(|v| v == "1");
            assert!(code == 0 || may_skip, "it does not come up: {err}");
            (code == 0).then_some(lab)
        }

        /// Exit code, standard output, standard error.
        fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
            let at = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
            let (own, command) = arguments.split_at(at);
            let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_tortie"))
                .args([&["lab"], own, &["--name", &self.name], command].concat())
                .current_dir(self.folder.path())
                .envs([("NO_COLOR", "1"), ("COLUMNS", "400")])
                .stdin(Stdio::null())
                .output()
                .expect("tortie runs");
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
            (status.code().expect("no signal"), text(stdout), text(stderr))
        }

        fn stranger(&self, what: &str, name: &str) {
            let own = std::env::current_exe().expect("this program");
            let own = own.to_str().expect("UTF-8");
            let (code, _, err) = self.ask(&["exec", "node/node-2", "--", own, "stranger", what, name]);
            assert_eq!(code, 0, "{err}");
        }

        /// Exit code, and what is said of each node.
        fn verify(&self) -> (i32, Vec<Value>) {
            let (code, out, err) = self.ask(&["verify", "-o", "json"]);
            super::support::assert_lines_valid("lab-verify", &out);
            assert_eq!(err, "");
            (code, out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect())
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            self.ask(&["down"]);
        }
    }

    fn untouched() -> Result {
        let Some(lab) = Lab::up("untouched") else { return Ok(()) };
        let (code, nodes) = lab.verify();
        assert_eq!((code, nodes.len()), (0, 2));
        for node in &nodes {
            assert_eq!(node["holds"], true, "{node}");
            assert!(node["endpoints"].as_u64() > Some(0) && node["regions"].as_u64() > Some(20), "{node}");
            for list in ["witnesses", "unfollowed", "differences", "mended"] {
                assert_eq!(node[list], Value::Array(Vec::new()), "{list} of {node}");
            }
        }
        let (code, out, _) = lab.ask(&["verify"]);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((code, lines.len()), (0, 2), "{out}");
        for (line, node) in lines.iter().zip(["node-1", "node-2"]) {
            assert!(line.starts_with(&format!("proven {node}: all packets as the engine says (")), "{line}");
        }
        // The examples of its help are commands that work.
        let (_, help, _) = lab.ask(&["verify", "--help"]);
        let examples = help.lines().filter_map(|line| line.trim().strip_prefix("tortie lab "));
        let examples: Vec<Vec<&str>> = examples.map(|e| e.split_whitespace().collect()).collect();
        let verify: Vec<_> = examples.iter().filter(|words| words[0] == "verify").collect();
        assert!(verify.len() >= 2, "{help}");
        for words in verify {
            assert_eq!(lab.ask(words).0, 0, "{words:?}");
        }
        Ok(())
    }

    fn element() -> Result {
        let Some(lab) = Lab::up("element") else { return Ok(()) };
        lab.stranger("empty", "iprof4.");
        // The kernel is what it is found to be: what policy denies passes.
        let (code, out, _) = lab.ask(&["probe", "a/one", "b/two", "TCP/81", "-o", "json"]);
        let v4: Value = serde_json::from_str(out.lines().next().expect("a line")).expect("JSON");
        assert_eq!((code, &v4["kernel"], &v4["engine"]), (1, &"allow".into(), &"deny".into()), "{out}");
        let (code, nodes) = lab.verify();
        assert_eq!((code, &nodes[0]["holds"], &nodes[1]["holds"]), (1, &true.into(), &false.into()));
        let witnesses = nodes[1]["witnesses"].as_array().expect("witnesses");
        assert!(!witnesses.is_empty());
        for witness in witnesses {
            assert_eq!((&witness["to"], &witness["family"]), (&"b/two".into(), &"IPv4".into()), "{witness}");
            assert_ne!(witness["engine"], witness["kernel"], "both answers: {witness}");
            let blame = &witness["blame"][0];
            let text = blame["text"].as_str().expect("words");
            let named = "map iprof4.1 (who decides on what is sent to a pod): element <";
            assert!(text.starts_with(named) && text.contains("(pod b/two)> is gone, must be profile "), "{text}");
            let policy = &blame["policies"][0];
            let place = (&policy["namespace"], &policy["name"], &policy["file"]);
            assert_eq!(place, (&"b".into(), &"some".into(), &"objects.yaml".into()), "{policy}");
            // Of a packet that no rule allows, the policy; of one that a rule allows, the rule.
            let line = if policy["rule"].is_null() { 7 } else { 11 };
            assert_eq!(policy["line"], line, "{policy}");
        }
        let (code, out, _) = lab.ask(&["verify"]);
        assert_eq!(code, 1);
        for said in [
            "proven node-1: ",
            "\nwrong node-2: the kernel judges packets otherwise than the engine\n  map iprof4.1 (",
            "> is gone, must be profile 1 (NetworkPolicy/b/some)\n",
            "\n    policy: no rule of NetworkPolicy/b/some (objects.yaml:7)\n",
            "\n      engine: deny, ingress is denied: no rule of NetworkPolicy/b/some allows it\n      kernel: allow, at ",
            "\n  changed since it was put there: map iprof4.1 has other elements: 1 gone\n",
        ] {
            assert!(out.contains(said), "{said} is not said:\n{out}");
        }
        Ok(())
    }

    fn rule() -> Result {
        let Some(lab) = Lab::up("rule") else { return Ok(()) };
        lab.stranger("open", "forward6.");
        let (code, out, _) = lab.ask(&["verify"]);
        assert_eq!(code, 1);
        assert!(out.contains("\n  chain forward6.1, rule 0 does not belong there: `accept`\n"), "{out}");
        assert!(out.contains("\n      kernel: allow, at chain forward6.1, rule 0\n"), "{out}");
        // The next change puts it right, and says so once.
        std::fs::write(lab.folder.path().join("more.yaml"), OBJECTS.replace("port: 80", "port: 81"))?;
        assert_eq!(lab.ask(&["apply", "-f", "more.yaml"]).0, 0);
        let (code, out, _) = lab.ask(&["verify"]);
        assert_eq!(code, 0, "{out}");
        assert!(out.ends_with("\n  was put right: chain forward6.1 has other rules, from rule 0 on\n"), "{out}");
        assert_eq!(lab.ask(&["verify"]).1.lines().count(), 2);
        Ok(())
    }

    fn harmless() -> Result {
        let Some(lab) = Lab::up("harmless") else { return Ok(()) };
        lab.stranger("chain", "theirs");
        let (code, nodes) = lab.verify();
        assert_eq!((code, &nodes[1]["holds"]), (1, &false.into()));
        assert_eq!(nodes[1]["witnesses"], Value::Array(Vec::new()));
        assert_eq!(nodes[1]["differences"], Value::Array(vec!["chain theirs was added".into()]));
        let (_, out, _) = lab.ask(&["verify"]);
        assert!(out.contains("\nchanged node-2: somebody has changed its table\n"), "{out}");
        Ok(())
    }
}
