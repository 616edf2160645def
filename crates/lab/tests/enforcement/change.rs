//! Changes that fail, and that change nothing then; and what a change makes of pods that stay.

use tortie_lab::Sandbox;

use crate::stage::{HERE, Stage, THERE, closed, pod};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a change that the kernel refuses is undone", refused),
    ("a node that joins late enforces, and the others stay where they are", late_node),
    ("a pod that moves, or declares other ports, answers there and then", moved),
];

const EVERY: &str = "TCP/80 UDP/80 ping";

fn refused(sandbox: &Sandbox) -> Result {
    let mut stage = Stage::new(sandbox, &[pod("a/one", HERE, "", ""), pod("a/two", THERE, "", "")].concat())?;
    stage.allowed("a/one", "a/two", EVERY)?;
    // No host can have an address that many listen to.
    let impossible = pod("a/three", "late", "", "") + "status: {podIPs: [{ip: 'ff02::99'}]}\n";
    let change = [impossible, pod("b/new", HERE, "", ""), pod("b/other", "late", "", ""), closed("a")].concat();
    for _ in 0..2 {
        let before = stage.cluster.staged().clone();
        let error = stage.fails_to_change(&["Pod/a/two"], &change)?;
        assert!(!error.contains("could not be had again"), "{error}");
        assert!(*stage.cluster.staged() == before, "the cluster says that it is what failed");
        assert_eq!(stage.cluster.topology().places().filter(|p| p.to_string().contains("late")).count(), 0);
        assert!(stage.netns("b/new").is_err(), "it was made on the way, and is gone");
        stage.allowed("a/one", "a/two", EVERY)?;
        stage.allowed("a/two", "a/one", EVERY)?;
    }
    // Numbers and addresses of what failed are free for what works.
    stage.apply(&[pod("a/three", "late", "", ""), closed("a")].concat())?;
    stage.denied("a/one", "a/three", EVERY)?;
    stage.denied("a/three", "a/two", EVERY)?;
    Ok(())
}

fn late_node(sandbox: &Sandbox) -> Result {
    let mut stage =
        Stage::new(sandbox, &[pod("a/one", HERE, "", ""), pod("b/two", THERE, "", ""), closed("a")].concat())?;
    stage.apply(&[pod("a/three", "another", "", ""), pod("b/four", "another", "", "")].concat())?;
    stage.denied("b/two", "a/three", EVERY)?;
    stage.denied("a/three", "b/four", EVERY)?;
    stage.allowed("b/two", "b/four", EVERY)?;
    stage.allowed("b/four", "b/two", EVERY)?;
    stage.allowed("node/another", "a/three", EVERY)?;
    stage.denied("node/another", "a/one", EVERY)?;
    Ok(())
}

fn moved(sandbox: &Sandbox) -> Result {
    let at = |node: &str, ports: &str| {
        pod("a/server", node, "", ports) + "status: {podIPs: [{ip: 10.9.9.9}, {ip: 'fd00:9::9'}]}\n"
    };
    let mut stage = Stage::new(sandbox, &[pod("a/client", HERE, "", ""), at(HERE, "{containerPort: 80}")].concat())?;
    stage.allowed("a/client", "a/server", "TCP/80")?;
    stage.apply(&at(THERE, "{containerPort: 80}"))?;
    stage.allowed("a/client", "a/server", "TCP/80")?;
    stage.apply(&at(THERE, "{containerPort: 8080}"))?;
    stage.allowed("a/client", "a/server", "TCP/8080")?;
    stage.apply(&closed("a"))?;
    stage.denied("a/client", "a/server", "TCP/8080")?;
    Ok(())
}
