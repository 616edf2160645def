//! What policies leave open to pods that are not there.
//!
//! A selector opens a door to every pod that will ever carry its labels. For each end, each selector in the rules that
//! govern it is taken for all pods that it selects, and asked what *every* one of them could do, whatever its other
//! labels are. Policies that select no pod of the cluster are asked for the pods that they would select.
//!
//! Only the policies of the one end are asked: nothing is known of those of a pod that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_model::{Direction, IpProtocol, LabelSelector, Namespace, Operator, Requirement};
use tortie_policy::{
    Action, By, Detail, EndpointSelector, Expression, Index, Key, NamedPorts, Names, NamespaceMatch, Outcome, Peers,
    Policy, Ports, Position, Regions, Rule, Stack, Verdict,
};

use crate::connectivity::{Connectivity, Decision};
use crate::packets;
use crate::subject::Name;

/// Peers that are some pods of a kind and others not, of which each choice is tried.
const MOST_TRIED: usize = 4;

/// The label that every namespace has, with its name.
const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// Somebody who is in the cluster, or pods of a kind that may come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Anybody {
    /// A subject.
    Subject(Name),
    /// Every pod that this selects.
    Pods(EndpointSelector),
}

/// What one end leaves open to others.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The end whose policies were asked.
    pub who: Anybody,
    /// Whether packets are to it (ingress) or from it.
    pub direction: Direction,
    /// The other end.
    pub whom: Anybody,
    /// What passes.
    pub packets: Arc<Regions<bool>>,
    /// Ports that pass, too, where a pod that comes has them: by name, whatever their numbers.
    pub named: BTreeSet<(IpProtocol, Arc<str>)>,
    /// Whether a pod of the cluster stands for all pods at the other end: their selector asks for plain equality, and
    /// selects it. What they could do, it can do, so that nothing new is told here.
    pub is_told: bool,
}

/// All pods of all namespaces.
#[must_use]
pub const fn all_pods() -> EndpointSelector {
    EndpointSelector::pods(NamespaceMatch::Matching(LabelSelector::everything()), LabelSelector::everything())
}

/// What all ends of a cluster leave open to pods that are not there.
#[must_use]
pub fn exposure(connectivity: &Connectivity) -> Vec<Opening> {
    let mut out = Vec::new();
    let asker = Asker { connectivity, index: connectivity.index() };
    let mut known: BTreeMap<(usize, Direction), Openings> = BTreeMap::new();
    for (place, subject) in connectivity.subjects().iter().enumerate() {
        if !matches!(subject.name, Name::Workload(_)) {
            continue;
        }
        for direction in Direction::BOTH {
            let mut all = Openings::new();
            for class in connectivity.classes(place) {
                let key = (class as usize, direction);
                let opened = known.entry(key).or_insert_with(|| asker.of_class(class, direction));
                for (whom, passing) in opened.iter() {
                    all.entry(whom.clone()).or_default().add(passing);
                }
            }
            let who = Anybody::Subject(subject.name.clone());
            let opening = |(whom, passing): (EndpointSelector, Passing)| {
                let is_told = asker.is_here(&whom);
                let (packets, named) = (passing.set(), passing.named);
                Opening { who: who.clone(), direction, whom: Anybody::Pods(whom), packets, named, is_told }
            };
            out.extend(all.into_iter().map(opening));
        }
    }
    asker.of_policies_without_pods(&mut out);
    out
}

/// What passes to or from pods that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Passing {
    packets: Option<Arc<Regions<bool>>>,
    named: BTreeSet<(IpProtocol, Arc<str>)>,
}

impl Passing {
    fn new(packets: Regions<bool>, named: BTreeSet<(IpProtocol, Arc<str>)>) -> Self {
        Self { packets: Some(Arc::new(packets)), named }
    }

    fn set(&self) -> Arc<Regions<bool>> {
        self.packets.clone().unwrap_or_else(|| Arc::new(Regions::uniform(false)))
    }

    fn add(&mut self, other: &Self) {
        self.packets = Some(Arc::new(self.set().zip(&other.set(), |a, b| *a || *b)));
        self.named.extend(other.named.iter().cloned());
    }

    fn has_any(&self) -> bool {
        packets::any(&self.set()) || !self.named.is_empty()
    }
}

