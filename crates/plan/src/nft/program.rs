//! The program: chains whose rules do not depend on policy, pods or addresses.
//!
//! ```text
//! forward (hook)   ─▶ forward4, forward6
//!                     established, not marked, interface and address belong together: accept
//!                     not new                     ─▶ odd4         established from elsewhere: accept
//!                                                                 ─▶ spoofed, revoked, invalid
//!                     from no pod of this node    ─▶ elsewhere4   ─▶ spoofed, unprogrammed, or ingress4
//!                     a policy governs the source: jump egress4   returns when allowed
//!                     goto ingress4               accepts; falls off when no policy governs the destination, and it
//!                                                 is no closed address, or ─▶ unprogrammed
//! input (hook)     packets from pods to this node ─▶ input4, input6: the same, without ingress
//!                  over other links ─▶ host       with the source of a pod ─▶ unprogrammed
//! output (hook)    counts connections of this node to its pods
//! ```
//!
//! In the shadow lane packets that open no connection leave at once, and so does whatever policy is not asked about: there
//! is no `odd4` and no `output`, `host` is empty, and what leads to a fixed reason is accepted there.
//!
//! What a packet of an established connection meets comes first and is counted in expressions; what all of it costs,
//! `cargo bench -p tortie-lab --bench packet` measures.

use tortie_model::{Direction, Family, IpProtocol};
use tortie_ruleset::{BaseChain, Chain, ChainKind, Hook, Policy, Rule, Verdict};

use super::layout::{Layout, Slot, Stage, digit};
use super::pipeline::{End, Group, Pipeline};
use super::prefix::{DropKind, Prefix, letter};
use super::{Lane, Options};
use crate::Plan;

const ESTABLISHED: u32 = 2 | 4;
const NEW: u32 = 8;
const UNTRACKED: u32 = 64;

/// ICMPv6 types of neighbour discovery and multicast listener discovery (RFC 4861, RFC 2710, RFC 3810).
const DISCOVERY: [(u8, u8); 2] = [(130, 137), (143, 143)];

/// The chain that leads peers of no pod to the second stage.
pub(crate) fn by_range(layout: &Layout, direction: Direction) -> String {
    layout.chain(&range_stem(direction))
}

fn by_range_of(layout: &Layout, direction: Direction, family: Family) -> String {
    layout.range_chain(&range_stem(direction), family)
}

fn range_stem(direction: Direction) -> String {
    format!("{}cid", letter(direction))
}

/// Whether a chain leads to the second stage.
pub(crate) fn is_by_range(chain: &str) -> bool {
    let stem = chain.split_once('.').map(|(stem, _)| stem);
    stem.is_some_and(|stem| Direction::BOTH.into_iter().any(|direction| range_stem(direction) == stem))
}

fn per_family(layout: &Layout, stem: &str, family: Family) -> String {
    layout.chain(&format!("{stem}{}", digit(family)))
}

/// All chains of the program.
pub(crate) fn chains(plan: &Plan, layout: &Layout, options: &Options) -> Vec<(String, Chain)> {
    let program = Program { plan, layout, options };
    let mut out = vec![
        ("forward".to_owned(), program.base(Hook::Forward, program.forward())),
        ("input".to_owned(), program.base(Hook::Input, program.input())),
        (layout.chain("host"), inner(program.host())),
    ];
    for family in Family::ALL {
        out.push((per_family(layout, "forward", family), inner(program.forwarded(family))));
        out.push((per_family(layout, "input", family), inner(program.to_node(family))));
        out.push((per_family(layout, "elsewhere", family), inner(program.elsewhere(family))));
    }
    if options.lane == Lane::Enforcing {
        out.push(("output".to_owned(), program.base(Hook::Output, program.output())));
        out.extend(Family::ALL.map(|f| (per_family(layout, "odd", f), inner(program.odd(f)))));
    }
    for direction in Direction::BOTH {
        for family in Family::ALL {
            let mut rules = program.decisions(family, direction, Stage::Pod);
            rules.push(program.headless(family, direction));
            if direction == Direction::Ingress {
                rules.extend(program.unprogrammed(family));
            }
            out.push((per_family(layout, direction.as_str(), family), inner(rules)));
            let mut rules = program.decisions(family, direction, Stage::Range);
            rules.push(program.contradiction(family, direction));
            out.push((by_range_of(layout, direction, family), inner(rules)));
        }
        out.push((by_range(layout, direction), inner(program.to_ranges(direction))));
    }
    out.extend(DropKind::ALL.map(|kind| (kind.as_str().to_owned(), inner(program.fixed(kind)))));
    out
}

