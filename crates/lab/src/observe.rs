//! Sends the packets of questions, and tells what became of them: evidence, not silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tortie_analysis::observation::Kernel;
use tortie_analysis::question::Question;
use tortie_manifest::case::{Endpoint, Probe as Asked};
use tortie_node::{Cause, Denial};
use tortie_policy::PodKey;

use crate::cluster::{Cluster, ClusterError};
use crate::pod::Place;
use crate::probe::{Outcome, Prepared, Probe, ProbeSpec};
use crate::resolver;

/// So many sockets are open at once, well below what an ordinary user may open.
const AT_ONCE: usize = 192;

/// What became of a question's packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The answer.
    pub kernel: Kernel,
    /// In words: who answered, or what dropped it.
    pub detail: String,
    /// Milliseconds until the answer or the drop was seen.
    pub ms: Option<f64>,
    /// The drop, when one was seen.
    pub denial: Option<Denial>,
}

impl Cluster {
    /// Sends the packets of all questions, many at a time, and waits for what becomes of them. Those that are sent from
    /// the same port of an address, whose drops could not be told apart, are sent one after the other.
    ///
    /// # Errors
    /// When the lab itself fails. A packet that is lost is no error here, but what the sighting says.
    pub fn observe(&mut self, questions: &[&Question]) -> Result<Vec<Sighting>, ClusterError> {
        let mut sightings: Vec<Option<Sighting>> = questions.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..questions.len()).collect();
        while !left.is_empty() {
            let now = at_once(questions, &mut left);
            let found = self.observe_some(&now.iter().map(|n| questions[*n]).collect::<Vec<_>>())?;
            now.into_iter().zip(found).for_each(|(n, sighting)| sightings[n] = Some(sighting));
        }
        Ok(sightings.into_iter().map(|s| s.expect("every question was asked")).collect())
    }

    fn observe_some(&mut self, questions: &[&Question]) -> Result<Vec<Sighting>, ClusterError> {
        let mut by_sender: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (n, question) in questions.iter().enumerate() {
            self.make_answer(question)?;
            by_sender.entry(self.sender(question)).or_default().push(n);
        }
        let mut prepared: Vec<(usize, Prepared)> = Vec::with_capacity(questions.len());
        for (place, asked) in by_sender {
            let specs = asked.iter().map(|n| self.spec(questions[*n])).collect();
            let endpoint = self
                .topology
                .endpoint(&place)
                .ok_or_else(|| crate::LabError::Missing { kind: "sender", name: place.to_string() })?;
            prepared.extend(asked.into_iter().zip(self.prober.prepare(endpoint.netns, specs)?));
        }
        for (_, probe) in &prepared {
            self.witness.follow(probe.tuple(), probe.drop_notice());
        }
        let (order, prepared): (Vec<usize>, Vec<Prepared>) = prepared.into_iter().unzip();
        let runs = self.prober.launch(prepared);
        let mut sightings: Vec<Option<Sighting>> = questions.iter().map(|_| None).collect();
        for (n, run) in order.into_iter().zip(runs) {
            let tuple = run.tuple();
            let outcome = run.wait();
            let denial = self.witness.forget(tuple);
            sightings[n] = Some(sighting(questions[n], outcome, denial));
        }
        Ok(sightings.into_iter().map(|s| s.expect("every question was prepared")).collect())
    }

    fn sender(&self, question: &Question) -> Place {
        match &question.from {
            Endpoint::Pod { namespace, name } | Endpoint::Service { namespace, name } => Place::pod(namespace, name),
            Endpoint::Node(name) => Place::Node(name.to_string()),
            Endpoint::Outside(name) => Place::Outside(name.to_string()),
            Endpoint::Address(ip) => self.topology.owner(*ip).cloned().unwrap_or(Place::Outside(ip.to_string())),
        }
    }

    /// Nodes, and pods in their network, answer on some ports only; one that is asked for is added.
    fn make_answer(&self, question: &Question) -> Result<(), ClusterError> {
        let place = match &question.to {
            Some(Endpoint::Node(name)) => Place::Node(name.to_string()),
            Some(Endpoint::Pod { namespace, name }) => {
                let key = PodKey { namespace: namespace.clone(), name: name.clone() };
                if !self.staged().world.pods.get(&key).is_some_and(|p| p.host_network && p.ports.is_empty()) {
                    return Ok(());
                }
                Place::pod(namespace, name)
            }
            _ => return Ok(()),
        };
        if let Asked::Port(protocol, port) = &question.probe {
            self.topology.listen(&place, *protocol, *port)?;
        }
        Ok(())
    }

    fn spec(&self, question: &Question) -> ProbeSpec {
        let probe = match &question.probe {
            Asked::Ping => Probe::Ping,
            Asked::Port(protocol, _) | Asked::Named(protocol, _) => match protocol {
                tortie_model::Protocol::Tcp => Probe::Tcp(question.port),
                tortie_model::Protocol::Udp => Probe::Udp(question.port),
                tortie_model::Protocol::Sctp => Probe::Sctp(question.port),
            },
            Asked::Dns(name) => {
                let namespace = match &question.from {
                    Endpoint::Pod { namespace, .. } => &**namespace,
                    _ => "default",
                };
                Probe::Dns(resolver::candidates(name, &resolver::search_list(namespace, "cluster.local")))
            }
        };
        let expect = match question.answerers.as_slice() {
            [only] if !matches!(probe, Probe::Dns(_)) => Some(only.name.as_str()),
            _ => None,
        };
        ProbeSpec::new(question.source, question.destination, probe, expect).from_port(question.source_port)
    }
}

