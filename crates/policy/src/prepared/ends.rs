//! Which rules speak of an end, by its address and by what it has as a pod.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;
use tortie_model::Nets;

use super::bits::{Bits, Rules};
use super::prefixes::Prefixes;
use super::signs::{OneOf, Sign, Signs, signs_of};
use crate::rule::{Peer, Peers, Rule};
use crate::side::Side;
use crate::stack::Position;

/// Rules by what their peers say. Each peer that is written several times is one here, and is asked once.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// Rules that speak of everybody.
    everybody: Rules,
    peers: Vec<Known>,
    /// Peers that need not have anything to be found by.
    hidden: Vec<u32>,
    /// The same, where the end is a pod.
    hidden_pods: Vec<u32>,
    pods: Signs,
    v4: Addresses<u32>,
    v6: Addresses<u128>,
    /// Peers by the number of what names their addresses: a block, or all the blocks of a selector.
    named_by: Vec<Vec<u32>>,
}

/// A peer.
#[derive(Clone, Debug)]
struct Known {
    /// Where it is written first.
    rule: Position,
    item: u32,
    /// Whether an address that it names is enough.
    plain: bool,
    /// The rules where it is written.
    rules: Rules,
}

/// Whether an end whose address a peer names is meant, whatever else it is.
fn is_plain(peer: &Peer) -> bool {
    let bare = peer.not_endpoints.is_none() && peer.not_blocks.is_empty() && peer.family.is_none();
    bare && match &peer.blocks {
        Some(blocks) => peer.endpoints.is_none() && blocks.iter().all(|block| block.except().is_empty()),
        None => peer.endpoints.is_some(),
    }
}

/// The addresses that are named.
#[derive(Clone, Debug)]
struct Addresses<N> {
    blocks: Prefixes<N>,
    /// By what, as numbers.
    by: Vec<Vec<u32>>,
}

/// What names addresses.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Block(IpNet),
    Nets(&'a Nets),
}

/// Numbers for things, in order of appearance.
struct Numbers<T>(HashMap<T, u32>);

impl<T: Eq + Hash> Numbers<T> {
    fn number(&mut self, thing: T) -> u32 {
        let next = u32::try_from(self.0.len()).expect("fewer than 2^32 of anything");
        *self.0.entry(thing).or_insert(next)
    }
}

impl Ends {
    /// Of rules in order.
    pub(super) fn of(rules: &[&Rule]) -> Self {
        let mut everybody = Vec::new();
        let mut numbers = Numbers(HashMap::new());
        let mut found: Vec<(&Peer, Position, u32, Vec<u32>)> = Vec::new();
        for (n, rule) in (0..).zip(rules) {
            if rule.peers == Peers::Any {
                everybody.push(n);
            }
            for (item, peer) in (0..).zip(rule.peers.listed()) {
                let number = numbers.number(peer) as usize;
                if number == found.len() {
                    found.push((peer, Position(n), item, Vec::new()));
                }
                found[number].3.push(n);
            }
        }
        let mut out = Finder::default();
        let signs: Vec<Vec<OneOf>> =
            found.iter().map(|(peer, ..)| peer.endpoints.as_ref().map(signs_of).unwrap_or_default()).collect();
        let mut times: HashMap<&Sign, usize> = HashMap::new();
        signs.iter().flatten().flatten().for_each(|sign| *times.entry(sign).or_default() += 1);
        for (number, ((peer, ..), signs)) in (0..).zip(found.iter().zip(&signs)) {
            // The one that fewest others are found by.
            let rarest = signs.iter().min_by_key(|one_of| one_of.iter().map(|sign| times[sign]).sum::<usize>());
            out.add(number, peer, rarest);
        }
        let peers = found.into_iter().map(|(peer, rule, item, of)| Known {
            rule,
            item,
            plain: is_plain(peer),
            rules: Rules::new(rules.len(), of),
        });
        out.finish(Rules::new(rules.len(), everybody), peers.collect())
    }

