//! The shadow lane: it ends no packet, touches no mark, and says of each what the plan says.

use tortie_ruleset::{Data, Expr, Policy, Verdict};

use super::*;

/// A plan of a random cluster, lowered for the shadow lane of a node that enforces something else.
fn lowered(seed: u64) -> (Plan, Table) {
    let cluster = Cluster::random(&mut Dice(seed));
    let plan = Compiler::new().compile(&cluster.index(), &cluster.facts());
    let options = Options { record_allowed: true, deny: Denial::Reject, ..Options::default() };
    let table = Lowering::new(options.shadow(), None).start(&plan).pop().expect("a table").table;
    (plan, table)
}

fn ends_packets(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Drop)
}

#[test]
fn nothing_in_it_ends_a_packet_or_knows_of_marks() {
    let mut denials = 0;
    for seed in 0..60 {
        let (_, table) = lowered(seed);
        assert_eq!(table.name, "tortie-shadow");
        for (name, chain) in &table.chains {
            if let Some(base) = chain.base {
                assert_eq!((base.policy, base.priority), (Policy::Accept, -1), "{name}: before the enforcing lane");
            }
            for expr in chain.rules.iter().flat_map(|rule| &rule.exprs) {
                let harmless = match expr {
                    Expr::Verdict(verdict) => !ends_packets(verdict),
                    Expr::Ct { key, .. } => *key == tortie_ruleset::CtKey::State,
                    Expr::Meta { .. } | Expr::Payload { .. } | Expr::Bitwise { .. } | Expr::Cmp { .. } => true,
                    Expr::Immediate { .. } | Expr::Lookup { .. } | Expr::Counter | Expr::Log { .. } => true,
                    _ => false,
                };
                assert!(harmless, "{name}: {expr}");
            }
            denials += usize::from(name.starts_with("deny_"));
        }
        for element in table.maps.values().flat_map(|(_, elements)| elements) {
            let (Element::Range { data, .. } | Element::CatchAll { data }) = element;
            assert!(!matches!(data, Some(Data::Verdict(verdict)) if ends_packets(verdict)), "{element:?}");
        }
    }
    assert!(denials > 50, "{denials}");
}

/// Of a connection that policy is asked about, one record at each governed end; and if the table enforced what it
/// says, it would do as the plan does.
#[test]
fn it_says_what_the_plan_says_and_lets_every_packet_go_on() {
    let (mut denied, mut allowed, mut unasked) = (0, 0, 0);
    for seed in 0..60 {
        let (plan, table) = lowered(seed);
        let strict = as_enforced(&table);
        let (machine, strict) = (Machine::new(&table), Machine::new(&strict));
        let mut dice = Dice(seed + 1);
        for _ in 0..200 {
            let packet = packet(&mut dice);
            let shown = run(&machine, &packet);
            assert_eq!(shown.fate, Fate::Accept, "seed {seed}: {packet:?}");
            let said: Vec<_> = shown.logged.iter().map(|p| p.parse().expect("our prefix")).collect();
            let verdict = plan.evaluate(&packet);
            let expected = match verdict {
                _ if forged_from_outside(&plan, &packet) => vec![],
                PlanVerdict::Decided { egress, ingress, .. } => {
                    [egress, ingress].into_iter().flatten().map(|id| said_of(&plan, id)).collect()
                }
                // Egress is asked first, and the address is nobody's.
                PlanVerdict::Unprogrammed(_) => said.clone(),
                _ => vec![],
            };
            if !to_itself(&packet) {
                assert_eq!(said, expected, "seed {seed}: {packet:?}: {verdict:?}");
            }
            let would_pass = run(&strict, &packet).fate == Fate::Accept;
            if let (PlanVerdict::Decided { .. }, false) = (verdict, forged_from_outside(&plan, &packet)) {
                assert_eq!(would_pass, verdict.is_allowed(), "seed {seed}: {packet:?}");
                *(if would_pass { &mut allowed } else { &mut denied }) += 1;
            } else {
                unasked += 1;
            }
            // What opens no connection leaves without a word.
            let (hook, wire) = wire(&packet);
            for state in [Connection::ESTABLISHED, Connection::RELATED, Connection::INVALID] {
                let mut wire = wire.clone();
                wire.connection = Connection { state, mark: REVOKED_BIT, reply: false };
                let left = machine.run(hook, &wire).unwrap_or_else(|fault| panic!("{fault}"));
                assert_eq!((left.fate, left.logged), (Fate::Accept, vec![]), "seed {seed}: {packet:?}");
            }
        }
    }
    assert!(denied > 500 && allowed > 500 && unasked > 500, "{denied} {allowed} {unasked}");
}

fn said_of(plan: &Plan, id: crate::PathId) -> Prefix {
    let path = &plan.paths[&id];
    let kind = match (path.verdict, path.logged.is_empty()) {
        (tortie_policy::Verdict::Deny, _) => PathKind::Deny,
        (tortie_policy::Verdict::Allow, false) => PathKind::Log,
        (tortie_policy::Verdict::Allow, true) => PathKind::Allow,
    };
    Prefix::Path { lane: Lane::Shadow, kind, direction: path.direction, path: id }
}

#[test]
fn no_state_between_two_plans_ends_a_packet() {
    let mut states = 0;
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut cluster = Cluster::random(&mut dice);
        let mut compiler = Compiler::new();
        let first = compiler.compile(&cluster.index(), &cluster.facts());
        let mut lowering = Lowering::new(Options::default().shadow(), None);
        let mut at = lowering.start(&first).pop().expect("a table").table;
        for _ in 0..2 {
            cluster.change(&mut dice);
            let transition = compiler.advance(&cluster.index(), &cluster.facts());
            let packets: Vec<Packet> = (0..20).map(|_| packet(&mut dice)).collect();
            for phase in phases(&at, &lowering.advance(&transition)) {
                for piece in phase.steps.iter().flat_map(in_pieces) {
                    piece.iter().for_each(|change| change.apply(&mut at));
                    let machine = Machine::new(&at);
                    for packet in &packets {
                        assert_eq!(run(&machine, packet).fate, Fate::Accept, "seed {seed}: {packet:?}");
                    }
                    states += 1;
                }
            }
        }
    }
    assert!(states > 500, "{states}");
}
