//! What is told of a table that somebody changed: the words that a person reads.

use std::sync::Arc;

use tortie_model::{NetworkPolicy, PolicyPort, PortSpec, Protocol};
use tortie_plan::nft::{Lane, Lowering, Options, REVOKED_BIT};
use tortie_plan::{Compiler, NodeFacts, Plan, PodInterface};
use tortie_policy::{Index, PodKey};
use tortie_proof::{Blamer, Claim, prove};
use tortie_ruleset::{BaseChain, Chain, Element, Expr, Policy, Rule, Table, Verdict};
use tortie_testkit::Cluster;
use tortie_testkit::build::{block, ip, namespace, node, pod, pods_here, policy, rule};

/// `a/web` and `a/db` on this node. The policy lets the one speak to the other, and a block to a few ports of it.
struct Ground {
    index: Index,
    facts: NodeFacts,
    plan: Plan,
    table: Table,
}

fn port(protocol: Protocol, number: u16) -> PolicyPort {
    PolicyPort { protocol, port: PortSpec::Range(number, number) }
}

impl Ground {
    fn new() -> Self {
        Self::with([])
    }

    /// With more policies.
    fn with(more: impl IntoIterator<Item = NetworkPolicy>) -> Self {
        let db = policy("a/db", &[("app", "db")]);
        let ingress = vec![
            rule([pods_here(&[("app", "web")])], [port(Protocol::Tcp, 5432)]),
            rule([block("192.0.2.0/24", &[])], [port(Protocol::Udp, 53)]),
        ];
        let cluster = Cluster {
            namespaces: vec![namespace("a", &[])],
            nodes: vec![node("n1", &["192.168.0.1"]), node("n2", &["192.168.0.2"])],
            pods: vec![
                pod("a/web", "n1", &[("app", "web")], &["10.244.1.2"]),
                pod("a/db", "n1", &[("app", "db")], &["10.244.1.3"]),
                pod("a/far", "n2", &[("app", "far")], &["10.244.2.2"]),
            ],
            policies: [NetworkPolicy { ingress: Some(ingress), ..db }].into_iter().chain(more).collect(),
            ..Cluster::default()
        };
        let link =
            |name: &str, index| (PodKey::new("a", name), PodInterface { name: format!("tor-{name}").into(), index });
        let facts = NodeFacts {
            name: "n1".into(),
            interface_prefix: "tor".into(),
            pod_ranges: vec!["10.244.1.0/24".parse().expect("a range")],
            interfaces: [link("web", 12), link("db", 13)].into(),
        };
        let index = cluster.index();
        let plan = Compiler::new().compile(&index, &facts);
        let table = Lowering::new(Options::default(), None).start(&plan).pop().expect("a table").table;
        Self { index, facts, plan, table }
    }

    /// What is told of this table, a line a witness.
    fn told(&self, table: &Table) -> Vec<String> {
        let claim = Claim {
            lane: Lane::Enforcing,
            index: &self.index,
            facts: &self.facts,
            problems: &[],
            revoked_bit: REVOKED_BIT,
        };
        let mut proof = prove(table, &claim);
        proof.blame(&Blamer::new(&self.table, table, &self.plan, &self.index));
        let mut blame: Vec<String> =
            proof.witnesses.iter().flat_map(|w| w.blame.iter().flatten()).map(ToString::to_string).collect();
        blame.sort();
        blame.dedup();
        blame
    }

    fn told_after(&self, change: impl FnOnce(&mut Table)) -> Vec<String> {
        let mut table = self.table.clone();
        change(&mut table);
        assert!(table != self.table, "nothing was changed");
        self.told(&table)
    }
}

/// The elements of a map, without the one for all other keys.
fn listed(table: &Table, map: &str) -> Vec<Element> {
    table.maps[map].1.iter().filter(|e| matches!(e, Element::Range { .. })).cloned().collect()
}

/// Takes one of them away.
fn without(map: &str, n: usize) -> impl FnOnce(&mut Table) {
    move |table| {
        let gone = listed(table, map).remove(n);
        table.maps.get_mut(map).expect("a map").1.remove(&gone);
    }
}