/// What passes, by the pods at the other end.
type Openings = BTreeMap<EndpointSelector, Passing>;

/// What governs packets to ends of a class from any pod whatever, and what it decides of what each of them may send.
pub(crate) fn from_any_pod(connectivity: &Connectivity, class: u32) -> Decision<'_> {
    let asker = Asker { connectivity, index: connectivity.index() };
    let stack = connectivity.stack_of(class, Direction::Ingress);
    let names = known(Some(connectivity.named_ports(class)));
    Decision { stack, outcomes: stack.map(|stack| asker.decided(stack, &all_pods(), names)) }
}

struct Asker<'c> {
    connectivity: &'c Connectivity,
    index: &'c Index,
}

impl Asker<'_> {
    /// What a class of ends leaves open.
    fn of_class(&self, class: u32, direction: Direction) -> Openings {
        let names = match direction {
            Direction::Egress => None,
            Direction::Ingress => Some(self.connectivity.named_ports(class)),
        };
        match self.connectivity.stack_of(class, direction) {
            Some(stack) => self.of_stack(stack, names),
            None => [(all_pods(), Passing::new(Regions::uniform(true), BTreeSet::new()))].into(),
        }
    }

    /// What a stack leaves open to each selector in its rules, and to all pods; less what all pods may do anyway.
    /// The named ports of the destination are not known when it is not there.
    fn of_stack(&self, stack: &Stack, names: Option<NamedPorts<'_>>) -> Openings {
        let passes = |whom: &EndpointSelector| {
            let decided = self.decided(stack, whom, known(names));
            let is_sure = names.is_none() && !self.unsure(stack, whom).any(|(_, rule)| rule.action == Action::Pass);
            let named = if is_sure { named(stack, &self.matched(stack, whom)) } else { BTreeSet::new() };
            Passing::new(decided.map(|o| o.verdict == Verdict::Allow), named)
        };
        let everybody = passes(&all_pods());
        let mut out = Openings::new();
        for whom in stack.rules().flat_map(|(_, rule)| selectors(rule)).collect::<BTreeSet<_>>() {
            let set = passes(&whom);
            if set != everybody && set.has_any() && is_possible(&whom) {
                out.insert(whom, set);
            }
        }
        if everybody.has_any() {
            out.insert(all_pods(), everybody);
        }
        out
    }

    /// What a stack decides of what all these pods send, or are sent. Where a rule that denies or passes on speaks of some
    /// of them and not of others, both are tried, with all rules of the same peers, and what denies one denies all; of more
    /// such peers than a few, what their rules speak of is denied.
    fn decided(&self, stack: &Stack, whom: &EndpointSelector, names: Names<'_>) -> Regions<Outcome> {
        let unsure: Vec<(Position, &Rule)> = self.unsure(stack, whom).collect();
        let mut peers: Vec<&Peers> = Vec::new();
        for (_, rule) in &unsure {
            if !peers.contains(&&rule.peers) {
                peers.push(&rule.peers);
            }
        }
        let (tried, rest) = peers.split_at(peers.len().min(MOST_TRIED));
        let is_left = |rule: &Rule| rest.contains(&&rule.peers);
        let denying = unsure.iter().filter(|(_, rule)| rule.action == Action::Deny && is_left(rule));
        let mut always = self.matched(stack, whom);
        always.extend(denying.map(|(position, _)| *position));
        let choices = (0_u32..1 << tried.len()).map(|choice| {
            let is_chosen = |rule: &Rule| tried.iter().zip(0..).any(|(p, i)| choice >> i & 1 == 1 && **p == rule.peers);
            let chosen = stack.rules().filter(|(_, rule)| is_chosen(rule)).map(|(position, _)| position);
            let mut matched: Vec<Position> = always.iter().copied().chain(chosen).collect();
            matched.sort_unstable();
            matched.dedup();
            stack.resolve(&matched, names)
        });
        let either = |one: Regions<Outcome>, other: Regions<Outcome>| {
            one.zip(&other, |one, other| if one.verdict == Verdict::Allow { other } else { one }.clone())
        };
        let all = choices.reduce(either).expect("there is one choice at least");
        let passing = unsure.iter().filter(|(_, rule)| rule.action == Action::Pass && is_left(rule));
        passing.fold(all, |all, (position, rule)| {
            let denied = || Outcome { verdict: Verdict::Deny, by: By::Rule(*position), passed: Vec::new() };
            all.zip(&packets_of(&rule.ports, names.destination), |one, is_unsure| match is_unsure {
                true => denied(),
                false => one.clone(),
            })
        })
    }

    /// The rules that speak of all these pods.
    fn matched(&self, stack: &Stack, whom: &EndpointSelector) -> Vec<Position> {
        stack.rules().filter(|(_, rule)| self.concerns(rule, whom)).map(|(position, _)| position).collect()
    }

    /// Rules that deny or pass on, and speak of some of these pods and maybe not of others.
    fn unsure<'s>(&self, stack: &'s Stack, whom: &EndpointSelector) -> impl Iterator<Item = (Position, &'s Rule)> {
        stack.rules().filter(|(_, rule)| {
            matches!(rule.action, Action::Deny | Action::Pass)
                && !self.concerns(rule, whom)
                && self.may_concern(rule, whom)
        })
    }

    /// Whether a rule speaks of all these pods.
    fn concerns(&self, rule: &Rule, whom: &EndpointSelector) -> bool {
        let Peers::OneOf(peers) = &rule.peers else { return true };
        peers.iter().any(|peer| {
            // Nobody knows the address of a pod that is not there, nor whether it would be left out.
            let is_sure = peer.blocks.is_none()
                && peer.family.is_none()
                && peer.not_endpoints.is_none()
                && peer.not_blocks.is_empty();
            is_sure && peer.endpoints.as_ref().is_none_or(|meant| self.implies(whom, meant))
        })
    }

    /// Whether a rule may speak of some of these pods.
    fn may_concern(&self, rule: &Rule, whom: &EndpointSelector) -> bool {
        let Peers::OneOf(peers) = &rule.peers else { return true };
        peers.iter().any(|peer| peer.endpoints.as_ref().is_none_or(|meant| self.may_meet(whom, meant)))
    }

    /// Whether every pod that one selector selects is selected by another.
    fn implies(&self, one: &EndpointSelector, other: &EndpointSelector) -> bool {
        let there = match (&one.namespaces, &other.namespaces) {
            (NamespaceMatch::Named(a), NamespaceMatch::Named(b)) => a == b,
            (NamespaceMatch::Named(name), NamespaceMatch::Matching(labels)) => {
                let unknown = || Arc::new(Namespace::new(name, &tortie_model::Labels::default()));
                let namespace = self.index.namespace(name).cloned().unwrap_or_else(unknown);
                labels.matches(namespace.labels())
            }
            (NamespaceMatch::Matching(a), NamespaceMatch::Named(name)) => implies(a, &by_name(name)),
            (NamespaceMatch::Matching(a), NamespaceMatch::Matching(b)) => {
                implies(a, b) || self.home(&one.namespaces).is_some_and(|namespace| b.matches(namespace.labels()))
            }
        };
        let expression = other.expression.as_deref().is_none_or(holds_for_pods) || one.expression == other.expression;
        there && expression && implies(&one.pods, &other.pods)
    }

    /// The only namespace that is meant, where it is there: its labels are known.
    fn home(&self, namespaces: &NamespaceMatch) -> Option<&Arc<Namespace>> {
        let name = match namespaces {
            NamespaceMatch::Named(name) => name,
            NamespaceMatch::Matching(labels) => {
                let by_name = |r: &&Requirement| *r.key == *METADATA_NAME && r.operator == Operator::In;
                let [only] = &labels.requirements().iter().find(by_name)?.values[..] else { return None };
                only
            }
        };
        self.index.namespace(name)
    }

    /// Whether some pod may be selected by both.
    fn may_meet(&self, one: &EndpointSelector, other: &EndpointSelector) -> bool {
        let admits = |namespaces: &NamespaceMatch, there: &Namespace| match namespaces {
            NamespaceMatch::Named(name) => name == there.name(),
            NamespaceMatch::Matching(labels) => labels.matches(there.labels()),
        };
        let homes = [one, other].map(|selector| self.home(&selector.namespaces));
        let admitted = |there: &Arc<Namespace>| [one, other].iter().all(|s| admits(&s.namespaces, there));
        if !homes.into_iter().flatten().all(admitted) {
            return false;
        }
        let labels = |namespaces: &NamespaceMatch| match namespaces {
            NamespaceMatch::Named(name) => by_name(name),
            NamespaceMatch::Matching(labels) => labels.clone(),
        };
        let both = |a: &LabelSelector, b: &LabelSelector| {
            LabelSelector::new(a.requirements().iter().chain(b.requirements()).cloned())
        };
        can_be_met(&both(&labels(&one.namespaces), &labels(&other.namespaces)))
            && can_be_met(&both(&one.pods, &other.pods))
    }

    /// Whether a pod of the cluster stands for all that a selector selects: one that it selects by plain equality.
    fn is_here(&self, whom: &EndpointSelector) -> bool {
        let plain = |labels: &LabelSelector| {
            labels.requirements().iter().all(|r| r.operator == Operator::In && r.values.len() == 1)
        };
        let namespaces = match &whom.namespaces {
            NamespaceMatch::Named(_) => true,
            NamespaceMatch::Matching(labels) => plain(labels),
        };
        whom.expression.is_none()
            && *whom != all_pods()
            && namespaces
            && plain(&whom.pods)
            && self.connectivity.selects_somebody(whom)
    }

    /// What policies that select no pod would leave open, if there were one.
    fn of_policies_without_pods(&self, out: &mut Vec<Opening>) {
        let employed = self.connectivity.employed();
        let idle = |policy: &&Arc<Policy>| !employed.contains(&policy.object) && is_possible(&policy.subject);
        let subjects: BTreeSet<&EndpointSelector> =
            self.index.policies().filter(idle).map(|policy| &policy.subject).collect();
        for who in subjects {
            let governing: Vec<_> = self.index.policies().filter(|p| self.implies(who, &p.subject)).collect();
            for direction in Direction::BOTH {
                let stack = self.index.stack_of(None, direction, governing.iter().copied());
                if stack.is_empty() {
                    continue;
                }
                let opening = |(whom, passing): (Anybody, Passing)| {
                    let (packets, named) = (passing.set(), passing.named);
                    Opening { who: Anybody::Pods(who.clone()), direction, whom, packets, named, is_told: false }
                };
                let to_pods = self.of_stack(&stack, None);
                out.extend(to_pods.into_iter().map(|(whom, set)| opening((Anybody::Pods(whom), set))));
                out.extend(
                    self.of_subjects(&stack).into_iter().map(|(name, set)| opening((Anybody::Subject(name), set))),
                );
            }
        }
    }

    /// What a stack leaves open to those who are in the cluster, and to the world.
    fn of_subjects(&self, stack: &Stack) -> Vec<(Name, Passing)> {
        let mut out = Vec::new();
        for (place, subject) in self.connectivity.subjects().iter().enumerate() {
            let mut all = Passing::default();
            for class in self.connectivity.classes(place) {
                let names = match stack.direction() {
                    Direction::Egress => Some(self.connectivity.named_ports(class)),
                    Direction::Ingress => None,
                };
                all.add(&passing(stack, &stack.matched(self.connectivity.side(class)), names));
            }
            if all.has_any() {
                out.push((subject.name.clone(), all));
            }
        }
        out
    }
}

