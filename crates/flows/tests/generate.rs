//! Generated policies against the reference: on random clusters and recordings, they allow what was recorded, and of all
//! other packets none that policies could keep out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tortie_convert::Api;
use tortie_flows::{Generated, Options, Population, Recording, generate, read};
use tortie_manifest::{Expansion, LoadOptions, Memory, ObjectSet, load};
use tortie_model::{Family, NetworkPolicy, Pod, Traffic};
use tortie_policy::Index;
use tortie_testkit::{Cluster, Flow, Rng, random, reference};

/// The policies, as every other command would read them.
fn objects(generated: &Generated) -> ObjectSet {
    let text: Vec<&str> = generated.policies.iter().map(|policy| policy.yaml.as_str()).collect();
    if text.is_empty() {
        return ObjectSet::default();
    }
    let loaded = load(&Memory::new([("all.yaml", text.join("---\n"))]), &["all.yaml"], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    ObjectSet::of(loaded.objects.iter().map(|one| &one.object), &Expansion::default())
}

fn policies(generated: &Generated) -> Vec<NetworkPolicy> {
    objects(generated).network_policies.iter().map(|policy| (**policy).clone()).collect()
}

fn line(flow: &Flow) -> String {
    format!(
        "{{\"from\":\"{}\",\"to\":\"{}\",\"traffic\":\"{}\",\"verdict\":\"allow\"}}\n",
        flow.from, flow.to, flow.traffic
    )
}

/// What tells pods apart: their namespace and labels. Policies are made for all pods of which these are the same.
fn party(cluster: &Cluster, ip: IpAddr) -> Option<String> {
    let owns = |pod: &&Pod| !pod.phase.is_finished() && !pod.host_network && pod.ips.contains(&ip);
    let pod = cluster.pods.iter().find(owns)?;
    Some(format!("{} {:?}", pod.meta.namespace, pod.meta.labels.iter().collect::<Vec<_>>()))
}

/// A flow by its ends as policies tell them apart.
fn key(cluster: &Cluster, flow: &Flow) -> (String, String, Traffic) {
    let end = |ip: IpAddr| party(cluster, ip).unwrap_or_else(|| ip.to_string());
    (end(flow.from), end(flow.to), flow.traffic)
}

#[test]
fn what_was_recorded_is_allowed_and_nothing_that_was_not() {
    let (mut allowed, mut denied, mut made) = (0, 0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut cluster = random::cluster(&mut rng);
        cluster.policies.clear();
        let mut recorded: Vec<Flow> = (0..1 + rng.below(12))
            .map(|_| random::flow(&mut rng, &cluster))
            .filter(|flow| flow.traffic.protocol.transport().is_some())
            // Nobody records what has no address.
            .filter(|flow| !flow.from.is_unspecified() && !flow.to.is_unspecified())
            .collect();
        // Ports side by side, and with one between them.
        for flow in recorded.clone() {
            for step in 1..=rng.below(5) {
                let detail = flow.traffic.detail.saturating_sub(u16::try_from(step).expect("a few")).max(1);
                if rng.chance(70) {
                    recorded.push(Flow { traffic: Traffic { detail, ..flow.traffic }, ..flow });
                }
            }
        }
        let text: String = recorded.iter().map(line).collect();
        let recording = read(text.as_bytes(), None).expect("memory can be read");
        assert_eq!(recording.bad_count, 0, "{:?}", recording.bad);
        let index = cluster.index();
        let population = Population::new(&index, &[]);
        let generated = generate(&population, &recording, Options { all: true, ..Options::default() })
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{cluster}\n{text}"));
        made += generated.policies.len();
        let covered = |flow: &Flow| {
            !generated.uncovered.iter().any(|(f, _)| f.from.address == Some(flow.from) && f.to.address == Some(flow.to))
        };
        cluster.policies = policies(&generated);
        let needed: BTreeSet<_> =
            recorded.iter().filter(|flow| covered(flow)).map(|flow| key(&cluster, flow)).collect();
        let show = |flow: &Flow| format!("seed {seed}: {flow}\n{cluster}\n{text}");
        for flow in recorded.iter().filter(|flow| covered(flow)) {
            assert!(reference::decide(&cluster, *flow).is_allowed(), "denied: {}", show(flow));
            allowed += 1;
        }
        let mut others: Vec<Flow> = (0..60).map(|_| random::flow(&mut rng, &cluster)).collect();
        // Neighbours of what was recorded: another port, the way back, another end.
        for flow in &recorded {
            let mut near = *flow;
            near.traffic.detail ^= 1;
            others.extend([near, Flow::new(flow.to, flow.from, flow.traffic)]);
            others.extend(
                recorded
                    .iter()
                    .filter(|o| Family::of(o.to) == Family::of(flow.from))
                    .map(|other| Flow { to: other.to, ..*flow }),
            );
        }
        if seed % 8 == 0 {
            same_in_calicos_api(&cluster, &population, &recording, recorded.iter().chain(&others));
        }
        for flow in others {
            let governed = party(&cluster, flow.from).is_some() || party(&cluster, flow.to).is_some();
            let unasked = shortcut(&index, &flow);
            if governed && !unasked && !needed.contains(&key(&cluster, &flow)) {
                assert!(!reference::decide(&cluster, flow).is_allowed(), "allowed: {}", show(&flow));
                denied += 1;
            }
        }
    }
    println!("{made} policies; {allowed} flows allowed, {denied} denied");
    assert!(allowed > 500 && denied > 5_000 && made > 1_000, "{made} policies; {allowed} allowed, {denied} denied");
}

/// Written in Calico's API, the policies decide the same; a pod and itself are told apart by the way between them.
fn same_in_calicos_api<'f>(
    cluster: &Cluster,
    population: &Population,
    recording: &Recording,
    flows: impl Iterator<Item = &'f Flow>,
) {
    let options = Options { all: true, api: Api::Calico, ..Options::default() };
    let generated = generate(population, recording, options).unwrap_or_else(|error| panic!("{error}\n{cluster}"));
    let mut other = cluster.clone();
    other.policies.clear();
    other.calico = objects(&generated).calico_policies.iter().map(|policy| (**policy).clone()).collect();
    assert_eq!(other.calico.len(), cluster.policies.len());
    for flow in flows.filter(|flow| flow.from != flow.to) {
        let [one, two] = [cluster, &other].map(|cluster| reference::decide(cluster, *flow).is_allowed());
        assert_eq!(one, two, "{flow}\n{cluster}\n{other}");
    }
}

/// What is allowed before policies are asked.
fn shortcut(index: &Index, flow: &Flow) -> bool {
    index.verdict(&index.address_side(flow.from), &index.address_side(flow.to), flow.traffic).shortcut.is_some()
}
