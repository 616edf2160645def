//! Verdicts of Calico's own code for random clusters of its policies, NetworkPolicies and ClusterNetworkPolicies.

use std::collections::BTreeMap;

use serde_json::Value;
use tortie_model::{Direction, Family, IpProtocol, Kind, Traffic};
use tortie_policy::{Asked, By, EPHEMERAL_PORT, FlowVerdict, Half};

use crate::cluster::{Cluster, list, objects, read};
use crate::corpus::{Answers, Finding};

/// Whether a deviation may show in a flow of a record.
type Applies = fn(&Value, &Value) -> bool;

/// Where the expectation is not followed, by the name in `conformance/exceptions.toml`.
const DEVIATIONS: [(&str, Applies); 3] = [
    ("calico-verdicts/notNets-of-another-family", excludes_another_family),
    ("calico-verdicts/services-without-namespace", |record, _| has_feature(record, "services-without-namespace")),
    ("calico-verdicts/nodes-and-domainNames", |record, _| has_feature(record, "cnp-unsupported-peer")),
];

fn has_feature(record: &Value, feature: &str) -> bool {
    list(&record["features"]).iter().any(|f| f.as_str() == Some(feature))
}

/// Whether a rule excludes addresses of the other family alone: Calico skips it, though it excludes nothing.
fn excludes_another_family(record: &Value, flow: &Value) -> bool {
    let is_v6 = flow["src_ip"].as_str().is_some_and(|ip| ip.contains(':'));
    let of_other = |net: &Value| net.as_str().is_some_and(|net| net.contains(':') != is_v6);
    let rules = list(&record["objects"])
        .iter()
        .flat_map(|object| ["ingress", "egress"].into_iter().flat_map(|direction| list(&object["spec"][direction])));
    let mut ends = rules.flat_map(|rule| ["source", "destination"].map(|end| &rule[end]["notNets"]));
    ends.any(|nets| list(nets).iter().any(of_other) && list(nets).iter().all(of_other))
}

/// One record: some flows through one cluster.
pub(crate) fn verdicts(record: &Value) -> Finding {
    let cluster = match objects(&read(list(&record["objects"]))).and_then(|o| Cluster::with_addresses(&o)) {
        Ok(cluster) => cluster,
        Err(why) => return Finding::Differs(vec![why]),
    };
    let mut differences = Vec::new();
    let mut deviations: BTreeMap<&'static str, usize> = BTreeMap::new();
    for flow in list(&record["flows"]) {
        let known = DEVIATIONS.iter().find(|(_, applies)| applies(record, flow));
        match (ask(&cluster, flow), known) {
            (Ok(None), _) => {}
            (Ok(Some(_)), Some((class, _))) => *deviations.entry(class).or_default() += 1,
            (Ok(Some(why)) | Err(why), _) => differences.push(format!("{flow}: {why}")),
        }
    }
    let n = list(&record["flows"]).len();
    match differences.is_empty() {
        true => Finding::Agrees(Answers { engine: n, plan: n, deviations }),
        false => Finding::Differs(differences),
    }
}

/// What differs in a flow.
fn ask(cluster: &Cluster, flow: &Value) -> Result<Option<String>, String> {
    let asked = asked(flow);
    let end = |key: &str| flow[key].as_str().unwrap_or_default().parse().map_err(|_| format!("{key} is no address"));
    let (from, to) = (cluster.index.address_side(end("src_ip")?), cluster.index.address_side(end("dst_ip")?));
    let verdict = cluster.ask_from(&from, &to, asked)?;
    let differs =
        Direction::BOTH.into_iter().find_map(|direction| half(&verdict, direction, &flow[direction.as_str()]));
    Ok(differs)
}

fn asked(flow: &Value) -> Asked {
    let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
    let family = if flow["src_ip"].as_str().is_some_and(|ip| ip.contains(':')) { Family::V6 } else { Family::V4 };
    let protocol = match flow["proto"].as_str().unwrap_or_default() {
        "TCP" => IpProtocol::TCP,
        "UDP" => IpProtocol::UDP,
        "SCTP" => IpProtocol::SCTP,
        "ICMP" => IpProtocol::ICMP,
        "ICMPv6" => IpProtocol::ICMPV6,
        other => IpProtocol(other.parse().expect("a record names a protocol by name or number")),
    };
    let detail = if protocol.is_icmp() {
        let of = |key: &str| flow["icmp"][key].as_u64().and_then(|n| u8::try_from(n).ok());
        let echo = Traffic::echo_request(family).detail;
        of("type").map_or(echo, |kind| u16::from_be_bytes([kind, of("code").unwrap_or_default()]))
    } else {
        number(&flow["port"]).filter(|_| protocol.transport().is_some()).unwrap_or_default()
    };
    let source_port = number(&flow["sport"]).unwrap_or(EPHEMERAL_PORT);
    Asked { traffic: Traffic { protocol, detail }, source_port }
}

/// What differs in one direction: the verdict, or who decided.
fn half(verdict: &FlowVerdict, direction: Direction, wanted: &Value) -> Option<String> {
    let half = verdict.half(direction);
    let theirs = (wanted["allowed"].as_bool(), decider(&wanted["decided_by"]));
    let ours = (Some(half.is_allowed()), ours(half));
    // A Service's endpoints are many rules of Calico's expansion; which of them is not compared.
    (theirs != ours).then(|| format!("{direction}: theirs {theirs:?}, ours {ours:?}"))
}

/// Kind, namespace and name of a policy with the index of a rule; the name of a tier; or nothing.
#[derive(Debug, PartialEq, Eq)]
enum Decided {
    Rule(String, Option<u64>),
    EndOfTier(String),
    Profile,
}

fn decider(by: &Value) -> Decided {
    let text = |key: &str| by[key].as_str().unwrap_or_default();
    match text("type") {
        "rule" => {
            let is_kubernetes = text("kind").ends_with(".k8s");
            let name = format!("{}/{}/{}", text("kind"), text("namespace"), text("name"));
            Decided::Rule(name, by["rule"].as_u64().filter(|_| !is_kubernetes))
        }
        "end-of-tier" => Decided::EndOfTier(text("tier").to_owned()),
        _ => Decided::Profile,
    }
}

fn ours(half: &Half) -> Decided {
    match half.outcome.by {
        By::Rule(_) => {
            let rule = half.decided_by().expect("a rule that decides is there");
            let kind = match rule.policy.kind {
                Kind::NetworkPolicy => "NetworkPolicy.k8s",
                Kind::ClusterNetworkPolicy => "ClusterNetworkPolicy.k8s",
                kind => kind.written(),
            };
            let is_kubernetes = kind.ends_with(".k8s");
            let name = format!("{kind}/{}/{}", rule.policy.namespace_str(), rule.policy.name);
            Decided::Rule(name, (!is_kubernetes).then_some(rule.index as u64))
        }
        By::EndOfTier(tier) => Decided::EndOfTier(half.stack.tiers()[tier].name.to_string()),
        By::Profile => Decided::Profile,
    }
}