/// Takes questions that can be asked at the same time.
fn at_once(questions: &[&Question], left: &mut Vec<usize>) -> Vec<usize> {
    let (mut now, mut ports) = (Vec::new(), BTreeSet::new());
    left.retain(|n| {
        let question = questions[*n];
        let port = question.source_port.map(|port| (question.source, question.answerers[0].traffic.protocol, port));
        let take = now.len() < AT_ONCE && port.is_none_or(|port| ports.insert(port));
        if take {
            now.push(*n);
        }
        !take
    });
    now
}

fn sighting(question: &Question, outcome: Outcome, denial: Option<Denial>) -> Sighting {
    let ms = |after: Duration| Some((after.as_secs_f64() * 1e6).round() / 1e3);
    let lost = |why: &str, after| Sighting {
        kernel: Kernel::Lost { why: why.to_owned() },
        detail: why.to_owned(),
        ms: after,
        denial: denial.clone(),
    };
    match outcome {
        Outcome::Answered { by, after } if question.answerers.iter().any(|a| a.name == by) => {
            Sighting { kernel: Kernel::Allow, detail: format!("{by} answered"), ms: ms(after), denial: None }
        }
        Outcome::Answered { by, after } | Outcome::WrongName { by, after } => {
            let expected: Vec<_> = question.answerers.iter().map(|a| a.name.as_str()).collect();
            lost(&format!("{by} answered instead of {}", expected.join(" or ")), ms(after))
        }
        Outcome::Resolved { name, addresses, after } => {
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let detail = format!("{name} is {}", list.join(", "));
            Sighting { kernel: Kernel::Allow, detail, ms: ms(after), denial: None }
        }
        Outcome::NoSuchName { after } => lost("the cluster DNS answered that there is no such name", ms(after)),
        Outcome::Refused { after } => {
            lost("it got there, but nothing listens on that port (declare it, or no port at all)", ms(after))
        }
        Outcome::Unreachable { errno, after } => lost(&format!("unreachable: {errno}"), ms(after)),
        Outcome::Dropped { after } => {
            let cause = denial.as_ref().map(|d| (d.cause.clone(), describe(d)));
            match cause {
                Some((Cause::Policy { .. }, detail)) => {
                    Sighting { kernel: Kernel::Deny, detail, ms: ms(after), denial }
                }
                Some((_, detail)) => lost(&format!("dropped, but not by policy: {detail}"), ms(after)),
                None => lost("dropped by something that left no record", ms(after)),
            }
        }
        Outcome::Silent => lost("no answer within a second, and no drop was seen", None),
        Outcome::Failed { why } => lost(&format!("could not be sent: {why}"), None),
    }
}

/// What dropped a packet, in words.
#[must_use]
pub(crate) fn describe(denial: &Denial) -> String {
    format!("node {}: {}", denial.node, describe_cause(&denial.cause))
}

/// Why a packet was dropped, in words.
pub(crate) fn describe_cause(cause: &Cause) -> String {
    match cause {
        Cause::Policy { direction, meaning: Some(meaning), .. } => match meaning.path.rule() {
            Some(rule) => format!("{} {}[{}] denies it", rule.policy, rule.direction, rule.index),
            None => {
                let policies: Vec<_> = meaning.path.isolating.iter().map(ToString::to_string).collect();
                format!("{direction} is isolated by {}, and no rule allows it", policies.join(", "))
            }
        },
        Cause::Policy { direction, path, meaning: None } => format!("{direction} path {path}, no longer remembered"),
        Cause::Revoked => "its connection is not allowed any more".to_owned(),
        Cause::Spoofed => "the source address is not the pod's own".to_owned(),
        Cause::Unprogrammed => "an address of the node's pods that no pod has".to_owned(),
        Cause::Invalid => "connection tracking makes no sense of it".to_owned(),
        Cause::Inconsistent => "the node's tables contradict each other".to_owned(),
    }
}
