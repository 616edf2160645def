//! How two clusters differ in what they allow.
//!
//! Subjects are the same when their names are; the world outside is cut where either cluster cuts it. A flow is opened
//! when pods that are in both clusters could not use it before, or when an end of it is new.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tortie_analysis::ingress::Way;
use tortie_manifest::ObjectSet;
use tortie_model::Family;
use tortie_policy::Regions;

use crate::Connectivity;
use crate::addresses::Addresses;
use crate::cause::{Cause, Turn, causes};
use crate::packets;
use crate::pool::{Pool, SetId};
use crate::subject::{End, Families, Group, Name, Subject};
use crate::waychange::changed_ways;

/// What differs between two clusters.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Pairs between which something was opened or closed, by name.
    pub changes: Vec<Change>,
}

/// What was opened and closed between two subjects.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who sends.
    pub from: Name,
    /// Who is reached.
    pub to: Name,
    /// By which way, where it is not who sends but an Ingress, a Gateway or a Service at which requests enter.
    pub way: Option<Way>,
    /// What some pod could send to some pod before.
    pub before: Arc<Regions<bool>>,
    /// What it can now.
    pub after: Arc<Regions<bool>>,
    /// What passes now and did not, for some of the pods. Equal sets of one difference are the same in memory.
    pub opened: Arc<Regions<bool>>,
    /// What passed and does not any more.
    pub closed: Arc<Regions<bool>>,
    /// Why it was opened.
    pub opened_by: BTreeSet<Cause>,
    /// Why it was closed.
    pub closed_by: BTreeSet<Cause>,
}

impl Change {
    /// Whether something was opened.
    #[must_use]
    pub fn opens(&self) -> bool {
        packets::any(&self.opened)
    }

    /// Whether something was closed.
    #[must_use]
    pub fn closes(&self) -> bool {
        packets::any(&self.closed)
    }
}

impl Difference {
    /// What differs from one cluster to the next.
    #[must_use]
    pub fn between(before: &Connectivity, after: &Connectivity) -> Self {
        let mut comparison = Comparison { before, after, pool: Pool::default(), known: Default::default() };
        comparison.run()
    }

    /// And what differs in the ways into the clusters, whose objects these are.
    #[must_use]
    pub fn with_ways(mut self, before: (&Connectivity, &ObjectSet), after: (&Connectivity, &ObjectSet)) -> Self {
        self.changes.extend(changed_ways([before, after]));
        self.changes.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        self
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A subject in both clusters, by its place in each.
struct Both {
    name: Name,
    places: [Option<usize>; 2],
    strands: Vec<Strand>,
    /// The families of its ends, where they are the same for all.
    families: Option<Families>,
}

/// Pods of a subject that are one group in each cluster: groups by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Strand([Vec<usize>; 2]);

impl Both {
    fn new(name: Name, clusters: [&Connectivity; 2], places: [Option<usize>; 2]) -> Self {
        let subject = |i: usize| places[i].map(|place: usize| &clusters[i].subjects()[place]);
        let subjects = [subject(0), subject(1)];
        let mut families: Vec<_> =
            subjects.into_iter().flatten().flat_map(Subject::ends).map(|(_, e)| e.families).collect();
        families.dedup();
        let families = if let [one] = families[..] { Some(one) } else { None };
        Self { name, places, strands: strands(subjects), families }
    }

    /// The families that must be looked at one by one.
    fn apart(&self, other: &Self) -> &'static [Families] {
        const TOGETHER: &[Families] = &[Families::BOTH];
        const APART: &[Families] = &[Families::of(Family::V4), Families::of(Family::V6)];
        if self.families.and(other.families).is_some() { TOGETHER } else { APART }
    }

    fn is_new(&self) -> bool {
        self.places[0].is_none()
    }

    fn is_gone(&self) -> bool {
        self.places[1].is_none()
    }

    /// Whether it is neither a workload nor a part of one.
    fn is_ungoverned(&self) -> bool {
        !matches!(self.name, Name::Workload(_))
    }
}

/// Matches the pods of both clusters by name. Pods that only one of them has are compared with all of the other: that
/// there are more or fewer of a workload is no change of what it can do.
fn strands(subjects: [Option<&Subject>; 2]) -> Vec<Strand> {
    let groups = subjects.map(|s| s.map_or(&[][..], |s| &s.groups[..]));
    let all = groups.map(|g| (0..g.len()).collect::<Vec<_>>());
    if groups.iter().all(|g| g.len() <= 1) {
        return vec![Strand(all)];
    }
    let homes = groups.map(|groups| {
        let pods =
            |(i, group): (usize, &'_ Group)| group.pods.iter().map(move |pod| (pod.clone(), i)).collect::<Vec<_>>();
        groups.iter().enumerate().flat_map(pods).collect::<HashMap<_, _>>()
    });
    let mut out = BTreeSet::new();
    for (pod, old) in &homes[0] {
        let new = homes[1].get(pod).map_or_else(|| all[1].clone(), |new| vec![*new]);
        out.insert(Strand([vec![*old], new]));
    }
    for (_, new) in homes[1].iter().filter(|(pod, _)| !homes[0].contains_key(*pod)) {
        out.insert(Strand([all[0].clone(), vec![*new]]));
    }
    out.into_iter().collect()
}

struct Comparison<'c> {
    before: &'c Connectivity,
    after: &'c Connectivity,
    /// Sets of both clusters.
    pool: Pool,
    /// Numbers of sets in the pool of each cluster, and here.
    known: [HashMap<SetId, SetId>; 2],
}

impl<'c> Comparison<'c> {
    const fn clusters(&self) -> [&'c Connectivity; 2] {
        [self.before, self.after]
    }