/// Gives one the data of another.
fn like(map: &str, n: usize, other: usize) -> impl FnOnce(&mut Table) {
    move |table| {
        let all = listed(table, map);
        let Element::Range { from, to, .. } = all[n].clone() else { unreachable!("it is listed") };
        let elements = &mut table.maps.get_mut(map).expect("a map").1;
        elements.remove(&all[n]);
        elements.insert(Element::Range { from, to, data: all[other].data().cloned() });
    }
}

fn rules<'t>(table: &'t mut Table, chain: &str) -> &'t mut Vec<Rule> {
    &mut Arc::make_mut(table.chains.get_mut(chain).expect("a chain")).rules
}

#[test]
fn elements_that_are_gone_are_told_with_what_they_stood_for() {
    let ground = Ground::new();
    for (map, n, line) in [
        (
            "local4.1",
            1,
            "map local4.1 (which addresses are of pods of this node): element <10.244.1.3 (pod a/db)> is gone, \
             must be there",
        ),
        (
            "iprof4.1",
            0,
            "map iprof4.1 (who decides on what is sent to a pod): element <10.244.1.3 (pod a/db)> is gone, \
             must be profile 1 (NetworkPolicy/a/db) (no rule of NetworkPolicy/a/db)",
        ),
        (
            "id4.1",
            0,
            "map id4.1 (what policies know of an address): element <10.244.1.2 (pod a/web)> is gone, which makes it \
             identity 0 (addresses of no pod), must be identity 1 (pods of namespace=a pod.app=web) \
             (NetworkPolicy/a/db ingress[0])",
        ),
        (
            "cidr4.1",
            0,
            "map cidr4.1 (in which blocks an address of no pod is): element <192.0.2.0 to 192.0.2.255> is gone, which \
             makes it addresses in no block that a policy names, must be identity 4 (addresses in 192.0.2.0/24) \
             (NetworkPolicy/a/db ingress[1])",
        ),
        (
            "prt.1",
            1,
            "map prt.1 (what a profile makes of a port): element <TCP/5432 . profile 1 (NetworkPolicy/a/db)> is gone, \
             which makes it port class 0 (what the profile does not list), must be port class 1 (TCP/5432) \
             (NetworkPolicy/a/db ingress[0])",
        ),
        (
            "dec.1",
            0,
            "map dec.1 (the decision for a port class and a class): element <port class 1 (TCP/5432) . class 1 (pods of \
             namespace=a pod.app=web)> is gone, which makes it no path (the profile's default), must be path 2 (allows \
             ingress: NetworkPolicy/a/db ingress[0])",
        ),
    ] {
        assert_eq!(ground.told_after(without(map, n)), [line]);
    }
    let forged = ground.told_after(without("legit4.1", 0));
    let line = "map legit4.1 (which source may come in by a link): element <link 12 (tor-web, pod a/web) . 10.244.1.2 \
                (pod a/web)> is gone, must be there";
    assert!(!forged.is_empty() && forged.iter().all(|said| said.starts_with(line)), "{forged:#?}");
}

#[test]
fn elements_that_say_something_else_are_told_with_both() {
    let ground = Ground::new();
    // What no rule allows goes where a rule leads.
    assert_eq!(
        ground.told_after(like("iact.1", 0, 1)),
        [
            "map iact.1 (what carries out a decision on what is sent to a pod): element <no path (the profile's default) . \
          profile 1 (NetworkPolicy/a/db)> is chain allow_i2.1 (allows ingress: NetworkPolicy/a/db ingress[0]), must be \
          chain deny_i1.1 (denies ingress: no rule of NetworkPolicy/a/db)"
        ]
    );
    let added = ground.told_after(|table| {
        let key = [10, 244, 2, 2].to_vec();
        let as_web = listed(table, "id4.1")[0].data().cloned();
        let elements = &mut table.maps.get_mut("id4.1").expect("a map").1;
        elements.retain(|e| !matches!(e, Element::Range { from, .. } if *from == key));
        elements.insert(Element::Range { from: key.clone(), to: key, data: as_web });
    });
    assert_eq!(
        added,
        ["map id4.1 (what policies know of an address): element <10.244.2.2 (pod a/far)> is identity 1 (pods of \
          namespace=a pod.app=web), must be identity 3 (pods of namespace=a pod.app=far) (no rule of \
          NetworkPolicy/a/db)"]
    );
}

