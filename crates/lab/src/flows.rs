//! What went through the cluster and what did not: connections of the same ends and port are one flow, and only so many
//! flows are kept.
//!
//! A connection that crosses two nodes is opened at both; it counts at the last of them, where nothing can deny it any
//! more. A denied packet counts where it is dropped.
//!
//! While other policies are tried out, a node says of a packet what they would do before it says what was done. Where it
//! says nothing first, no policy that is tried out governs that end.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tortie_model::{Direction, IpProtocol, ObjectRef, Traffic};
use tortie_netlink::{PacketTuple, Transport};
use tortie_node::{Cause, Denial, Meaning, Opened, Passage, Record, Trial};
use tortie_policy::{Asked, Index, RuleRef, Verdict};

/// Flows that are kept unless told otherwise.
const MOST: usize = 10_000;

/// The ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Who sends first.
    pub source: IpAddr,
    /// Who is reached.
    pub destination: IpAddr,
    /// Protocol and destination port, or ICMP type and code.
    pub traffic: Traffic,
}

/// Connections that were allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// How many.
    pub connections: u64,
    /// The first and the last of them.
    pub times: Option<(SystemTime, SystemTime)>,
    /// What allowed the last of them.
    pub by: Passed,
    /// What would have become of the last of them.
    pub tried: Option<Tried>,
    /// The state of the cluster in which the last of them was opened.
    epoch: u64,
}

/// What policies let a packet pass; `None` where none governs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// At the source.
    pub egress: Option<Meaning>,
    /// At the destination.
    pub ingress: Option<Meaning>,
}

/// What policies that are tried out would do with a packet; `None` where none of them governs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// At the source.
    pub egress: Option<Said>,
    /// At the destination.
    pub ingress: Option<Said>,
    /// What the engine says of the destination, where the packet never got to its node.
    pub foreseen: Option<Foreseen>,
}

/// What would become of a packet at the end that it never got to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Whether it would pass.
    pub verdict: Verdict,
    /// The rule that would decide, if one does.
    pub rule: Option<RuleRef>,
    /// The policies that would govern it.
    pub isolating: Vec<ObjectRef>,
}

/// What would become of a packet at one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it would pass.
    pub verdict: Verdict,
    /// What would decide it.
    pub by: Option<Meaning>,
}

impl Tried {
    /// Whether every end would let it pass.
    #[must_use]
    pub fn passes(&self) -> bool {
        let said = [&self.egress, &self.ingress].into_iter().flatten().map(|said| said.verdict);
        said.chain(self.foreseen.iter().map(|foreseen| foreseen.verdict)).all(|verdict| verdict == Verdict::Allow)
    }
}

/// Packets that were dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// How many.
    pub packets: u64,
    /// When the first and the last were dropped.
    pub times: (SystemTime, SystemTime),
    /// The last of them, with what dropped it.
    pub last: Denial,
    /// What had let the last of them pass before.
    pub passed: Passed,
    /// What would have become of it.
    pub tried: Option<Tried>,
}

/// What is known of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Number of the last change; grows over all flows.
    pub changed: u64,
    /// The state of the cluster that `passed` belongs to.
    epoch: u64,
    /// What policies said last.
    passed: Passed,
    /// What those that are tried out said last.
    tried: Tried,
    /// What got through.
    pub allowed: Allowed,
    /// What did not.
    pub denied: Option<Denied>,
}

/// Recent flows, the longest unchanged of which are forgotten when there are too many.
#[derive(Debug)]
pub struct Flows {
    most: usize,
    flows: HashMap<FlowKey, Flow>,
    by_change: BTreeMap<u64, FlowKey>,
    changes: u64,
    forgotten: u64,
    /// Counts the states of the cluster.
    epoch: u64,
    /// What all nodes try out, and since when, if they do.
    trial: Option<(SystemTime, Index)>,
    /// The nodes that addresses of the cluster are on.
    homes: HashMap<IpAddr, Arc<str>>,
}

