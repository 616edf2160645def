//! What a change opens besides the flow that it is made for.

use std::borrow::Borrow;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tortie_model::{Direction, Family, Pod};
use tortie_policy::{Index, Outcome, Peers, PodKey, Policy, Regions, Rule, Scope, Side, Verdict};

use super::population::Population;

/// What a change opens and closes, counted in pods, without the pair that it is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Pairs of pods of which the first reaches the second on more than before.
    pub pairs: u64,
    /// Pods that addresses outside reach on more than before, or that reach more of them.
    pub outside: u64,
    /// Pairs of pods, or pods and addresses outside, that lose something.
    pub closed: u64,
    /// Ports that were opened, summed over all pairs, that of the flow included.
    pub width: u64,
    /// The same of each direction by itself: what the policies of the other end alone keep closed.
    pub latent: u64,
    /// Some of the pairs.
    pub examples: Vec<Example>,
}

/// A pair that a change opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// `namespace/name` of the pod, or an address.
    pub from: String,
    /// The same of the destination.
    pub to: String,
    /// What passes now, and did not.
    pub opened: Vec<Scope>,
}

/// How many examples are kept.
const EXAMPLES: usize = 3;

/// What a change touches.
#[derive(Default)]
pub(crate) struct Changed {
    /// Policies.
    pub(crate) policies: Vec<Rc<PolicyChange>>,
    /// Pods whose labels, or whose namespace's labels, are others.
    pub(crate) pods: BTreeSet<PodKey>,
}

/// A policy as it was and as it is.
#[derive(Debug)]
pub(crate) struct PolicyChange {
    old: Option<Arc<Policy>>,
    new: Arc<Policy>,
    /// The places of the rules that came, by direction.
    came: [Vec<usize>; 2],
    /// The classes that the rules speak of that came, by direction: looked up once, however often the change is tried
    /// with others.
    meant: [OnceCell<Vec<usize>>; 2],
}

impl PolicyChange {
    pub(crate) fn new(old: Option<Arc<Policy>>, new: Arc<Policy>) -> Self {
        let came = Direction::BOTH.map(|direction| {
            let before = old.as_ref().and_then(|old| old.rules(direction)).unwrap_or_default();
            let rules = new.rules(direction).into_iter().flatten().enumerate();
            rules.filter(|(_, rule)| !before.contains(rule)).map(|(n, _)| n).collect()
        });
        Self { old, new, came, meant: [const { OnceCell::new() }; 2] }
    }

    /// The policy as it is.
    pub(crate) const fn policy(&self) -> &Arc<Policy> {
        &self.new
    }

    /// Whether it governs a direction that it left alone: whom it governs is isolated.
    fn isolates(&self, direction: Direction) -> bool {
        let governs = |policy: &Policy| policy.rules(direction).is_some();
        governs(&self.new) && !self.old.as_deref().is_some_and(governs)
    }

    /// The rules that came.
    fn came(&self, direction: Direction) -> impl Iterator<Item = &Rule> {
        let rules = self.new.rules(direction).unwrap_or_default();
        self.came[at(direction)].iter().map(|n| &rules[*n])
    }

    /// Whether a rule that came speaks of one of these ends.
    fn means(&self, direction: Direction, mut sides: impl Iterator<Item = impl Borrow<Side>>) -> bool {
        sides.any(|side| self.came(direction).any(|rule| rule.peers.matches(side.borrow())))
    }

    /// The classes that the rules speak of that came.
    fn meant(&self, direction: Direction, population: &Population) -> &[usize] {
        self.meant[at(direction)].get_or_init(|| {
            let all = population.classes.iter().enumerate();
            all.filter(|(_, class)| self.means(direction, class.sides())).map(|(n, _)| n).collect()
        })
    }
}

/// The place of a direction in [`Direction::BOTH`].
fn at(direction: Direction) -> usize {
    usize::from(direction == Direction::BOTH[1])
}

/// What passes egress and ingress between two ends, in a family; `None` where an end has no address of it.
type Passing = Option<Regions<[bool; 2]>>;

/// What passed before a change, kept for the next one.
pub(crate) type Before = RefCell<HashMap<(End, End, Family), Rc<Passing>>>;

/// Two states of a cluster.
pub(crate) struct Measure<'a> {
    pub(crate) before: &'a Index,
    pub(crate) passed: &'a Before,
    pub(crate) after: &'a Index,
    /// The ends of the flow that the change is made for.
    pub(crate) asked: [&'a Side; 2],
    /// What is closed, opened to outside, and opened by the best change so far: more is not looked at to its end.
    pub(crate) limit: Option<(u64, u64, u64)>,
}

/// An end: a class of pods, or an address outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Class(usize),
    Outside(IpAddr),
}

