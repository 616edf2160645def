//! The minimal edit, held against the engine on random clusters: read anew from the changed texts, the cluster allows
//! the flow; and the edit opens no more than policies written for the flow alone.

mod written;

use tortie_analysis::edit::{Change, Edit, NoEdit, minimal, trivial};
use tortie_analysis::snapshot::Snapshot;
use tortie_manifest::{Expansion, LoadOptions, Memory, load};
use tortie_model::{Family, Pod, Traffic};
use tortie_policy::{Index, PodKey, Side};
use tortie_testkit::{Cluster, Rng, random};

/// How many denied flows are asked about.
const FLOWS: usize = 400;

fn snapshot(files: &[(String, String)]) -> Snapshot {
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let memory = Memory::new(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let loaded = load(&memory, &names, &LoadOptions::default());
    assert!(!loaded.has_untrusted_object(), "{:?}", loaded.diagnostics);
    Snapshot::new(&loaded, &Expansion::default())
}

/// The cluster whose texts were changed.
fn changed(text: &str, edit: &Edit) -> Snapshot {
    let mut files = vec![("all.yaml".to_owned(), text.to_owned())];
    for (file, text) in edit.patch.changed() {
        assert_eq!(&**file.name(), "all.yaml");
        files[0].1 = text;
    }
    files.extend(edit.patch.new_files().iter().cloned());
    snapshot(&files)
}

/// Pairs of pods that reach each other on more, and on less: each by itself, without classes.
fn counted(before: &Index, after: &Index, asked: [Option<PodKey>; 2]) -> (u64, u64) {
    let pods: Vec<PodKey> = before.pods().filter(|p| !p.host_network).map(|p| PodKey::of(p)).collect();
    let (mut opened, mut closed) = (0, 0);
    for from in &pods {
        for to in pods.iter().filter(|to| *to != from) {
            let allowed = |index: &Index, family| {
                let side = |key: &PodKey| index.pod_side(index.pod(key).expect("it stayed"), Some(family));
                Some(index.pair(&side(from)?, &side(to)?).allowed())
            };
            let (mut more, mut less) = (false, false);
            for family in Family::ALL {
                let Some((old, new)) = allowed(before, family).zip(allowed(after, family)) else { continue };
                let change = old.zip(&new, |old, new| (*old, *new));
                more |= change.iter().any(|(_, c)| *c == (false, true));
                less |= change.iter().any(|(_, c)| *c == (true, false));
            }
            let is_asked = asked == [Some(from.clone()), Some(to.clone())];
            opened += u64::from(more && !is_asked);
            closed += u64::from(less);
        }
    }
    (opened, closed)
}

fn key(side: &Side) -> Option<PodKey> {
    side.pod().map(|p: &std::sync::Arc<Pod>| PodKey::of(p))
}

/// A flow between ends of a cluster that is denied.
fn denied(rng: &mut Rng, cluster: &Cluster, index: &Index) -> Option<(Side, Side, Traffic)> {
    for _ in 0..20 {
        let flow = random::flow(rng, cluster);
        let (from, to) = (index.address_side(flow.from), index.address_side(flow.to));
        if !index.verdict(&from, &to, flow.traffic).is_allowed() {
            return Some((from, to, flow.traffic));
        }
    }
    None
}

#[test]
fn every_denied_flow_has_an_edit_that_lets_it_through_and_little_else() {
    let mut kinds = [0_usize; 5];
    let mut asked = 0;
    for seed in 0.. {
        let mut rng = Rng::new(seed);
        let cluster = random::cluster(&mut rng);
        let text = written::text(&cluster, rng.chance(30));
        let before = snapshot(&[("all.yaml".to_owned(), text.clone())]);
        for _ in 0..3 {
            let Some((from, to, traffic)) = denied(&mut rng, &cluster, &before.index) else { break };
            let context = || format!("seed {seed}: {from:?} -> {to:?} {traffic}\n{text}");
            let edit = minimal((&before).into(), before.population(), &from, &to, traffic)
                .unwrap_or_else(|e| panic!("{e}: {}", context()));
            let after = changed(&text, &edit);
            let [from_now, to_now] = [&from, &to].map(|side| after.index.address_side(side.ip().expect("it has one")));
            let shown = edit.patch.diff();
            assert!(after.index.verdict(&from_now, &to_now, traffic).is_allowed(), "{shown}\n{}", context());
            let (opened, closed) = counted(&before.index, &after.index, [key(&from), key(&to)]);
            assert_eq!(edit.opening.pairs, opened, "{shown}\n{}", context());
            assert_eq!(edit.opening.closed > 0, closed > 0, "{shown}\n{}", context());
            let simple = trivial((&before).into(), before.population(), &from, &to, traffic)
                .expect("a policy can always be added")
                .opening;
            let of = |o: &tortie_analysis::edit::Opening| (o.closed, o.outside, o.pairs, o.width);
            assert!(of(&edit.opening) <= of(&simple), "{shown}\n{}", context());
            for change in &edit.changes {
                kinds[match change {
                    Change::Port(_) => 0,
                    Change::Peer(_) => 1,
                    Change::Label { .. } => 2,
                    Change::Rule(..) => 3,
                    Change::Policy(..) => 4,
                }] += 1;
            }
            asked += 1;
        }
        if asked >= FLOWS {
            break;
        }
    }
    assert!(kinds.iter().all(|n| *n > 0), "every sort of edit is among them: {kinds:?}");
}

#[test]
fn what_is_allowed_needs_no_edit() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
    let all = snapshot(&[("all.yaml".to_owned(), text.to_owned())]);
    let side =
        |name: &str| all.index.pod_side(all.index.pod(&PodKey::new("default", name)).expect("it is there"), None);
    let [a, b] = ["a", "b"].map(|name| side(name).expect("it has no address"));
    let tcp = Traffic::port(tortie_model::Protocol::Tcp, 80);
    assert_eq!(minimal((&all).into(), all.population(), &a, &b, tcp).err(), Some(NoEdit::Allowed));
}

