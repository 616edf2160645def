//! Which tracked connections a change of policy cuts.
//!
//! Established traffic is let through before policy is asked; so when policy changes, every connection that it no
//! longer allows is marked, and the mark is looked at before established traffic passes. Deleting the entry would not
//! do: the other end's next packet would open it again, in reverse. Connections of an address whose pod is gone are
//! deleted: the address is closed, and its next owner must not inherit them.

use std::net::IpAddr;

use tortie_model::{Traffic, canonical};
use tortie_plan::NodeFacts;
use tortie_policy::{Index, PodKey, Side};

/// What policy needs to know of a tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Who opened it, before source translation.
    pub source: IpAddr,
    /// Whom it reaches, after destination translation.
    pub destination: IpAddr,
    /// What it is.
    pub traffic: Traffic,
    /// Whether it carries the mark.
    pub marked: bool,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    Leave,
    /// Policy forbids it: mark it.
    Mark,
    /// Policy allows it again: take the mark away.
    Unmark,
    /// It belongs to a pod that is gone: forget it.
    Delete,
}

/// Judges a connection by the policies in force, as far as this node is the one to enforce them: a direction counts
/// when its endpoint runs here.
#[must_use]
pub fn judge(index: &Index, facts: &NodeFacts, connection: Tracked) -> Remedy {
    let ends = [connection.source, connection.destination];
    if ends.iter().any(|ip| is_orphan(index, facts, *ip)) {
        return Remedy::Delete;
    }
    let [from, to] = ends.map(|ip| index.address_side(ip));
    let (source_here, destination_here) = (runs_here(facts, &from), runs_here(facts, &to));
    let forbidden = (source_here || destination_here) && {
        // What a pod sends to its own address is not tracked here: its connections to itself come by a Service.
        let verdict = index.verdict_by_service(&from, &to, connection.traffic);
        (source_here && !verdict.egress.is_allowed()) || (destination_here && !verdict.ingress.is_allowed())
    };
    match (forbidden, connection.marked) {
        (true, false) => Remedy::Mark,
        (false, true) => Remedy::Unmark,
        (true, true) | (false, false) => Remedy::Leave,
    }
}

fn runs_here(facts: &NodeFacts, side: &Side) -> bool {
    side.pod().is_some_and(|pod| facts.interfaces.contains_key(&PodKey::of(pod)))
}

/// An address from which this node's pods get theirs, and that no pod has. The node's own address in that range, if
/// it has one, is not an orphan.
fn is_orphan(index: &Index, facts: &NodeFacts, ip: IpAddr) -> bool {
    let ip = canonical(ip);
    facts.pod_ranges.iter().any(|range| range.contains(&ip))
        && index.owner(ip).is_none()
        && index.address_side(ip).node().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::{Labels, Meta, Phase, Pod, Protocol};
    use tortie_plan::PodInterface;
    use tortie_policy::{Delta, fail_closed};

    fn pod(namespace: &str, name: &str, ip: &str) -> Delta {
        Delta::Pod(Box::new(Pod {
            meta: Meta { namespace: namespace.into(), name: name.into(), labels: Labels::default(), uid: name.into() },
            owner: None,
            node: Some("n1".into()),
            host_network: false,
            ips: vec![ip.parse().unwrap()],
            ports: vec![],
            phase: Phase::Running,
            ready: true,
            service_account: "default".into(),
        }))
    }

    fn facts(local: &[(&str, &str)]) -> NodeFacts {
        NodeFacts {
            name: "n1".into(),
            interface_prefix: "tor".into(),
            pod_ranges: vec!["10.244.1.0/24".parse().unwrap()],
            interfaces: local
                .iter()
                .map(|(ns, n)| (PodKey::new(ns, n), PodInterface { name: "tor0".into(), index: 7 }))
                .collect(),
        }
    }

    fn connection(source: &str, destination: &str, marked: bool) -> Tracked {
        Tracked {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            traffic: Traffic::port(Protocol::Tcp, 80),
            marked,
        }
    }

    #[test]
    fn what_policy_forbids_is_marked_and_what_it_allows_again_is_not() {
        let open = Index::of([pod("a", "x", "10.244.1.2"), pod("b", "y", "10.244.2.2")]);
        let mut closed = open.clone();
        closed.apply(Delta::Policy(Box::new(fail_closed("a", "deny"))));
        let facts = facts(&[("a", "x")]);
        for (source, destination) in [("10.244.1.2", "10.244.2.2"), ("10.244.2.2", "10.244.1.2")] {
            let judge = |index, marked| judge(index, &facts, connection(source, destination, marked));
            assert_eq!(judge(&open, false), Remedy::Leave);
            assert_eq!(judge(&open, true), Remedy::Unmark);
            assert_eq!(judge(&closed, false), Remedy::Mark);
            assert_eq!(judge(&closed, true), Remedy::Leave);
        }
    }

    #[test]
    fn the_other_nodes_half_is_the_other_nodes_business() {
        let index = Index::of([
            pod("a", "x", "10.244.1.2"),
            pod("b", "y", "10.244.2.2"),
            Delta::Policy(Box::new(fail_closed("b", "deny"))),
        ]);
        let judged = judge(&index, &facts(&[("a", "x")]), connection("10.244.1.2", "10.244.2.2", false));
        assert_eq!(judged, Remedy::Leave);
    }

    #[test]
    fn connections_of_a_pod_that_is_gone_are_forgotten() {
        let index = Index::of([pod("b", "y", "10.244.2.2")]);
        let judged = judge(&index, &facts(&[]), connection("10.244.2.2", "10.244.1.9", false));
        assert_eq!(judged, Remedy::Delete);
    }
}
