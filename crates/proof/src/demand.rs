//! What must become of every packet at a hook: policy, and what stands before it.

use std::collections::HashMap;
use std::net::IpAddr;

use tortie_model::Direction;
use tortie_plan::nft::Lane;
use tortie_policy::Asked;
use tortie_ruleset::Hook;
use tortie_ruleset::lift::{ClassSet, Head, IpVersion, Space};
use tortie_ruleset::machine::{Connection, Interface};

use crate::Claim;
use crate::endpoint::{Endpoints, Half, Halves};
use crate::why::{Why, policy};
use crate::witness::policy_traffic;

/// Of the packets from and to these classes, those that must pass; the others must not.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) source: ClassSet,
    pub(crate) destination: ClassSet,
    pub(crate) passes: ClassSet,
    pub(crate) why: Why,
}

/// The demand on one IP version.
pub(crate) struct Demand<'a> {
    claim: &'a Claim<'a>,
    endpoints: &'a Endpoints,
    halves: &'a Halves,
    space: &'a Space,
    answers: Vec<ClassSet>,
    any: ClassSet,
    everything: ClassSet,
    nothing: ClassSet,
    /// What passes where policy allows nothing.
    closed: ClassSet,
    whole: ClassSet,
    discovery: ClassSet,
    /// Addresses in the ranges of this node's pods.
    ranged: ClassSet,
    /// Addresses of its pods.
    local: ClassSet,
}

impl<'a> Demand<'a> {
    pub(crate) fn new(claim: &'a Claim<'a>, endpoints: &'a Endpoints, halves: &'a Halves, space: &'a Space) -> Self {
        // Without the header that policy asks for, policy is not asked.
        let spared = claim.lane == Lane::Shadow;
        let discovery = |kind: u16| matches!(kind, 130..=137 | 143);
        Self {
            answers: halves
                .answers
                .iter()
                .map(|answer| {
                    space.traffic_where(|t| if t.headless { spared } else { answer.passes(policy_traffic(t)) })
                })
                .collect(),
            any: space.addresses_where(|_| true),
            everything: space.traffic_where(|_| true),
            nothing: space.traffic_where(|_| false),
            closed: space.traffic_where(|t| spared && t.headless),
            whole: space.traffic_where(|t| spared || !t.headless),
            discovery: space.traffic_where(|t| {
                space.version == IpVersion::V6 && t.protocol == 58 && !t.headless && discovery(t.detail >> 8)
            }),
            ranged: space.addresses_where(|ip| claim.facts.pod_ranges.iter().any(|r| r.contains(&ip))),
            local: space.addresses_where(|ip| endpoints.at(ip).is_some()),
            claim,
            endpoints,
            halves,
            space,
        }
    }

    /// What must become of all packets of a head.
    pub(crate) fn of(&self, head: &Head) -> Vec<Wanted> {
        let Some(input) = head.input.as_ref().filter(|_| matches!(head.hook, Hook::Forward | Hook::Input)) else {
            return self.same(&self.any, &self.any, &self.everything, Why::NotAsked);
        };
        if self.is_shadow() && !matches!(head.connection.state, Connection::NEW | Connection::UNTRACKED) {
            return self.same(&self.any, &self.any, &self.everything, Why::NotAsked);
        }
        if input.name.starts_with(&*self.claim.facts.interface_prefix) {
            self.sent_by_pod(head, input)
        } else if head.hook == Hook::Input {
            // None of our business, unless a new connection claims to be a pod's.
            let claims = head.connection.state == Connection::NEW && input.index != 1 && !self.is_shadow();
            let forged = if claims { self.ranged.clone() } else { self.space.addresses_where(|_| false) };
            let mut out = self.same(&forged, &self.any, &self.nothing, Why::Forged);
            out.extend(self.same(&self.any.without(&forged), &self.any, &self.everything, Why::NotAsked));
            out
        } else {
            self.routed(head)
        }
    }

    fn same(&self, source: &ClassSet, destination: &ClassSet, passes: &ClassSet, why: Why) -> Vec<Wanted> {
        if source.is_empty() || destination.is_empty() {
            return Vec::new();
        }
        vec![Wanted { source: source.clone(), destination: destination.clone(), passes: passes.clone(), why }]
    }

    fn is_shadow(&self) -> bool {
        self.claim.lane == Lane::Shadow
    }