    /// Adds the rules whose peers match an end. Peers that no rule has among those that are `wanted` need not be asked.
    pub(super) fn add<'a>(
        &self,
        side: &Side,
        rule: impl Fn(Position) -> &'a Rule,
        wanted: Option<&Bits<'_>>,
        found: &mut Bits<'_>,
    ) {
        self.everybody.add_to(found);
        let mut ask = |peer: u32, is_named: bool| {
            let known = &self.peers[peer as usize];
            let is_wanted = || wanted.is_none_or(|wanted| known.rules.are_some_of(wanted));
            let matches = || rule(known.rule).peers.listed()[known.item as usize].matches(side);
            if is_wanted() && (is_named && known.plain || matches()) {
                known.rules.add_to(found);
            }
        };
        self.hidden.iter().for_each(|peer| ask(*peer, false));
        if let (Some(pod), Some(namespace)) = (side.pod(), side.namespace()) {
            self.hidden_pods.iter().for_each(|peer| ask(*peer, false));
            self.pods.of_pod(pod, namespace).for_each(|peer| ask(peer, false));
        }
        let by = |numbers: &Vec<u32>| {
            let peers = numbers.iter().flat_map(|number| &self.named_by[*number as usize]);
            peers.for_each(|peer| ask(*peer, true));
        };
        match side.ip() {
            Some(IpAddr::V4(ip)) => self.v4.blocks.holding(ip.to_bits()).map(|list| &self.v4.by[list]).for_each(by),
            Some(IpAddr::V6(ip)) => self.v6.blocks.holding(ip.to_bits()).map(|list| &self.v6.by[list]).for_each(by),
            None => {}
        }
    }
}

/// Sorts peers by what they are found by.
#[derive(Default)]
struct Finder<'a> {
    hidden: Vec<u32>,
    hidden_pods: Vec<u32>,
    pods: Signs,
    v4: Vec<(u8, u32, u32)>,
    v6: Vec<(u8, u128, u32)>,
    names: HashMap<Name<'a>, u32>,
    named_by: Vec<Vec<u32>>,
}

impl<'a> Finder<'a> {
    fn add(&mut self, number: u32, peer: &'a Peer, signs: Option<&OneOf>) {
        if let Some(blocks) = &peer.blocks {
            blocks.iter().for_each(|block| self.name(Name::Block(block.cidr()), number));
        } else if peer.endpoints.is_some() {
            match signs {
                Some(signs) => signs.iter().for_each(|sign| self.pods.insert(sign.clone(), number)),
                None => self.hidden_pods.push(number),
            }
            if !peer.sets.is_empty() {
                self.name(Name::Nets(&peer.sets), number);
            }
        } else {
            self.hidden.push(number);
        }
    }

    fn name(&mut self, name: Name<'a>, peer: u32) {
        if let Some(number) = self.names.get(&name) {
            return self.named_by[*number as usize].push(peer);
        }
        let number = u32::try_from(self.named_by.len()).expect("fewer than 2^32 names");
        self.named_by.push(vec![peer]);
        match &name {
            Name::Block(block) => self.block(*block, number),
            Name::Nets(nets) => nets.blocks().iter().for_each(|block| self.block(*block, number)),
        }
        self.names.insert(name, number);
    }

    fn block(&mut self, block: IpNet, number: u32) {
        match block {
            IpNet::V4(net) => self.v4.push((net.prefix_len(), net.network().to_bits(), number)),
            IpNet::V6(net) => self.v6.push((net.prefix_len(), net.network().to_bits(), number)),
        }
    }

    fn finish(self, everybody: Rules, peers: Vec<Known>) -> Ends {
        let Self { hidden, hidden_pods, pods, named_by, .. } = self;
        let (blocks, by) = Prefixes::new(self.v4);
        let v4 = Addresses { blocks, by };
        let (blocks, by) = Prefixes::new(self.v6);
        Ends { everybody, peers, hidden, hidden_pods, pods, v4, v6: Addresses { blocks, by }, named_by }
    }
}