#[test]
fn rules_and_chains_are_told_by_their_places() {
    let ground = Ground::new();
    let foreign = || Rule { exprs: vec![Expr::Verdict(Verdict::Accept)], comment: None };
    let line = "chain forward4.1, rule 0 does not belong there: `accept`";
    let told = ground.told_after(|table| rules(table, "forward4.1").insert(0, foreign()));
    assert!(!told.is_empty() && told.iter().all(|said| said.starts_with(line)), "{told:#?}");
    let told = ground.told_after(|table| drop(rules(table, "deny_i1.1")[2].exprs.pop()));
    let line = "chain deny_i1.1 (denies ingress: no rule of NetworkPolicy/a/db), rule 2 is `nothing` behind `log \
                \"tortie D 1 i\" to group 100`, must be `drop`";
    assert_eq!(told, [line]);
    let told = ground.told_after(|table| drop(table.chains.remove("allow_i2.1")));
    assert_eq!(told, ["chain allow_i2.1 (allows ingress: NetworkPolicy/a/db ingress[0]) is gone"]);
    let told = ground.told_after(|table| {
        let base = table.chains["forward"].base.map(|base| BaseChain { policy: Policy::Drop, ..base });
        table.chains.insert("zz".into(), Arc::new(Chain { base, rules: vec![] }));
    });
    let line = "chain zz does not belong there: it is at hook forward with priority 0 and policy drop";
    assert!(!told.is_empty() && told.iter().all(|said| said.starts_with(line)), "{told:#?}");
}

/// A packet that may leave and may not arrive is missed by the policy that denies it.
#[test]
fn of_two_decisions_the_denying_one_is_named() {
    let out = NetworkPolicy { egress: Some(vec![rule([], [])]), ..policy("a/out", &[("app", "web")]) };
    let ground = Ground::with([out]);
    let mut table = ground.table.clone();
    rules(&mut table, "egress4.1").insert(0, Rule { exprs: vec![Expr::Verdict(Verdict::Accept)], comment: None });
    let claim = Claim {
        lane: Lane::Enforcing,
        index: &ground.index,
        facts: &ground.facts,
        problems: &[],
        revoked_bit: REVOKED_BIT,
    };
    let mut proof = prove(&table, &claim);
    proof.blame(&Blamer::new(&ground.table, &table, &ground.plan, &ground.index));
    let [web, db] = ["10.244.1.2", "10.244.1.3"].map(ip);
    let witness = proof.witnesses.iter().find(|w| (w.from, w.to) == (web, db) && w.why.contains("denied"));
    let witness = witness.unwrap_or_else(|| panic!("from one to the other: {:#?}", proof.findings()));
    let said = witness.to_string();
    assert!(
        said.contains("egress is allowed by NetworkPolicy/a/out egress[0], ingress is denied: no rule of"),
        "{said}"
    );
    assert!(said.ends_with("does not belong there: `accept` (no rule of NetworkPolicy/a/db)"), "{said}");
}

#[test]
fn what_was_put_there_is_not_to_blame() {
    let ground = Ground::new();
    assert!(ground.told(&ground.table).is_empty());
    // The plan and the cluster disagree: the table is what the plan says.
    let claim = Claim {
        lane: Lane::Enforcing,
        index: &Index::default(),
        facts: &ground.facts,
        problems: &[],
        revoked_bit: REVOKED_BIT,
    };
    let mut proof = prove(&ground.table, &claim);
    proof.blame(&Blamer::new(&ground.table, &ground.table, &ground.plan, &ground.index));
    let first = proof.findings().swap_remove(0);
    assert!(first.ends_with("; it is as the plan says, which is a bug of tortie"), "{first}");
}