    /// What must pass for a reason that is none of policy's: in the shadow lane all of it.
    fn fixed<'s>(&'s self, passes: &'s ClassSet, why: Why) -> (&'s ClassSet, Why) {
        if self.is_shadow() { (&self.everything, Why::NotAsked) } else { (passes, why) }
    }

    fn is_revoked(&self, connection: Connection) -> bool {
        connection.mark & self.claim.revoked_bit != 0
    }

    fn half(&self, endpoint: usize, direction: Direction, peer: usize) -> &ClassSet {
        match self.halves.rows[&(endpoint, direction)][peer] {
            Half::Ungoverned => &self.everything,
            Half::Whole => &self.whole,
            Half::Closed => &self.closed,
            Half::Decided(id) => &self.answers[id],
        }
    }

    /// Only a pod's own addresses may come from its link.
    fn sent_by_pod(&self, head: &Head, input: &Interface) -> Vec<Wanted> {
        let sparing = if head.hook == Hook::Input { &self.discovery } else { &self.nothing };
        let is_its = |n: usize| {
            let interface = &self.endpoints.all[n].interface;
            *interface.name == *input.name && interface.index == input.index
        };
        let own = self.space.addresses_where(|ip| self.endpoints.at(ip).is_some_and(is_its));
        let (passes, why) = self.fixed(sparing, Why::Spoofed);
        let mut out = self.same(&self.any.without(&own), &self.any, passes, why);
        match head.connection.state {
            Connection::INVALID => out.extend(self.same(&own, &self.any, sparing, Why::Invalid)),
            Connection::ESTABLISHED | Connection::RELATED => {
                let (passes, why) = match self.is_revoked(head.connection) {
                    true => (sparing, Why::Revoked),
                    false => (&self.everything, Why::Open),
                };
                out.extend(self.same(&own, &self.any, passes, why));
            }
            _ => {
                for source in own.iter() {
                    let endpoint = self.endpoints.at(self.space.addresses()[source]).expect("an endpoint's address");
                    let passes = |destination: usize| {
                        let egress = self.half(endpoint, Direction::Egress, destination);
                        if head.hook == Hook::Input {
                            return egress.or(sparing);
                        }
                        egress.and(&self.arriving(source, destination))
                    };
                    let one = self.space.addresses_where(|ip| ip == self.space.addresses()[source]);
                    for (passes, destinations) in self.grouped(&self.any, passes) {
                        out.extend(self.same(&one, &destinations, &passes, Why::Policy));
                    }
                }
            }
        }
        out
    }

    /// What may arrive at a destination through this node.
    fn arriving(&self, source: usize, destination: usize) -> ClassSet {
        match self.endpoints.at(self.space.addresses()[destination]) {
            Some(endpoint) => self.half(endpoint, Direction::Ingress, source).clone(),
            None if self.ranged.contains(destination) => self.fixed(&self.nothing, Why::Unprogrammed).0.clone(),
            None => self.everything.clone(),
        }
    }

    /// Packets of others that this node forwards.
    fn routed(&self, head: &Head) -> Vec<Wanted> {
        match head.connection.state {
            Connection::INVALID => {
                let mut out = self.same(&self.any, &self.local, &self.nothing, Why::Invalid);
                out.extend(self.same(&self.any, &self.any.without(&self.local), &self.everything, Why::NotAsked));
                out
            }
            Connection::ESTABLISHED | Connection::RELATED => {
                let (passes, why) = match self.is_revoked(head.connection) {
                    true => (&self.nothing, Why::Revoked),
                    false => (&self.everything, Why::Open),
                };
                self.same(&self.any, &self.any, passes, why)
            }
            _ => {
                let (passes, why) = self.fixed(&self.nothing, Why::Forged);
                let mut out = self.same(&self.ranged, &self.any, passes, why);
                let others = self.any.without(&self.ranged);
                for destination in self.local.iter() {
                    let one = self.space.addresses_where(|ip| ip == self.space.addresses()[destination]);
                    for (passes, sources) in self.grouped(&others, |source| self.arriving(source, destination)) {
                        out.extend(self.same(&sources, &one, &passes, Why::Policy));
                    }
                }
                let closed = self.ranged.without(&self.local);
                let (passes, why) = self.fixed(&self.nothing, Why::Unprogrammed);
                out.extend(self.same(&others, &closed, passes, why));
                let elsewhere = self.any.without(&self.local).without(&closed);
                out.extend(self.same(&others, &elsewhere, &self.everything, Why::NotAsked));
                out
            }
        }
    }

    /// Why a packet of these ends must pass or not, in words.
    pub(crate) fn words(&self, want: &Wanted, passes: bool, head: &Head, ends: [IpAddr; 2], asked: Asked) -> String {
        match want.why {
            Why::Policy => policy(self.claim, self.endpoints, head, ends, asked),
            why => why.text(passes).to_owned(),
        }
    }

    /// Classes of addresses by what passes.
    fn grouped(&self, among: &ClassSet, passes: impl Fn(usize) -> ClassSet) -> Vec<(ClassSet, ClassSet)> {
        let mut groups: HashMap<ClassSet, Vec<usize>> = HashMap::new();
        for class in among.iter() {
            groups.entry(passes(class)).or_default().push(class);
        }
        let len = self.space.addresses().len();
        let set = |classes: &[usize]| ClassSet::of(len, |c| classes.binary_search(&c).is_ok());
        groups.into_iter().map(|(passes, classes)| (passes, set(&classes))).collect()
    }
}