    fn run(&mut self) -> Difference {
        let everybody = self.everybody();
        let mut found = Found::default();
        for from in &everybody {
            for to in &everybody {
                if !(from.is_ungoverned() && to.is_ungoverned()) {
                    self.compare(from, to, &mut found);
                }
            }
        }
        found.changes(&self.pool)
    }

    /// All subjects of both clusters, the world cut at the edges of both.
    fn everybody(&self) -> Vec<Both> {
        let clusters = self.clusters();
        let named = clusters.map(|c| c.subjects().iter().filter(|s| !matches!(s.name, Name::Outside(_))));
        let names: BTreeSet<&Name> = named.into_iter().flatten().map(|s| &s.name).collect();
        let both = |name: &Name| Both::new(name.clone(), clusters, clusters.map(|c| c.find(name)));
        let mut out: Vec<Both> = names.into_iter().map(both).collect();
        let outside = |c: &'c Connectivity| {
            let place = |(i, s): (usize, &'c Subject)| match &s.name {
                Name::Outside(addresses) => Some((i, addresses)),
                Name::Workload(_) | Name::Node(_) => None,
            };
            c.subjects().iter().enumerate().filter_map(place).collect::<Vec<_>>()
        };
        let [old, new] = clusters.map(outside);
        for (i, a) in old {
            for (j, b) in &new {
                let addresses = a.intersection(b);
                if !addresses.is_empty() {
                    out.push(Both::new(Name::Outside(addresses), clusters, [Some(i), Some(*j)]));
                }
            }
        }
        out
    }

    fn compare(&mut self, from: &Both, to: &Both, found: &mut Found) {
        let [mut opened, mut closed] = [SetId::NONE; 2];
        let [mut opened_by, mut closed_by] = [BTreeSet::new(), BTreeSet::new()];
        let families = from.apart(to);
        for a in &from.strands {
            for (b, family) in to.strands.iter().flat_map(|b| families.iter().map(move |f| (b, *f))) {
                let old = self.passes(0, (from, a), (to, b), family);
                let new = self.passes(1, (from, a), (to, b), family);
                if old == new {
                    continue;
                }
                for (turn, sum, by) in
                    [(Turn::Opened, &mut opened, &mut opened_by), (Turn::Closed, &mut closed, &mut closed_by)]
                {
                    let (had, has) = match turn {
                        Turn::Opened => (old, new),
                        Turn::Closed => (new, old),
                    };
                    let set = self.pool.set(has).zip(self.pool.set(had), |has, had| *has && !*had);
                    let set = self.pool.number(set);
                    if set != SetId::NONE {
                        *sum = self.pool.either(*sum, set);
                        by.extend(self.why((turn, set), (from, a), (to, b), family));
                    }
                }
            }
        }
        if opened != SetId::NONE || closed != SetId::NONE {
            let whole = |both: &Both, i: usize| {
                let groups = both.places[i].map_or(0, |place| self.clusters()[i].subjects()[place].groups.len());
                Strand([(0..groups).collect(), (0..groups).collect()])
            };
            let wholes = [0, 1].map(|i| (whole(from, i), whole(to, i)));
            let [before, after] =
                [0, 1].map(|i| self.passes(i, (from, &wholes[i].0), (to, &wholes[i].1), Families::BOTH));
            found.add(&from.name, &to.name, Verdicts { sets: [before, after, opened, closed], opened_by, closed_by });
        }
    }