impl Default for Flows {
    fn default() -> Self {
        Self::keeping(MOST)
    }
}

impl Flows {
    /// At most so many flows.
    #[must_use]
    pub fn keeping(most: usize) -> Self {
        Self {
            most: most.max(1),
            flows: HashMap::new(),
            by_change: BTreeMap::new(),
            changes: 0,
            forgotten: 0,
            // A flow that was never opened belongs to none.
            epoch: 1,
            trial: None,
            homes: HashMap::new(),
        }
    }

    /// Learns that the cluster has changed, and which node the addresses of pods and nodes are on. What allowed a flow
    /// until now says nothing of its next connection.
    pub fn settle(&mut self, homes: impl IntoIterator<Item = (IpAddr, Arc<str>)>) {
        self.epoch += 1;
        self.homes = homes.into_iter().collect();
    }

    /// Learns which cluster all nodes try out, and since when, or that they do not. What was tried out before is
    /// forgotten when something else is.
    pub fn try_out(&mut self, trial: Option<(SystemTime, Index)>) {
        self.epoch += 1;
        self.trial = trial;
        if self.trial.is_some() {
            for flow in self.flows.values_mut() {
                flow.allowed.tried = None;
                flow.denied.iter_mut().for_each(|denied| denied.tried = None);
            }
        }
    }

    /// Takes down what a node says of a packet.
    pub fn record(&mut self, record: &Record) {
        match record {
            Record::Denied(denial) => self.denied(denial),
            Record::Passed(passage) => self.passed(passage),
            Record::Tried(trial) => self.tried(trial),
        }
    }

    fn denied(&mut self, denial: &Denial) {
        let now = denial.time.unwrap_or_else(SystemTime::now);
        let key = key(&denial.tuple);
        let by_policy = match denial.cause {
            Cause::Policy { direction, .. } => {
                self.trial.as_ref().filter(|(since, _)| *since <= now).map(|_| direction)
            }
            _ => None,
        };
        let ends_elsewhere = self.homes.get(&key.destination).is_some_and(|home| *home != denial.node);
        let mut tried = by_policy.map(|_| self.change(key).tried.clone());
        if let (Some(tried), Some((_, index))) = (&mut tried, &self.trial)
            && by_policy == Some(Direction::Egress)
            && ends_elsewhere
            && tried.passes()
        {
            tried.foreseen = Some(foreseen(index, key, &denial.tuple));
        }
        let flow = self.change(key);
        let (packets, first) = flow.denied.as_ref().map_or((0, now), |d| (d.packets, d.times.0));
        let (last, passed) = (denial.clone(), flow.passed.clone());
        flow.denied = Some(Denied { packets: packets + 1, times: (first, now), last, passed, tried });
    }

    fn tried(&mut self, trial: &Trial) {
        if self.trial.as_ref().is_none_or(|(since, _)| trial.time.is_some_and(|time| time < *since)) {
            return;
        }
        let flow = self.change(key(&trial.tuple));
        let said = Some(Said { verdict: trial.verdict, by: trial.meaning.clone() });
        match trial.direction {
            Direction::Egress => flow.tried.egress = said,
            Direction::Ingress => flow.tried.ingress = said,
        }
        // As with what allowed it.
        if flow.allowed.epoch == flow.epoch && flow.allowed.tried.is_some() {
            flow.allowed.tried = Some(flow.tried.clone());
        }
    }

    fn passed(&mut self, passage: &Passage) {
        let flow = self.change(key(&passage.tuple));
        match passage.direction {
            Direction::Egress => flow.passed.egress.clone_from(&passage.meaning),
            Direction::Ingress => flow.passed.ingress.clone_from(&passage.meaning),
        }
        // The record may come after the connection that it speaks of.
        if flow.allowed.epoch == flow.epoch {
            flow.allowed.by.clone_from(&flow.passed);
        }
    }

