//! A recorded connection, whoever recorded it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tortie_model::Traffic;

/// One end as a record names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Who it was.
    pub who: Option<Who>,
    /// The address that it had.
    pub address: Option<IpAddr>,
}

/// Whom a record names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// A pod.
    Pod {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Pods whose names begin alike: those of one ReplicaSet, for instance.
    Pods {
        /// Namespace.
        namespace: String,
        /// What their names begin with.
        prefix: String,
    },
    /// A workload.
    Workload {
        /// Namespace.
        namespace: String,
        /// Kind, where it is known.
        kind: Option<String>,
        /// Name.
        name: String,
    },
    /// A node.
    Node(String),
    /// Somebody of whom only a name is known.
    Other(String),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.who, self.address) {
            (Some(Who::Pod { namespace, name }), _) => write!(f, "{namespace}/{name}"),
            (Some(Who::Pods { namespace, prefix }), _) => write!(f, "{namespace}/{prefix}*"),
            (Some(Who::Workload { namespace, kind: Some(kind), name }), _) => write!(f, "{namespace}/{kind}/{name}"),
            (Some(Who::Workload { namespace, kind: None, name }), _) => write!(f, "{namespace}/{name}"),
            (Some(Who::Node(name)), _) => write!(f, "node/{name}"),
            (Some(Who::Other(name)), None) => f.write_str(name),
            (_, Some(address)) => write!(f, "{address}"),
            (None, None) => f.write_str("nobody"),
        }
    }
}

impl Endpoint {
    /// An address, whosever it was.
    #[must_use]
    pub const fn address(address: IpAddr) -> Self {
        Self { who: None, address: Some(address) }
    }
}

/// Where a connection was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// At the source, after its egress policies.
    Source,
    /// At the destination, after its ingress policies.
    Destination,
    /// At the end of the way, or nobody says where.
    Whole,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who opened the connection.
    pub from: Endpoint,
    /// Who was reached, or was to be.
    pub to: Endpoint,
    /// Protocol and destination port.
    pub traffic: Traffic,
    /// Whether it was let through at that point.
    pub allowed: bool,
    /// Where it was seen.
    pub point: Point,
    /// How many connections the line stands for.
    pub count: u64,
}

/// The ends of connections that are the same to policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Who opened them.
    pub from: Endpoint,
    /// Who was reached.
    pub to: Endpoint,
    /// Protocol and destination port.
    pub traffic: Traffic,
}

/// What was seen of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first line that tells of it, from 1.
    pub line: usize,
    /// Connections by point: let through, and not.
    counts: BTreeMap<Point, [u64; 2]>,
}

impl Seen {
    fn add(&mut self, record: &Record) {
        self.counts.entry(record.point).or_default()[usize::from(!record.allowed)] += record.count;
    }

    /// Connections that got through. One that was seen at both ends counts once, and the destination has the last word.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        let at = |point| self.counts.get(&point);
        let whole = at(Point::Whole).map_or(0, |c| c[0]);
        whole + at(Point::Destination).or_else(|| at(Point::Source)).map_or(0, |c| c[0])
    }

    /// Connections that did not.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.counts.values().map(|c| c[1]).sum()
    }
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// What recorders tell besides connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Passed {
    /// Packets that answer others.
    Replies,
    /// Packets of which it is not known whether they answer.
    Directionless,
    /// Packets before they were decided about, and before their addresses were translated.
    Undecided,
    /// Events that are about no connection.
    OtherEvents,
    /// What a host says to itself.
    Loopback,
    /// Connections that were tried, and of which it is not known whether they got through.
    Unanswered,
    /// Lines that repeat others.
    Repeated,
}

impl Passed {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replies => "replies",
            Self::Directionless => "packets that may be replies",
            Self::Undecided => "packets before they were decided about",
            Self::OtherEvents => "events that are no connections",
            Self::Loopback => "what a host said to itself",
            Self::Unanswered => "connections that nobody answered",
            Self::Repeated => "repeated lines",
        }
    }
}

/// Bad lines of which more than their number is kept.
const KEPT: usize = 50;

/// All that was read.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Flows, in order.
    pub flows: BTreeMap<Flow, Seen>,
    /// Lines that say something.
    pub lines: usize,
    /// The first of the lines that could not be read.
    pub bad: Vec<BadLine>,
    /// How many could not.
    pub bad_count: usize,
    /// What was passed over, and how often.
    pub passed: BTreeMap<Passed, usize>,
    /// Connections whose lines have been read, where a line stands for one of them.
    pub(crate) known: BTreeSet<(IpAddr, IpAddr, u8, u16, u16)>,
}

impl Recording {
    pub(crate) fn add(&mut self, line: usize, record: Record) {
        let loopback = |end: &Endpoint| end.address.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
        if loopback(&record.from) || loopback(&record.to) {
            return self.pass(Passed::Loopback);
        }
        let flow = Flow { from: record.from.clone(), to: record.to.clone(), traffic: record.traffic };
        let seen = self.flows.entry(flow).or_insert_with(|| Seen { line, counts: BTreeMap::new() });
        seen.add(&record);
    }

    pub(crate) fn pass(&mut self, what: Passed) {
        *self.passed.entry(what).or_default() += 1;
    }

    pub(crate) fn bad(&mut self, line: usize, why: String) {
        self.bad_count += 1;
        if self.bad.len() < KEPT {
            self.bad.push(BadLine { line, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_has_the_last_word() {
        let end = |n| Endpoint::address([10, 0, 0, n].into());
        let record = |point, allowed, count| Record {
            from: end(1),
            to: end(2),
            traffic: Traffic::other(47),
            allowed,
            point,
            count,
        };
        let count = |records: &[Record]| {
            let mut seen = Seen::default();
            records.iter().for_each(|r| seen.add(r));
            (seen.allowed(), seen.denied())
        };
        let (source, destination, whole) = (Point::Source, Point::Destination, Point::Whole);
        assert_eq!(count(&[record(source, true, 3)]), (3, 0));
        assert_eq!(count(&[record(source, true, 3), record(destination, true, 3)]), (3, 0));
        assert_eq!(count(&[record(source, true, 3), record(destination, false, 3)]), (0, 3));
        assert_eq!(count(&[record(source, false, 2), record(whole, true, 1)]), (1, 2));
    }
}