/// Names of the ports of a destination, as far as it is known.
fn known(names: Option<NamedPorts<'_>>) -> Names<'_> {
    Names { source: NamedPorts::NONE, destination: names.unwrap_or(NamedPorts::NONE) }
}

/// What a stack lets pass where these rules match; with the ports that rules name, where nobody knows their numbers.
fn passing(stack: &Stack, matched: &[Position], names: Option<NamedPorts<'_>>) -> Passing {
    let packets = stack.resolve(matched, known(names)).map(|o| o.verdict == Verdict::Allow);
    Passing::new(packets, if names.is_none() { named(stack, matched) } else { BTreeSet::new() })
}

/// The ports that rules which match allow by name.
fn named(stack: &Stack, matched: &[Position]) -> BTreeSet<(IpProtocol, Arc<str>)> {
    let rules = stack
        .rules()
        .filter(|(position, rule)| rule.action == Action::Allow && matched.binary_search(position).is_ok());
    let ports = rules.flat_map(|(_, rule)| rule.ports.listed());
    let named = ports.filter_map(|port| match &port.detail {
        Detail::Named(name) | Detail::EveryNamed(name) => Some((port.protocol, name.clone())),
        Detail::All | Detail::Range(..) => None,
    });
    named.collect()
}

/// The packets that ports match.
fn packets_of(ports: &Ports, names: NamedPorts<'_>) -> Regions<bool> {
    let Ports::OneOf(ports) = ports else { return Regions::uniform(true) };
    ports.iter().flat_map(|port| port.ranges(names)).fold(Regions::uniform(false), |all, (protocol, range)| {
        all.zip(&packets::only(protocol, range), |a, b| *a || *b)
    })
}

/// The selectors of pods in a rule, without what they ask of others than pods.
fn selectors(rule: &Rule) -> impl Iterator<Item = EndpointSelector> {
    let peers = match &rule.peers {
        Peers::Any => &[][..],
        Peers::OneOf(peers) => peers,
    };
    peers.iter().filter_map(|peer| peer.endpoints.as_ref()).map(|meant| {
        let expression = meant.expression.as_ref().filter(|expression| !holds_for_pods(expression));
        EndpointSelector { expression: expression.cloned(), ..meant.clone() }
    })
}

/// Whether an expression says nothing of pods: each of them is in a namespace.
const fn holds_for_pods(expression: &Expression) -> bool {
    matches!(expression, Expression::True | Expression::Has(Key::NamespaceName))
}

fn by_name(name: &Arc<str>) -> LabelSelector {
    LabelSelector::match_labels([(METADATA_NAME, &**name)])
}

/// Whether labels that meet one selector always meet another. Requirements on different keys say nothing of each other.
fn implies(one: &LabelSelector, other: &LabelSelector) -> bool {
    other.requirements().iter().all(|wanted| {
        let own = || one.requirements().iter().filter(|r| r.key == wanted.key);
        values(own().chain([wanted])).all(|value| !own().all(|r| r.admits(value)) || wanted.admits(value))
    })
}

/// Whether some labels meet a selector.
fn can_be_met(selector: &LabelSelector) -> bool {
    let keys: BTreeSet<_> = selector.requirements().iter().map(|r| &r.key).collect();
    keys.into_iter().all(|key| {
        let own = || selector.requirements().iter().filter(|r| r.key == *key);
        values(own()).any(|value| own().all(|r| r.admits(value)))
    })
}

/// Whether some pod can be selected.
fn is_possible(selector: &EndpointSelector) -> bool {
    let there = match &selector.namespaces {
        NamespaceMatch::Named(_) => true,
        NamespaceMatch::Matching(labels) => can_be_met(labels),
    };
    there && can_be_met(&selector.pods)
}

/// All values of a key that requirements can tell apart: none, each that is listed, and one that is not.
fn values<'r>(requirements: impl Iterator<Item = &'r Requirement>) -> impl Iterator<Item = Option<&'r str>> {
    /// No label can have this value.
    const UNLISTED: &str = "/";
    let listed = requirements.flat_map(|r| r.values.iter().map(|v| Some(&**v)));
    listed.chain([None, Some(UNLISTED)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(requirements: &[(&str, Operator, &[&str])]) -> LabelSelector {
        LabelSelector::new(requirements.iter().map(|(k, op, values)| Requirement::new(k, *op, values.iter().copied())))
    }

    #[test]
    fn what_implies_what() {
        use Operator::{DoesNotExist, Exists, In, NotIn};
        let web = selector(&[("app", In, &["web"])]);
        let either = selector(&[("app", In, &["web", "db"])]);
        let some = selector(&[("app", Exists, &[])]);
        let not_db = selector(&[("app", NotIn, &["db"])]);
        let none = selector(&[("app", DoesNotExist, &[])]);
        let all = LabelSelector::everything();
        for (one, other, expected) in [
            (&web, &either, true),
            (&either, &web, false),
            (&web, &some, true),
            (&web, &not_db, true),
            (&either, &not_db, false),
            (&none, &not_db, true),
            (&not_db, &none, false),
            (&some, &none, false),
            (&web, &all, true),
            (&all, &web, false),
            (&all, &not_db, false),
            (&all, &all, true),
        ] {
            assert_eq!(implies(one, other), expected, "{one} implies {other}");
        }
        assert!(!can_be_met(&selector(&[("app", In, &["web"]), ("app", DoesNotExist, &[])])));
        assert!(can_be_met(&selector(&[("app", NotIn, &["web"]), ("app", Exists, &[])])));
    }
}
