//! Policies that are tried out: the kernel says what they would do, and does what is enforced.

use std::net::IpAddr;

use tortie_lab::Sandbox;
use tortie_lab::flows::{Flow, FlowKey, Said, Tried};
use tortie_model::{Direction, Family, Kind, ObjectRef, Protocol, Traffic};
use tortie_policy::{RuleRef, Verdict};

use crate::stage::{HERE, Stage, THERE, closed, pod, policy, until};
use crate::talk::{Carrier, Talk, Talks};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("what would be denied passes, and is told with the policy that would deny it", denying),
    ("what would be allowed is dropped, and is told with the rule that would allow it", allowing),
    ("labels are tried out like policies", labels),
    ("nothing that is open is lost while policies are tried out that would deny it", open_connections),
];

const PROBES: &str = "ping TCP/80 UDP/53";

fn pods() -> String {
    [pod("a/one", HERE, "", ""), pod("b/near", HERE, "", ""), pod("b/two", THERE, "", "")].concat()
}

fn flow(stage: &Stage, family: Family, [from, to]: [&str; 2], port: u16) -> Result<Flow> {
    let ends: [Result<IpAddr>; 2] = [from, to].map(|who| stage.address(who, family));
    let [source, destination] = ends;
    let traffic = Traffic::port(Protocol::Tcp, port);
    let key = FlowKey { source: source?, destination: destination?, traffic };
    let found = stage.cluster.flows(|flows| flows.since(0).find(|(k, _)| **k == key).map(|(_, f)| f.clone()));
    Ok(found.flatten().unwrap_or_default())
}

/// The deciding rule, or the policies of which none allows it.
fn by(said: Option<&Said>) -> Option<(Verdict, Option<RuleRef>, Vec<ObjectRef>)> {
    let said = said?;
    let path = &said.by.as_ref()?.path;
    Some((said.verdict, path.rule().cloned(), path.isolating.to_vec()))
}

fn denying(sandbox: &Sandbox) -> Result {
    let mut stage = Stage::recording(sandbox, &pods())?;
    stage.try_out(&[], &[closed("a"), closed("b")].concat())?;
    let isolates = |namespace| vec![ObjectRef::namespaced(Kind::NetworkPolicy, namespace, "closed")];
    for (from, to, end) in [("a/one", "b/two", "a"), ("a/one", "b/near", "a"), ("internet", "b/two", "b")] {
        stage.allowed(from, to, PROBES)?;
        for family in Family::ALL {
            let told =
                |stage: &Stage| -> Result<Option<Tried>> { Ok(flow(stage, family, [from, to], 80)?.allowed.tried) };
            let denied = |tried: &Option<Tried>| tried.as_ref().is_some_and(|t| !t.passes());
            until(&format!("{from} -> {to} {family} is told"), || Ok(denied(&told(&stage)?)))?;
            let tried = told(&stage)?.ok_or("it was just told")?;
            let said = if end == "a" { &tried.egress } else { &tried.ingress };
            assert_eq!(by(said.as_ref()), Some((Verdict::Deny, None, isolates(end))), "{from} -> {to} {family}");
        }
    }
    // What changes meanwhile is in both.
    stage.apply(&pod("a/late", THERE, "", ""))?;
    stage.try_out(&[], &[closed("a"), closed("b")].concat())?;
    stage.allowed("a/late", "b/two", PROBES)?;
    stage.end_trial()?;
    stage.allowed("a/one", "b/two", "TCP/81")?;
    for family in Family::ALL {
        until("a connection is told", || Ok(flow(&stage, family, ["a/one", "b/two"], 81)?.allowed.connections == 1))?;
        assert_eq!(flow(&stage, family, ["a/one", "b/two"], 81)?.allowed.tried, None, "nothing is tried out");
    }
    Ok(())
}