    /// Takes down a connection, if the node is the last that could have denied it.
    pub fn opened(&mut self, opened: &Opened) {
        let Opened { node, source, destination, traffic, time } = opened;
        let last = self.homes.get(destination).or_else(|| self.homes.get(source));
        if last.is_some_and(|last| last != node) {
            return;
        }
        let key = FlowKey { source: *source, destination: *destination, traffic: *traffic };
        let trial = self.trial.is_some();
        let flow = self.change(key);
        let first = flow.allowed.times.map_or(*time, |(first, _)| first);
        flow.allowed = Allowed {
            connections: flow.allowed.connections + 1,
            times: Some((first, *time)),
            by: flow.passed.clone(),
            tried: trial.then(|| flow.tried.clone()),
            epoch: flow.epoch,
        };
    }

    /// The flow of a key, which becomes the last that changed.
    fn change(&mut self, key: FlowKey) -> &mut Flow {
        self.changes += 1;
        if !self.flows.contains_key(&key)
            && self.flows.len() >= self.most
            && let Some((_, oldest)) = self.by_change.pop_first()
        {
            self.flows.remove(&oldest);
            self.forgotten += 1;
        }
        let flow = self.flows.entry(key).or_default();
        self.by_change.remove(&flow.changed);
        flow.changed = self.changes;
        if flow.epoch != self.epoch {
            flow.epoch = self.epoch;
            (flow.passed, flow.tried) = (Passed::default(), Tried::default());
        }
        self.by_change.insert(self.changes, key);
        flow
    }

    /// The flows that changed after a change, in the order of their last changes.
    pub fn since(&self, change: u64) -> impl Iterator<Item = (&FlowKey, &Flow)> {
        self.by_change.range(change + 1..).filter_map(|(_, key)| self.flows.get_key_value(key))
    }