impl Measure<'_> {
    /// What a change opens; `None` when it is more than the limit.
    pub(crate) fn opening(&self, population: &Population, changed: &Changed) -> Option<Opening> {
        let population = &*population.apart(self.before, &changed.pods);
        // Pods of which labels change are in classes of their own, that have other numbers the next time.
        let passed = changed.pods.is_empty().then_some(self.passed);
        let mut tally = Tally { measure: self, population, passed, seen: HashSet::new(), found: Opening::default() };
        let outside = self.outside(changed);
        let everywhere: Vec<usize> = (0..population.classes.len()).collect();
        let all = || everywhere.iter().copied().map(End::Class).chain(outside.iter().copied());
        for class in changed.pods.iter().filter_map(|key| population.class_of(key)).collect::<BTreeSet<_>>() {
            for other in all() {
                tally.pair(End::Class(class), other)?;
                tally.pair(other, End::Class(class))?;
            }
        }
        for change in &changed.policies {
            let new = &change.new;
            for direction in Direction::BOTH {
                if !change.isolates(direction) && change.came(direction).next().is_none() {
                    continue;
                }
                let here = match &new.object.namespace {
                    Some(namespace) => population.within(namespace),
                    None => &everywhere,
                };
                for class in here.iter().copied() {
                    let pod = &*population.classes[class].pod;
                    if !self.governs(change.old.as_deref(), pod) && !self.governs(Some(new), pod) {
                        continue;
                    }
                    let mut pair = |other| match direction {
                        Direction::Egress => tally.pair(End::Class(class), other),
                        Direction::Ingress => tally.pair(other, End::Class(class)),
                    };
                    if change.isolates(direction) && !self.is_isolated(pod, new, direction) {
                        all().try_for_each(&mut pair)?;
                    } else if changed.pods.is_empty() {
                        let meant = change.meant(direction, population).iter().copied().map(End::Class);
                        let outside =
                            outside.iter().copied().filter(|end| self.is_meant(change, direction, *end, population));
                        meant.chain(outside).try_for_each(&mut pair)?;
                    } else {
                        let mut meant = all().filter(|end| self.is_meant(change, direction, *end, population));
                        meant.try_for_each(&mut pair)?;
                    }
                }
            }
        }
        Some(tally.found)
    }

    fn governs(&self, policy: Option<&Policy>, pod: &Pod) -> bool {
        let namespace = self.before.namespace(&pod.meta.namespace);
        policy.zip(namespace).is_some_and(|(policy, namespace)| policy.subject.selects(pod, namespace))
    }

    /// Whether another policy of the tier governs a pod already: one more adds its rules alone.
    fn is_isolated(&self, pod: &Pod, new: &Policy, direction: Direction) -> bool {
        self.before.stack(pod, direction).tiers().iter().any(|tier| tier.name == new.tier)
    }

    /// Whether a rule that came speaks of an end, as it is afterwards.
    fn is_meant(&self, change: &PolicyChange, direction: Direction, end: End, population: &Population) -> bool {
        let sides = Family::ALL.into_iter().filter_map(|family| side(self.after, end, population, family));
        change.means(direction, sides)
    }

    /// Addresses that stand for the world outside: one of nobody, and one of each block of the policies.
    fn outside(&self, changed: &Changed) -> Vec<End> {
        let anywhere = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address"));
        let rules = changed.policies.iter().map(|change| &change.new);
        let rules = rules.flat_map(|p| p.ingress.iter().chain(&p.egress).flatten());
        let peers = rules.filter_map(|r| match &r.peers {
            Peers::Any => None,
            Peers::OneOf(peers) => Some(peers),
        });
        let blocks = peers.flatten().filter_map(|p| p.blocks.as_ref()).flatten();
        let of_blocks = blocks.map(|b| b.cidr().network());
        let nobodys = |ip: &IpAddr| {
            let side = self.before.address_side(*ip);
            side.pod().is_none() && side.node().is_none()
        };
        let all: BTreeSet<IpAddr> = anywhere.into_iter().chain(of_blocks).filter(nobodys).collect();
        all.into_iter().map(End::Outside).collect()
    }
}

/// An end in a state of the cluster; `None` when it has no address of the family.
fn side(index: &Index, end: End, population: &Population, family: Family) -> Option<Side> {
    match end {
        End::Class(class) => index.pod_side(index.pod(&population.classes[class].key)?, Some(family)),
        End::Outside(ip) => (Family::of(ip) == family).then(|| index.address_side(ip)),
    }
}

struct Tally<'m> {
    measure: &'m Measure<'m>,
    population: &'m Population,
    passed: Option<&'m Before>,
    seen: HashSet<(End, End)>,
    found: Opening,
}