const fn inner(rules: Vec<Rule>) -> Chain {
    Chain { base: None, rules }
}

struct Program<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    options: &'a Options,
}

impl Program<'_> {
    fn base(&self, hook: Hook, rules: Vec<Rule>) -> Chain {
        let priority = self.options.priority;
        let base = BaseChain { kind: ChainKind::Filter, hook, priority, policy: Policy::Accept };
        Chain { base: Some(base), rules }
    }

    fn by_family(&self, stem: &str) -> Vec<Rule> {
        Family::ALL.map(|f| Pipeline::new().family(f).goto(per_family(self.layout, stem, f))).into()
    }

    /// What every packet of the shadow lane meets first, at both hooks.
    fn shadow_entry(&self) -> Option<Rule> {
        let shadow = self.options.lane == Lane::Shadow;
        shadow.then(|| Pipeline::new().not_in_state(NEW | UNTRACKED).then(Verdict::Accept))
    }

    /// What every packet of the enforcing lane meets first, at both hooks.
    fn entry(&self, family: Family) -> Vec<Rule> {
        if self.options.lane == Lane::Shadow {
            return Vec::new();
        }
        let known = Pipeline::new().state(ESTABLISHED).unmarked(self.options.revoked_bit);
        vec![
            known.own_source(self.layout, family, true).then(Verdict::Accept),
            Pipeline::new().not_in_state(NEW | UNTRACKED).goto(per_family(self.layout, "odd", family)),
        ]
    }

    fn forward(&self) -> Vec<Rule> {
        self.shadow_entry().into_iter().chain(self.by_family("forward")).collect()
    }

    /// Egress of the pods of this node. Asking first whether a policy governs the pod spares all others the chain.
    fn egress(&self, family: Family) -> Rule {
        let governed = Pipeline::new().profile(self.layout, family, Direction::Egress);
        governed.jump(per_family(self.layout, Direction::Egress.as_str(), family))
    }

    fn forwarded(&self, family: Family) -> Vec<Rule> {
        let stranger = Pipeline::new().own_source(self.layout, family, false);
        let ingress = Pipeline::new().goto(per_family(self.layout, Direction::Ingress.as_str(), family));
        let stranger = stranger.goto(per_family(self.layout, "elsewhere", family));
        self.entry(family).into_iter().chain([stranger, self.egress(family), ingress]).collect()
    }

    fn to_node(&self, family: Family) -> Vec<Rule> {
        let stranger = Pipeline::new().own_source(self.layout, family, false).goto(DropKind::Spoofed.as_str());
        self.entry(family).into_iter().chain([stranger, self.egress(family)]).collect()
    }

    /// New connections that come from no pod of this node, or say so.
    fn elsewhere(&self, family: Family) -> Vec<Rule> {
        let spoofed = Pipeline::new().over_pod_link(&self.plan.interface_prefix, true).goto(DropKind::Spoofed.as_str());
        let claims = self
            .ranges(family)
            .map(|range| Pipeline::new().within(End::Source, range).goto(DropKind::Unprogrammed.as_str()));
        let ingress = Pipeline::new().goto(per_family(self.layout, Direction::Ingress.as_str(), family));
        [spoofed].into_iter().chain(claims).chain([ingress]).collect()
    }

    /// To an address that one of this node's pods could have, and none has.
    fn unprogrammed(&self, family: Family) -> impl Iterator<Item = Rule> {
        self.ranges(family).map(move |range| {
            let to = Pipeline::new().within(End::Destination, range).local_destination(self.layout, family, false);
            to.goto(DropKind::Unprogrammed.as_str())
        })
    }

    fn ranges(&self, family: Family) -> impl Iterator<Item = &ipnet::IpNet> {
        self.plan.pod_ranges.iter().filter(move |r| Family::of_net(r) == family)
    }

    fn input(&self) -> Vec<Rule> {
        let discovery = DISCOVERY.map(|(from, to)| {
            Pipeline::new().family(Family::V6).protocol(IpProtocol::ICMPV6).icmp_types(from, to).then(Verdict::Accept)
        });
        // What does not come from a pod is none of our business, unless it claims to.
        let others = Pipeline::new().over_pod_link(&self.plan.interface_prefix, false).goto(self.layout.chain("host"));
        let first = self.shadow_entry().into_iter().chain([others]);
        first.chain(discovery).chain(self.by_family("input")).collect()
    }

    /// New connections to this node over other links than those of pods. The node itself may have an address in its pod
    /// ranges, and speaks to it over its loopback interface.
    fn host(&self) -> Vec<Rule> {
        if self.options.lane == Lane::Shadow {
            return Vec::new();
        }
        let claims = |range| {
            let new = Pipeline::new().state(NEW).family(Family::of_net(range)).within(End::Source, range);
            new.not_over_loopback().goto(DropKind::Unprogrammed.as_str())
        };
        self.plan.pod_ranges.iter().map(claims).collect()
    }

    fn output(&self) -> Vec<Rule> {
        let counted = |family| {
            let to_pod = Pipeline::new().state(NEW).family(family).local_destination(self.layout, family, true);
            to_pod.counter().end(Some("from this node to its pods".to_owned()))
        };
        Family::ALL.map(counted).into()
    }

    /// Packets that open no connection: established ones from elsewhere, forged, revoked, and such as connection tracking
    /// cannot make sense of. The invalid ones of nobody's pods are left to others.
    fn odd(&self, family: Family) -> Vec<Rule> {
        let pod_link = |yes| Pipeline::new().over_pod_link(&self.plan.interface_prefix, yes);
        let spoofed = pod_link(true).own_source(self.layout, family, false).goto(DropKind::Spoofed.as_str());
        let known = Pipeline::new().state(ESTABLISHED).unmarked(self.options.revoked_bit).then(Verdict::Accept);
        let revoked = Pipeline::new().state(ESTABLISHED).goto(DropKind::Revoked.as_str());
        let invalid = DropKind::Invalid.as_str();
        let to_pod = Pipeline::new().local_destination(self.layout, family, true).goto(invalid);
        vec![spoofed, known, revoked, pod_link(true).goto(invalid), to_pod]
    }

    /// One rule for each group of protocols, and a second one where ranges of ports have a map of their own.
    fn decisions(&self, family: Family, direction: Direction, stage: Stage) -> Vec<Rule> {
        let mut rules = Vec::new();
        for group in Group::ALL {
            let decide = |ports| Pipeline::decide(self.layout, family, direction, stage, group, ports);
            rules.push(decide(Slot::Port));
            if group.has_detail() && self.layout.port_ranges() {
                rules.push(decide(Slot::PortRange));
            }
        }
        rules
    }

    /// Connection tracking finds packets without a whole transport header invalid; but it may be told to look away, and
    /// it does not know the ICMP of the other family. No rule above matches them.
    fn headless(&self, family: Family, direction: Direction) -> Rule {
        Pipeline::new().profile(self.layout, family, direction).goto(DropKind::Invalid.as_str())
    }

    fn to_ranges(&self, direction: Direction) -> Vec<Rule> {
        Family::ALL.map(|f| Pipeline::new().family(f).goto(by_range_of(self.layout, direction, f))).into()
    }

    /// The second stage decides everything, unless the profile is gone since the first.
    fn contradiction(&self, family: Family, direction: Direction) -> Rule {
        Pipeline::new().profile(self.layout, family, direction).goto(DropKind::Bad.as_str())
    }

    fn fixed(&self, kind: DropKind) -> Vec<Rule> {
        if self.options.lane == Lane::Shadow {
            return vec![Pipeline::new().counter().then(Verdict::Accept)];
        }
        let Options { log_group, snaplen, threshold, .. } = *self.options;
        let log = Pipeline::new().counter().log(log_group, Prefix::Fixed(kind).to_string(), snaplen, threshold);
        vec![log.then(Verdict::Drop)]
    }
}
