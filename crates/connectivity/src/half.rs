//! What one direction allows to and from everybody: a stack, put to all classes at once.

use std::borrow::Cow;

use roaring::RoaringBitmap;
use tortie_model::Direction;
use tortie_policy::{Detail, NamedPort, NamedPorts, Names, PortMatch, Position, Stack, Verdict};

use crate::partition::Partition;
use crate::pool::{Pool, SetId};

/// The packets that a stack lets through, by the class of the other end.
#[derive(Debug)]
pub(crate) struct Half {
    /// Number of the stack.
    pub(crate) stack: u32,
    /// Classes that are not as most are.
    parts: Vec<(RoaringBitmap, SetId)>,
    /// What is let through from or to all others.
    rest: SetId,
}

/// What a stack is put to.
pub(crate) struct World<'a> {
    /// Named ports of each class, by number.
    pub(crate) ports_of: &'a [u32],
    /// Named ports by number.
    pub(crate) ports: &'a [Vec<NamedPort>],
}

impl Half {
    /// Puts a stack to all classes. `meant` are the classes that the peers of each rule mean, in the order of the rules;
    /// `own` are the named ports of the endpoint.
    pub(crate) fn of(
        (number, stack): (u32, &Stack),
        meant: &[Cow<'_, RoaringBitmap>],
        own: u32,
        world: &World<'_>,
        pool: &mut Pool,
    ) -> Self {
        let elsewhere = uses_names(stack, Whose::Peer);
        let mut partition =
            if elsewhere { Partition::by(world.ports_of) } else { Partition::by(world.ports_of.iter().map(|_| ())) };
        meant.iter().for_each(|set| partition.split(set));
        let mut sets = Vec::with_capacity(partition.len());
        for class in partition.representatives() {
            let matched: Vec<Position> = stack
                .rules()
                .zip(meant)
                .filter_map(|((position, _), set)| set.contains(class).then_some(position))
                .collect();
            let peer = if elsewhere { world.ports_of[class as usize] } else { 0 };
            let [own, peer] = [own, peer].map(|ports| NamedPorts::table(&world.ports[ports as usize]));
            let names = match stack.direction() {
                Direction::Egress => Names { source: own, destination: peer },
                Direction::Ingress => Names { source: peer, destination: own },
            };
            let outcomes = stack.resolve(&matched, names);
            sets.push(pool.number(outcomes.map(|o| o.verdict == Verdict::Allow)));
        }
        Self::gather(number, partition.parts().iter().map(|part| sets[*part as usize]))
    }

    /// Of the sets of all classes, in order.
    pub(crate) fn gather(stack: u32, sets: impl Iterator<Item = SetId>) -> Self {
        let mut by_set: std::collections::BTreeMap<SetId, Vec<u32>> = std::collections::BTreeMap::new();
        for (class, set) in (0..).zip(sets) {
            by_set.entry(set).or_default().push(class);
        }
        let most = by_set.iter().max_by_key(|(_, classes)| classes.len()).map(|(set, _)| *set);
        let rest = most.unwrap_or(SetId::NONE);
        let others = by_set.into_iter().filter(|(set, _)| *set != rest);
        let sorted = |classes| RoaringBitmap::from_sorted_iter(classes).expect("classes come in order");
        Self { stack, parts: others.map(|(set, classes)| (sorted(classes), set)).collect(), rest }
    }

    /// What is let through from or to most classes.
    pub(crate) const fn rest(&self) -> SetId {
        self.rest
    }

    /// All other classes, with what is let through from or to them.
    pub(crate) fn others(&self) -> impl Iterator<Item = &(RoaringBitmap, SetId)> {
        self.parts.iter()
    }

    /// What is let through from or to a class.
    pub(crate) fn get(&self, class: u32) -> SetId {
        self.parts.iter().find(|(classes, _)| classes.contains(class)).map_or(self.rest, |(_, set)| *set)
    }

    /// What is let through from or to every class.
    pub(crate) fn fill(&self, row: &mut [SetId]) {
        row.fill(self.rest);
        for (classes, set) in &self.parts {
            classes.iter().for_each(|class| row[class as usize] = *set);
        }
    }
}

/// Whose ports a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The endpoint's.
    Own,
    /// The other end's.
    Peer,
}

/// Whether what a stack decides depends on the named ports of an end. Names of destination ports are looked up at the
/// destination: in egress rules that is the other end.
pub(crate) fn uses_names(stack: &Stack, whose: Whose) -> bool {
    let at_destination = (stack.direction() == Direction::Egress) == (whose == Whose::Peer);
    let is_named = |port: &PortMatch| matches!(port.detail, Detail::Named(_) | Detail::EveryNamed(_));
    stack.rules().any(|(_, rule)| {
        let (ports, not_ports) = match at_destination {
            true => (&rule.ports, &rule.not_ports),
            false => (&rule.source_ports, &rule.not_source_ports),
        };
        ports.listed().iter().chain(not_ports).any(is_named)
    })
}
