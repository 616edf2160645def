//! Recent flows with names, and with the places of what decided.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use tortie_analysis::staging::Staged;
use tortie_model::{Direction, Family, canonical};
use tortie_node::{Cause, Meaning};
use tortie_policy::PodKey;

use super::archive::Archive;
use crate::control::{Decision, DryRunFlow, FlowLine, FlowReport};
use crate::flows::{Flow, FlowKey, Flows, Foreseen, Said, Tried};
use crate::observe::describe_cause;

/// The flows that changed after a change.
///
/// `archives`: where what is enforced is written, and what is tried out.
pub(crate) fn report(flows: &Flows, since: u64, staged: &Staged, archives: [&Archive; 2]) -> FlowReport {
    let [archive, tried] = archives;
    let writer = Writer { names: Names::of(staged), archive, tried };
    let changed = flows.since(since).map(|(_, flow)| flow.changed).max().unwrap_or(since);
    let lines = flows.since(since).flat_map(|(key, flow)| writer.lines(key, flow));
    FlowReport { flows: lines.collect(), changed, forgotten: flows.forgotten(), lost: Vec::new() }
}

/// Whose addresses they are.
#[derive(Debug)]
pub(crate) struct Names(HashMap<IpAddr, String>);

impl Names {
    /// Pods in their node's network go by the node: the address does not tell them apart.
    pub(crate) fn of(staged: &Staged) -> Self {
        let pods = staged.world.pods.iter().filter(|(_, pod)| !pod.host_network);
        let pods = pods.flat_map(|(key, pod): (&PodKey, _)| pod.ips.iter().map(|ip| (canonical(*ip), key.to_string())));
        let nodes = staged.nodes.iter();
        let nodes = nodes.flat_map(|n| n.addresses.iter().map(|ip| (*ip, format!("node/{}", n.meta.name))));
        let outside = staged.outside.iter().flat_map(|h| h.addresses.iter().map(|ip| (*ip, h.name.clone())));
        Self(outside.chain(nodes).chain(pods).collect())
    }

    /// `ns/pod`, `node/NAME`, the name of an outside host, or the address.
    pub(crate) fn name(&self, ip: IpAddr) -> String {
        self.0.get(&ip).cloned().unwrap_or_else(|| ip.to_string())
    }
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e3).round() / 1e3
}

struct Writer<'a> {
    names: Names,
    archive: &'a Archive,
    tried: &'a Archive,
}

impl Writer<'_> {
    fn lines(&self, key: &FlowKey, flow: &Flow) -> Vec<FlowLine> {
        let name = |ip: IpAddr| self.names.name(ip);
        let line = |verdict: &str, count, (first, last)| FlowLine {
            first: seconds(first),
            last: seconds(last),
            from: name(key.source),
            to: name(key.destination),
            family: Family::of(key.source).to_string(),
            traffic: key.traffic.to_string(),
            verdict: verdict.to_owned(),
            count,
            node: None,
            egress: None,
            ingress: None,
            cause: None,
            dry_run: None,
        };
        let said = |meaning: &Option<Meaning>, at| meaning.as_ref().map(|meaning| decision(meaning, self.archive, at));
        let mut lines = Vec::new();
        if let (allowed, Some(times)) = (&flow.allowed, flow.allowed.times) {
            lines.push(FlowLine {
                egress: said(&allowed.by.egress, times.1),
                ingress: said(&allowed.by.ingress, times.1),
                dry_run: allowed.tried.as_ref().map(|tried| self.dry_run(tried, true, times.1)),
                ..line("allow", allowed.connections, times)
            });
        }
        if let Some(denied) = &flow.denied {
            let at = denied.times.1;
            let mut one = line("deny", denied.packets, denied.times);
            one.node = Some(denied.last.node.to_string());
            one.dry_run = denied.tried.as_ref().map(|tried| self.dry_run(tried, false, at));
            match &denied.last.cause {
                Cause::Policy { direction: Direction::Egress, meaning: meaning @ Some(_), .. } => {
                    one.egress = said(meaning, at);
                }
                Cause::Policy { direction: Direction::Ingress, meaning: meaning @ Some(_), .. } => {
                    one.egress = said(&denied.passed.egress, at);
                    one.ingress = said(meaning, at);
                }
                other => one.cause = Some(describe_cause(other)),
            }
            lines.push(one);
        }
        lines
    }

    fn dry_run(&self, tried: &Tried, passed: bool, at: SystemTime) -> DryRunFlow {
        let said = |said: &Option<Said>| said.as_ref()?.by.as_ref().map(|by| decision(by, self.tried, at));
        let passes = tried.passes();
        DryRunFlow {
            verdict: if passes { "allow" } else { "deny" }.to_owned(),
            changed: passes != passed,
            egress: said(&tried.egress),
            ingress: said(&tried.ingress).or_else(|| foreseen(tried.foreseen.as_ref()?, self.tried, at)),
            predicted: tried.foreseen.is_some(),
        }
    }
}

/// What policy would decide at an end that no packet got to; nothing where none would be asked.
fn foreseen(foreseen: &Foreseen, archive: &Archive, at: SystemTime) -> Option<Decision> {
    let policies = foreseen.isolating.iter().map(|policy| archive.policy(policy, at));
    match &foreseen.rule {
        Some(rule) => Some(Decision { generation: 0, decided_by: Some(archive.rule(rule, at)), isolating: Vec::new() }),
        None if foreseen.isolating.is_empty() => None,
        None => Some(Decision { generation: 0, decided_by: None, isolating: policies.collect() }),
    }
}

/// What policy decided, as it was written then.
fn decision(meaning: &Meaning, archive: &Archive, at: SystemTime) -> Decision {
    let decided_by = meaning.path.rule().map(|rule| archive.rule(rule, at));
    let isolating = match &decided_by {
        Some(_) => Vec::new(),
        None => meaning.path.isolating.iter().map(|policy| archive.policy(policy, at)).collect(),
    };
    Decision { generation: meaning.generation, decided_by, isolating }
}
