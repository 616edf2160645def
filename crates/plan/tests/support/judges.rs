//! All who decide, side by side: the reference, the engine for one packet and for all at once, the plan of node `n1` in
//! memory, and the table that it is lowered to.

use std::net::IpAddr;

use tortie_model::{Direction, Traffic, canonical};
use tortie_plan::nft::prefix::{PathKind, Prefix};
use tortie_plan::nft::{Lowering, Options};
use tortie_plan::{AttachmentPoint, Compiler, Decider, Packet, Plan, PlanVerdict};
use tortie_policy::{
    Action, By, EPHEMERAL_PORT, FlowVerdict, Half, Index, Outcome, Position, Shortcut, Stack, Verdict,
};
use tortie_ruleset::machine::{Fate, Interface, Machine, Packet as Wire, Run};
use tortie_ruleset::{Hook, Table};
use tortie_testkit::reference::Halves;
use tortie_testkit::{Cluster, Flow, reference};

use super::{check, facts, hook, interface};

/// What is asked: an index, a plan, and a table.
pub(crate) struct Court {
    pub(crate) index: Index,
    pub(crate) plan: Plan,
    pub(crate) table: Table,
}

impl Court {
    /// Computed from nothing.
    pub(crate) fn of(cluster: &Cluster, options: Options) -> Self {
        let index = cluster.index();
        let plan = Compiler::new().compile(&index, &facts(cluster));
        check(&plan);
        let table = Lowering::new(options, None).start(&plan).pop().expect("a table to begin with").table;
        Self { index, plan, table }
    }

    /// Ready to be asked. Without tiers, which it does not know, the reference is heard too.
    pub(crate) fn judges<'a>(&'a self, cluster: &'a Cluster) -> Judges<'a> {
        let Self { index, plan, table } = self;
        Judges { cluster, index, plan, machine: Machine::new(table) }
    }
}

pub(crate) struct Judges<'a> {
    cluster: &'a Cluster,
    index: &'a Index,
    plan: &'a Plan,
    machine: Machine<'a>,
}