    /// How many flows were forgotten because there were too many.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// What the engine says of the destination of a packet.
fn foreseen(index: &Index, key: FlowKey, tuple: &PacketTuple) -> Foreseen {
    let mut asked = Asked::from(key.traffic);
    if let Transport::Ports { sport, .. } = tuple.transport {
        asked.source_port = sport;
    }
    let ingress = index.verdict(&index.address_side(key.source), &index.address_side(key.destination), asked).ingress;
    Foreseen { verdict: ingress.outcome.verdict, rule: ingress.decided_by(), isolating: ingress.isolating() }
}

fn key(tuple: &PacketTuple) -> FlowKey {
    let detail = match tuple.transport {
        Transport::Ports { dport, .. } => dport,
        Transport::Icmp { kind, code, .. } => u16::from_be_bytes([kind, code]),
        Transport::None => 0,
    };
    let traffic = Traffic { protocol: IpProtocol(tuple.proto), detail };
    FlowKey { source: tuple.src, destination: tuple.dst, traffic }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::Protocol;
    use tortie_plan::PathId;

    const A: [u8; 4] = [10, 0, 1, 1];
    const B: [u8; 4] = [10, 0, 2, 1];

    fn opened(node: &str, port: u16) -> Opened {
        Opened {
            node: node.into(),
            source: A.into(),
            destination: B.into(),
            traffic: Traffic::port(Protocol::Tcp, port),
            time: SystemTime::UNIX_EPOCH,
        }
    }

    fn denied(port: u16) -> Record {
        let transport = Transport::Ports { sport: 1000, dport: port };
        let tuple = PacketTuple { src: A.into(), dst: B.into(), proto: 6, transport };
        Record::Denied(Denial { node: "there".into(), tuple, cause: Cause::Revoked, time: None })
    }

    fn counts(flows: &Flows) -> Vec<(u16, u64, u64)> {
        let count = |(key, flow): (&FlowKey, &Flow)| {
            (key.traffic.detail, flow.allowed.connections, flow.denied.as_ref().map_or(0, |d| d.packets))
        };
        flows.since(0).map(count).collect()
    }

    #[test]
    fn a_connection_counts_once_where_it_arrives() {
        let mut flows = Flows::default();
        flows.settle([(A.into(), "here".into()), (B.into(), "there".into())]);
        flows.opened(&opened("here", 80));
        assert_eq!(counts(&flows), []);
        flows.opened(&opened("there", 80));
        flows.record(&denied(80));
        flows.record(&denied(81));
        assert_eq!(counts(&flows), [(80, 1, 1), (81, 0, 1)]);
        flows.settle([(A.into(), "here".into())]);
        flows.opened(&opened("here", 443));
        assert_eq!(counts(&flows).last(), Some(&(443, 1, 0)), "to the outside it counts where it leaves");
    }

    fn tried(verdict: Verdict, direction: Direction) -> Record {
        let Record::Denied(Denial { node, tuple, .. }) = denied(80) else { unreachable!("it is denied") };
        Record::Tried(Trial { node, tuple, direction, verdict, path: PathId(1), meaning: None, time: None })
    }

    #[test]
    fn what_would_become_of_a_flow_is_told_while_policies_are_tried_out() {
        let mut flows = Flows::default();
        flows.settle([(A.into(), "here".into()), (B.into(), "there".into())]);
        let by_policy = |direction, node: &str| {
            let Record::Denied(denial) = denied(80) else { unreachable!("it is denied") };
            let cause = Cause::Policy { direction, path: PathId(1), meaning: None };
            Record::Denied(Denial { cause, node: node.into(), ..denial })
        };
        let told = |flows: &Flows| {
            let flow = flows.since(0).next().expect("a flow").1.clone();
            let denied = flow.denied.and_then(|d| d.tried).map(|t| (t.passes(), t.foreseen.is_some()));
            (flow.allowed.tried.map(|t| t.passes()), denied)
        };
        // Nothing is tried out: records of an ended trial are late.
        flows.record(&tried(Verdict::Deny, Direction::Ingress));
        assert_eq!(flows.since(0).count(), 0);
        flows.opened(&opened("there", 80));
        flows.record(&by_policy(Direction::Egress, "here"));
        assert_eq!(told(&flows), (None, None));
        // No record says that no policy governs it.
        flows.try_out(Some((SystemTime::now(), Index::default())));
        flows.opened(&opened("there", 80));
        assert_eq!(told(&flows), (Some(true), None));
        // The record comes after the connection.
        flows.record(&tried(Verdict::Allow, Direction::Egress));
        flows.record(&tried(Verdict::Deny, Direction::Ingress));
        assert_eq!(told(&flows), (Some(false), None));
        flows.record(&by_policy(Direction::Ingress, "there"));
        assert_eq!(told(&flows), (Some(false), Some((false, false))));
        // Another trial: what the last one said is no part of it.
        flows.try_out(Some((SystemTime::now(), Index::default())));
        flows.record(&by_policy(Direction::Egress, "here"));
        assert_eq!(told(&flows), (None, Some((true, true))), "the destination was not reached");
        flows.record(&denied(80));
        assert_eq!(told(&flows).1, None, "it is not policy that denies it");
        // What went on before all nodes tried out the same is not judged.
        flows.try_out(Some((SystemTime::now() + std::time::Duration::from_secs(60), Index::default())));
        flows.record(&by_policy(Direction::Egress, "here"));
        assert_eq!(told(&flows).1, None);
        // When a trial ends, what it said is still told.
        flows.try_out(Some((SystemTime::UNIX_EPOCH, Index::default())));
        flows.opened(&opened("there", 80));
        flows.try_out(None);
        assert_eq!(told(&flows).0, Some(true));
    }

    #[test]
    fn what_has_not_changed_for_longest_is_forgotten_first() {
        let mut flows = Flows::keeping(2);
        for port in [1, 2, 1, 3] {
            flows.record(&denied(port));
        }
        assert_eq!(counts(&flows), [(1, 0, 2), (3, 0, 1)]);
        assert_eq!(flows.forgotten(), 1);
        let last = flows.since(0).map(|(_, f)| f.changed).max().unwrap_or_default();
        assert_eq!(flows.since(last).count(), 0);
        flows.record(&denied(1));
        assert_eq!(flows.since(last).count(), 1);
    }
}