    /// What passes in one of the clusters, in some families, by its number here.
    fn passes(
        &mut self,
        i: usize,
        (from, a): (&Both, &Strand),
        (to, b): (&Both, &Strand),
        families: Families,
    ) -> SetId {
        let cluster = self.clusters()[i];
        let (Some(sender), Some(receiver)) = (from.places[i], to.places[i]) else { return SetId::NONE };
        if cluster.goes_unasked(sender, receiver) {
            return SetId::ALL;
        }
        let pairs = pairs(cluster, (sender, &a.0[i]), (receiver, &b.0[i]), families);
        let mut pool = cluster.pool();
        let set = cluster.any_of(&mut pool, pairs);
        match self.known[i].get(&set) {
            Some(number) => *number,
            None => {
                let number = self.pool.number((**pool.set(set)).clone());
                self.known[i].insert(set, number);
                number
            }
        }
    }

    fn why(
        &self,
        (turn, set): (Turn, SetId),
        (from, a): (&Both, &Strand),
        (to, b): (&Both, &Strand),
        families: Families,
    ) -> BTreeSet<Cause> {
        let absent: BTreeSet<_> = match turn {
            Turn::Opened => [from, to].into_iter().filter(|s| s.is_new()).map(|s| Cause::New(s.name.clone())).collect(),
            Turn::Closed => {
                [from, to].into_iter().filter(|s| s.is_gone()).map(|s| Cause::Gone(s.name.clone())).collect()
            }
        };
        if !absent.is_empty() {
            return absent;
        }
        let clusters = self.clusters();
        let ends = [0, 1].map(|i| {
            let (sender, receiver) = (from.places[i].expect("it is there"), to.places[i].expect("it is there"));
            let all = pairs(clusters[i], (sender, &a.0[i]), (receiver, &b.0[i]), families);
            all.map(|(a, b)| (a.class, b.class)).collect::<BTreeSet<_>>()
        });
        causes(clusters, &ends, (turn, self.pool.set(set)), [&from.name, &to.name])
    }
}

/// The pairs of ends of some groups of two subjects that meet in some families.
fn pairs<'c>(
    cluster: &'c Connectivity,
    (from, groups): (usize, &'c [usize]),
    (to, others): (usize, &'c [usize]),
    families: Families,
) -> impl Iterator<Item = (&'c End, &'c End)> {
    let (sender, receiver) = (&cluster.subjects()[from], &cluster.subjects()[to]);
    groups.iter().flat_map(move |g| {
        let group = &sender.groups[*g];
        let others = others.iter().map(|h| &receiver.groups[*h]);
        let others = others.filter(move |other| !sender.is_one_pod(group, receiver, other));
        others.flat_map(move |other| {
            let meeting = move |a: &'c End| {
                let meet = move |b: &&End| !a.families.common(b.families).common(families).is_empty();
                other.ends.iter().filter(meet).map(move |b| (a, b))
            };
            group.ends.iter().flat_map(meeting)
        })
    })
}

/// What is known of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Verdicts {
    /// Before, after, opened, closed.
    sets: [SetId; 4],
    opened_by: BTreeSet<Cause>,
    closed_by: BTreeSet<Cause>,
}

/// Pairs that differ. Parts of the world for which the same is true are put together.
#[derive(Default)]
struct Found {
    pairs: Vec<(Name, Name, Verdicts)>,
    outside: HashMap<(Name, bool, Family, Verdicts), usize>,
}

impl Found {
    fn add(&mut self, from: &Name, to: &Name, verdicts: Verdicts) {
        let (addresses, other, outgoing) = match (from, to) {
            (Name::Outside(addresses), other) => (addresses, other, false),
            (other, Name::Outside(addresses)) => (addresses, other, true),
            _ => return self.pairs.push((from.clone(), to.clone(), verdicts)),
        };
        let key = (other.clone(), outgoing, addresses.family(), verdicts.clone());
        let Some(place) = self.outside.get(&key) else {
            self.outside.insert(key, self.pairs.len());
            self.pairs.push((from.clone(), to.clone(), verdicts));
            return;
        };
        let (from, to, _) = &mut self.pairs[*place];
        if let Name::Outside(known) = if outgoing { to } else { from } {
            *known = Addresses::union(known, addresses);
        }
    }

    fn changes(self, pool: &Pool) -> Difference {
        let change = |(from, to, verdicts): (Name, Name, Verdicts)| {
            let [before, after, opened, closed] = verdicts.sets.map(|set| pool.set(set).clone());
            let Verdicts { opened_by, closed_by, .. } = verdicts;
            Change { from, to, way: None, before, after, opened, closed, opened_by, closed_by }
        };
        let mut changes: Vec<_> = self.pairs.into_iter().map(change).collect();
        changes.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        Difference { changes }
    }
}
