//! What somebody else changed in the kernel is found by the packets that it changes.

use tortie_lab::Sandbox;
use tortie_netlink::Socket;
use tortie_netlink::nft::{Batch, Op, TableId, read_table};
use tortie_node::NodeOptions;
use tortie_ruleset::{Element, Family};

use crate::stage::{Stage, pod, policy};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] =
    &[("an element that is gone is found by a packet, which passes", an_element_is_gone)];

/// Without its profile, a pod is governed by nobody: what was denied passes.
fn an_element_is_gone(sandbox: &Sandbox) -> Result {
    let mut options = NodeOptions::default();
    options.dataplane.own = false;
    let yaml = [
        pod("a/one", "node-1", "app: one", ""),
        pod("a/two", "node-1", "app: two", ""),
        policy("a/deny", "podSelector: {matchLabels: {app: two}}, policyTypes: [Ingress]"),
    ];
    let mut stage = Stage::with(sandbox, &yaml.concat(), options)?;
    stage.denied("a/one", "a/two", "TCP/80")?;
    stage.netns("node/node-1")?.run(|| -> Result {
        let mut socket = Socket::open(tortie_netlink::Protocol::Netfilter)?;
        let id = TableId::new(Family::Inet, "tortie");
        let held = read_table(&mut socket, &id)?.ok_or("no table")?.table;
        let of = |stem: &str| held.maps.iter().find(|(name, _)| name.starts_with(stem)).ok_or("no such map");
        let mut ops = Vec::new();
        for stem in ["iprof4.", "iprof6."] {
            let (map, (spec, elements)) = of(stem)?;
            let elements: Vec<Element> = elements.iter().cloned().collect();
            assert_eq!(elements.len(), 1, "one pod is governed");
            ops.push(Op::DeleteElements { table: id.clone(), map: map.clone(), spec: spec.clone(), elements });
        }
        Ok(Batch::of(&ops)?.commit(&mut socket, None)?)
    })??;
    let found = stage.cluster.verify()?;
    let two = stage.address("a/two", tortie_model::Family::V4)?;
    let witness = |said: &str| {
        said.contains(&format!(" -> {two} ")) && said.contains("should be dropped") && said.contains("lets it pass")
    };
    assert!(found.iter().any(|(node, said)| &**node == "node-1" && witness(said)), "{found:#?}");
    assert!(found.iter().any(|(_, said)| said.starts_with("map iprof4.")), "{found:#?}");
    for (question, sighting) in stage.sent("a/one", "a/two", "TCP/80")? {
        let passed = sighting.kernel.answer() == Some(true.into());
        assert!(passed, "{question:?}: {}", sighting.detail);
    }
    Ok(())
}