impl Judges<'_> {
    /// Asks all of them about packets from a client at one address to another; what they agree on, for each packet.
    ///
    /// # Panics
    /// When they do not agree.
    pub(crate) fn ask(&self, from: IpAddr, to: IpAddr, packets: &[Traffic], case: &dyn Fn() -> String) -> Vec<Halves> {
        let flows: Vec<Flow> = packets.iter().map(|traffic| Flow::new(from, to, *traffic)).collect();
        self.ask_all(&flows, case)
    }

    /// The same of packets between the ends of the first, from any port.
    pub(crate) fn ask_all(&self, flows: &[Flow], case: &dyn Fn() -> String) -> Vec<Halves> {
        let Some(&Flow { from, to, .. }) = flows.first() else { return Vec::new() };
        let (source, destination) = (self.index.address_side(from), self.index.address_side(to));
        let pair = self.index.pair(&source, &destination);
        let with_reference = self.cluster.tiered.is_empty();
        let decide = |flow: &Flow| {
            let flow = *flow;
            let case = || format!("{flow} in {}", case());
            let verdict = self.index.verdict(&source, &destination, flow.asked());
            let halves = Halves { egress: verdict.egress.is_allowed(), ingress: verdict.ingress.is_allowed() };
            if with_reference {
                assert_eq!(halves, reference::decide(self.cluster, flow), "engine and reference: {}", case());
            }
            if flow.source_port == EPHEMERAL_PORT {
                let (egress, ingress) = pair.regions.get(flow.traffic);
                assert_eq!(
                    (egress, ingress, pair.shortcut),
                    (&verdict.egress.outcome, &verdict.ingress.outcome, verdict.shortcut),
                    "all packets at once, and one: {}",
                    case()
                );
            }
            // From this node to its own pod, and not through it: the plan is never asked.
            if verdict.shortcut != Some(Shortcut::LocalNode) {
                self.of_node(flow, &verdict, &case);
            }
            halves
        };
        flows.iter().map(decide).collect()
    }

    /// Whether the address is a pod's of this node. Not the plan is asked, which might have forgotten one.
    fn is_here(&self, ip: IpAddr) -> bool {
        self.index.owner(ip).is_some_and(|p| p.node.as_deref() == Some("n1"))
    }

    /// Whether the address belongs to no pod, and is one that only this node's pods get.
    fn is_closed(&self, ip: IpAddr) -> bool {
        !self.is_here(ip) && self.plan.pod_ranges.iter().any(|r| r.contains(&canonical(ip)))
    }

    /// The plan against the engine's verdict, and the table against the plan. This node decides for its own pods only.
    fn of_node(&self, flow: Flow, verdict: &FlowVerdict, case: &dyn Fn() -> String) {
        let at = hook(self.index, flow.to);
        let packet = Packet {
            at,
            interface: interface(self.index, self.plan, flow.from),
            source: flow.from,
            destination: flow.to,
            traffic: flow.traffic,
            source_port: flow.source_port,
        };
        let found = self.plan.evaluate(&packet);
        let run = self.run(flow, &packet);
        let run = run.unwrap_or_else(|fault| panic!("{fault}: {}", case()));
        assert_eq!(run.fate == Fate::Accept, found.is_allowed(), "table and plan: {run:?}, {found:?}, {}", case());
        let [sends, receives] = [flow.from, flow.to].map(|ip| self.is_here(ip));
        if self.is_closed(flow.from) || (at == AttachmentPoint::Forward && self.is_closed(flow.to)) {
            // Of the destination this is asked after the policies of a sender on this node.
            if self.is_closed(flow.from) || !sends || verdict.egress.is_allowed() {
                assert!(matches!(found, PlanVerdict::Unprogrammed(_)), "{found:?} in {}", case());
                return;
            }
            assert!(matches!(found, PlanVerdict::Decided { ingress: None, .. }), "{found:?} in {}", case());
        }
        let PlanVerdict::Decided { allowed, egress, ingress, hairpin } = found else {
            panic!("{found:?} in {}", case());
        };
        let [egress_passes, ingress_passes] = match verdict.shortcut {
            Some(Shortcut::Loopback) => self.index.hairpin(&self.index.address_side(flow.from), flow.asked()),
            _ => [verdict.egress.is_allowed(), verdict.ingress.is_allowed()],
        };
        let expected = (!sends || egress_passes) && (!receives || ingress_passes);
        assert_eq!(allowed, expected, "plan and engine: {found:?}, {:?}", case());
        if verdict.shortcut == Some(Shortcut::Loopback) {
            return;
        }
        assert!(!hairpin, "{}", case());
        for (path, half, here) in [(egress, &verdict.egress, sends), (ingress, &verdict.ingress, receives)] {
            // What egress denies is not asked about ingress.
            if here && !half.stack.is_empty() && !(half.stack.direction() == Direction::Ingress && path.is_none()) {
                let path = path.and_then(|id| self.plan.paths.get(&id));
                self.compare_path(path.unwrap_or_else(|| panic!("no path in {}", case())), half, case);
            }
        }
        if !allowed {
            self.compare_record(&run, verdict, case);
        }
    }

    fn compare_path(&self, path: &tortie_plan::Path, half: &Half, case: &dyn Fn() -> String) {
        let Half { stack, outcome: Outcome { verdict, by, passed }, .. } = half;
        assert_eq!(path.verdict, *verdict, "{}", case());
        assert_eq!(path.by, decider(stack, *by), "{}", case());
        let name = |p: &Position| stack.rule_ref(*p).unwrap();
        assert_eq!(path.passed, passed.iter().map(name).collect::<Vec<_>>(), "{}", case());
        let actions: Vec<_> = stack.rules().map(|(_, r)| r.action).collect();
        let logs = passed.iter().filter(|p| actions[p.0 as usize] == Action::Log);
        assert_eq!(path.logged, logs.map(name).collect::<Vec<_>>(), "{}", case());
        match path.by {
            Decider::Rule(_) => {}
            _ => assert_eq!(*path.isolating, *half.isolating(), "{}", case()),
        }
    }

    /// The record of a drop names the path by which the engine denies.
    fn compare_record(&self, run: &Run, verdict: &FlowVerdict, case: &dyn Fn() -> String) {
        let prefixes: Vec<Prefix> = run.logged.iter().filter_map(|l| l.parse().ok()).collect();
        let Some(Prefix::Path { kind: PathKind::Deny, direction, path, .. }) = prefixes.last() else {
            panic!("{:?} in {}", run.logged, case());
        };
        let half = verdict.half(*direction);
        assert_eq!(half.outcome.verdict, Verdict::Deny, "{}", case());
        assert_eq!(self.plan.paths[path].by, decider(&half.stack, half.outcome.by), "{}", case());
    }

    /// Sends the packet through the table as it arrives at this node.
    fn run(&self, flow: Flow, packet: &Packet) -> Result<Run, tortie_ruleset::machine::Fault> {
        let [high, low] = flow.traffic.detail.to_be_bytes();
        let [from_high, from_low] = packet.source_port.to_be_bytes();
        let transport = match flow.traffic.protocol {
            p if p.transport().is_some() => vec![from_high, from_low, high, low, 0, 0, 0, 0],
            p if p.is_icmp() => vec![high, low, 0, 0],
            _ => vec![1, 2, 3, 4, 5, 6, 7, 8],
        };
        let mut wire = Wire::new(canonical(flow.from), canonical(flow.to), flow.traffic.protocol.0, transport);
        wire.input = Some(match &packet.interface {
            Some(pod) => Interface { name: pod.name.to_string(), index: pod.index },
            None => Interface { name: "eth0".to_owned(), index: 2 },
        });
        let hook = if packet.at == AttachmentPoint::Forward { Hook::Forward } else { Hook::Input };
        self.machine.run(hook, &wire)
    }
}

fn decider(stack: &Stack, by: By) -> Decider {
    match by {
        By::Rule(position) => Decider::Rule(stack.rule_ref(position).unwrap()),
        By::EndOfTier(tier) => Decider::EndOfTier(stack.tiers()[tier].name.clone()),
        By::Profile => Decider::Profile,
    }
}