impl Tally<'_> {
    /// Counts a pair, once; `None` when what was counted is more than the limit.
    fn pair(&mut self, from: End, to: End) -> Option<()> {
        if !self.seen.insert((from, to)) {
            return Some(());
        }
        self.count(from, to);
        let Opening { closed, outside, pairs, .. } = self.found;
        self.measure.limit.is_none_or(|limit| (closed, outside, pairs) <= limit).then_some(())
    }

    fn count(&mut self, from: End, to: End) {
        let mut opened: Vec<Scope> = Vec::new();
        let (mut closed, mut latent) = (false, 0);
        // What has no address is the same in both families.
        let is_addressless = [from, to].into_iter().all(|end| self.is_addressless(end));
        let (families, times) = if is_addressless { (&Family::ALL[..1], 2) } else { (&Family::ALL[..], 1) };
        for family in families.iter().copied() {
            let passing = |index: &Index| -> Passing {
                let from = side(index, from, self.population, family)?;
                let to = side(index, to, self.population, family)?;
                let passes = |outcome: &Outcome| outcome.verdict == Verdict::Allow;
                Some(index.pair(&from, &to).regions.map(|(egress, ingress)| [passes(egress), passes(ingress)]))
            };
            let before = || Rc::new(passing(self.measure.before));
            let before = match self.passed {
                Some(passed) => passed.borrow_mut().entry((from, to, family)).or_insert_with(before).clone(),
                None => before(),
            };
            let Some((before, after)) = (*before).as_ref().zip(passing(self.measure.after)) else { continue };
            if *before == after {
                continue;
            }
            let change = before.zip(&after, |before, after| (*before, *after));
            for (scope, (before, after)) in change.iter() {
                let halves = before.iter().zip(after).filter(|(before, after)| !**before && **after).count();
                latent += width(&scope) * halves as u64 * times;
                let through = |halves: &[bool; 2]| *halves == [true; 2];
                closed |= through(before) && !through(after);
                if !through(before) && through(after) && !opened.contains(&scope) {
                    opened.push(scope);
                }
            }
        }
        let asked = self.is_asked(from, to);
        let pairs = self.pairs(from, to);
        self.found.latent = self.found.latent.saturating_add(pairs.saturating_mul(latent));
        let others = pairs.saturating_sub(u64::from(asked));
        if closed {
            self.found.closed += pairs;
        }
        if opened.is_empty() {
            return;
        }
        self.found.width = self.found.width.saturating_add(pairs.saturating_mul(opened.iter().map(width).sum()));
        match (from, to) {
            (End::Class(_), End::Class(_)) => self.found.pairs += others,
            _ => self.found.outside += others,
        }
        if others > 0
            && self.found.examples.len() < EXAMPLES
            && let Some((from, to)) = self.example(from, to, asked)
        {
            self.found.examples.push(Example { from, to, opened });
        }
    }

    fn is_addressless(&self, end: End) -> bool {
        matches!(end, End::Class(class) if self.population.classes[class].pod.ips.is_empty())
    }

    fn pairs(&self, from: End, to: End) -> u64 {
        let size = |end: End| match end {
            End::Class(class) => self.population.classes[class].size,
            End::Outside(_) => 1,
        };
        // A pod and itself are no pair.
        if from == to { size(from) * (size(from) - 1) } else { size(from) * size(to) }
    }

    /// Whether the flow that the change is made for is between these.
    fn is_asked(&self, from: End, to: End) -> bool {
        let is = |end: End, asked: &Side| match (end, asked.pod()) {
            (End::Class(class), Some(pod)) => self.population.class_of(&PodKey::of(pod)) == Some(class),
            (End::Outside(ip), None) => asked.ip() == Some(ip),
            _ => false,
        };
        let [first, second] = self.measure.asked;
        is(from, first) && is(to, second)
    }

    /// Names of a pair; another pair than the one asked about where there are several.
    fn example(&self, from: End, to: End, asked: bool) -> Option<(String, String)> {
        let names = |end: End| match end {
            End::Class(class) => self.population.classes[class].some.iter().map(ToString::to_string).collect(),
            End::Outside(ip) => vec![ip.to_string()],
        };
        let [first, second] = self.measure.asked;
        let is = |side: &Side, name: &String| match side.pod() {
            Some(pod) => pod.key() == *name,
            None => side.ip().is_some_and(|ip| ip.to_string() == *name),
        };
        let froms: Vec<String> = names(from);
        let tos: Vec<String> = names(to);
        let pairs = froms.iter().flat_map(|f| tos.iter().map(move |t| (f, t)));
        let mut other = pairs.filter(|(f, t)| f != t && !(asked && is(first, f) && is(second, t)));
        other.next().map(|(f, t)| (f.clone(), t.clone()))
    }
}

/// How many ports, or the like, a scope holds.
fn width(scope: &Scope) -> u64 {
    match scope {
        Scope::Range(_, range) => u64::from(*range.end() - *range.start()) + 1,
        Scope::Rest => 1 << 20,
    }
}