/// What another API denies, a NetworkPolicy can allow only where it is asked before.
#[test]
fn what_is_denied_before_networkpolicies_names_who_denies() {
    let cluster =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
    let policy = |tier: &str, order: u32, ingress: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: first}}\nspec: {{order: 1}}\n\
             ---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: never}}\n\
             spec: {{tier: {tier}, order: {order}, selector: all(), ingress: {ingress}}}\n"
        )
    };
    let edit = |tier, order, ingress| {
        let all = snapshot(&[("all.yaml".to_owned(), cluster.to_owned() + &policy(tier, order, ingress))]);
        let side = |name| all.index.pod_side(all.index.pod(&PodKey::new("default", name)).unwrap(), None).unwrap();
        let tcp = Traffic::port(tortie_model::Protocol::Tcp, 80);
        minimal((&all).into(), all.population(), &side("a"), &side("b"), tcp)
            .map(|edit| edit.changes)
            .map_err(|e| e.to_string())
    };
    let denies = "[{action: Deny}]";
    let rule = "no NetworkPolicy can allow it: ingress[0] of GlobalNetworkPolicy/never denies it";
    let tier = "no NetworkPolicy can allow it: tier first denies at its end";
    assert_eq!(edit("first", 1, denies), Err(rule.to_owned()));
    assert_eq!(edit("first", 1, "[{action: Log}]"), Err(tier.to_owned()));
    assert_eq!(edit("default", 999, denies), Err(rule.to_owned()));
    let changes = edit("default", 1001, denies).expect("a NetworkPolicy is asked before");
    assert!(matches!(changes[..], [Change::Policy(..)]), "{changes:?}");
}

/// Of pods that are alike, a label on one changes that one: neither all of them, nor none, whichever stands for them.
#[test]
fn a_label_on_one_of_many_pods_that_are_alike_is_counted_for_that_one() {
    let pod = |name: &str, label: &str| {
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{{label}}}}}\n")
    };
    let text = pod("a", "app: client")
        + &pod("b", "app: client")
        + &pod("c", "app: client")
        + &pod("db", "app: db")
        + "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: db, namespace: x}\nspec:\n  \
           podSelector: {matchLabels: {app: db}}\n  ingress:\n  - from: [{podSelector: {matchLabels: {team: x}}}]\n    \
           ports: [{port: 80}, {port: 81}]\n";
    let all = snapshot(&[("all.yaml".to_owned(), text.clone())]);
    let side = |name| all.index.pod_side(all.index.pod(&PodKey::new("x", name)).expect("it is there"), None).unwrap();
    let tcp = Traffic::port(tortie_model::Protocol::Tcp, 80);
    for name in ["a", "b", "c"] {
        let from = side(name);
        let edit = minimal((&all).into(), all.population(), &from, &side("db"), tcp).expect("a label");
        assert!(matches!(&edit.changes[..], [Change::Label { .. }]), "{:?}", edit.changes);
        let after = changed(&text, &edit);
        let (opened, closed) = counted(&all.index, &after.index, [key(&from), key(&side("db"))]);
        assert_eq!((edit.opening.pairs, edit.opening.closed), (opened, closed), "{}", edit.patch.diff());
        assert_eq!(edit.opening.width, 2, "two ports of one pair: {:?}", edit.opening);
    }
}