fn allowing(sandbox: &Sandbox) -> Result {
    let three = pod("c/three", HERE, "", "");
    let mut stage = Stage::recording(sandbox, &[pods(), three, closed("b"), closed("c")].concat())?;
    let open = policy("b/closed", "podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]");
    let rule = RuleRef {
        policy: ObjectRef::namespaced(Kind::NetworkPolicy, "b", "closed"),
        direction: Direction::Ingress,
        index: 0,
    };
    stage.try_out(&["NetworkPolicy/c/closed"], &open)?;
    let tried = |stage: &Stage, family, ends, port| -> Result<Tried> {
        let told = || -> Result<Option<Tried>> { Ok(flow(stage, family, ends, port)?.denied.and_then(|d| d.tried)) };
        until(&format!("{ends:?} {family} is told"), || Ok(told()?.is_some()))?;
        Ok(told()?.ok_or("it was just told")?)
    };
    stage.denied("a/one", "b/two", "TCP/80 TCP/81")?;
    stage.denied("c/three", "b/two", "TCP/80 TCP/81")?;
    for family in Family::ALL {
        let would = tried(&stage, family, ["a/one", "b/two"], 80)?;
        let allowed = by(would.ingress.as_ref()).map(|(verdict, rule, _)| (verdict, rule));
        assert_eq!((would.passes(), &would.foreseen), (true, &None), "{would:?}");
        assert_eq!(allowed, Some((Verdict::Allow, Some(rule.clone()))));
        let would = tried(&stage, family, ["a/one", "b/two"], 81)?;
        assert!(!would.passes(), "no rule takes that port: {would:?}");
        // Dropped where it was sent from: the engine says what the destination would on its node.
        for (port, passes) in [(80, true), (81, false)] {
            let would = tried(&stage, family, ["c/three", "b/two"], port)?;
            let foreseen = would.foreseen.as_ref().ok_or("it did not get there")?;
            assert_eq!((would.passes(), &would.egress, &would.ingress), (passes, &None, &None));
            assert_eq!(foreseen.rule.as_ref(), Some(&rule).filter(|_| passes));
            assert_eq!(foreseen.isolating.as_slice(), std::slice::from_ref(&rule.policy));
        }
    }
    // Without the policy nothing governs that end, and nothing is said there.
    stage.try_out(&["NetworkPolicy/b/closed"], "")?;
    stage.denied("a/one", "b/two", "TCP/82")?;
    for family in Family::ALL {
        let would = tried(&stage, family, ["a/one", "b/two"], 82)?;
        assert_eq!(would, Tried::default(), "nothing would govern it");
    }
    Ok(())
}

fn labels(sandbox: &Sandbox) -> Result {
    let from = "podSelector: {}, policyTypes: [Ingress], \
                ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {role: client}}}]}]";
    let mut stage = Stage::recording(sandbox, &[pods(), policy("b/clients", from)].concat())?;
    stage.try_out(&[], &pod("a/one", HERE, "role: client", ""))?;
    stage.denied("a/one", "b/two", "TCP/80")?;
    stage.denied("internet", "b/two", "TCP/80")?;
    for family in Family::ALL {
        for (who, passes) in [("a/one", true), ("internet", false)] {
            let told = || -> Result<Option<Tried>> {
                Ok(flow(&stage, family, [who, "b/two"], 80)?.denied.and_then(|d| d.tried))
            };
            until(&format!("{who} {family} is told"), || Ok(told()?.is_some()))?;
            assert_eq!(told()?.map(|t| t.passes()), Some(passes), "{who} {family}");
        }
    }
    Ok(())
}

fn open_connections(sandbox: &Sandbox) -> Result {
    let mut stage = Stage::new(sandbox, &pods())?;
    let mut talks = Vec::new();
    for family in Family::ALL {
        for (carrier, server) in [(Carrier::Tcp, "b/two"), (Carrier::Udp, "b/near")] {
            let client = (stage.netns("a/one")?, stage.address("a/one", family)?);
            let at = stage.address(server, family)?;
            let name = format!("{server} {carrier:?} {family}");
            talks.push(Talk::open(name, carrier, client, (at, 7000), (stage.netns(server)?, at, 7000))?);
        }
    }
    let talks = Talks::start(talks);
    talks.passes("", 0, 1000)?;
    for phase in 1..4 {
        stage.try_out(&[], &[closed("a"), closed("b")].concat())?;
        talks.begin(phase)?;
        talks.passes("", phase, 1000)?;
        stage.end_trial()?;
    }
    talks.begin(4)?;
    talks.passes("", 4, 1000)?;
    talks.lost_nothing("")
}
