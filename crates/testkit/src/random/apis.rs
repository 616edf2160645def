//! Clusters in which policies of all three APIs meet, with what they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_model::calico::{HostEndpoint, NetworkSet, Tier};
use tortie_model::{Endpoint, EndpointPort, EndpointSlice, Family, Labels, Meta, Order, Traffic};

use super::{BLOCKS, LABELS, NAMESPACES, OUTSIDE, PORTS, calico, clusterpolicy, labels, policies, protocol};
use crate::Rng;
use crate::build;
use crate::cluster::{Cluster, Flow};

/// Names of service accounts; one that nobody defines among them.
pub(super) const ACCOUNTS: [&str; 3] = ["default", "runner", "builder"];
/// A label of service accounts.
pub(super) const ROLE: (&str, [&str; 2]) = ("role", ["reader", "writer"]);
/// Names of Services.
pub(super) const SERVICES: [&str; 2] = ["front", "store"];
/// Tiers besides those that are always there; the last never exists.
pub(super) const TIERS: [&str; 4] = ["early", "tied", "zlate", "missing"];

/// A cluster with NetworkPolicies, Calico's policies and cluster policies, and with all that these refer to: tiers, sets
/// of addresses, Services, service accounts, labelled nodes.
#[must_use]
pub fn three_apis(rng: &mut Rng) -> Cluster {
    let mut out = super::cluster(rng);
    let mut written = policies(rng, 0, 3);
    for policy in &mut written {
        policy.meta.name = (*rng.pick(&calico::NAMES)).into();
    }
    out.policies = unique(written, |p| name(&p.meta));
    for namespace in &mut out.namespaces {
        *namespace = namespace.with_accounts(accounts(rng));
    }
    for node in &mut out.nodes {
        node.meta.labels = labels(rng);
    }
    for pod in &mut out.pods {
        settle(rng, pod);
    }
    out.calico_tiers = unique(tiers(rng), |t| t.meta.name.clone());
    out.network_sets = unique(rng.several(0, 4, |rng| set(rng, &out)), |s| name(&s.meta));
    out.endpoint_slices = unique(rng.several(0, 4, |rng| slice(rng, &out)), |s| name(&s.meta));
    out.calico = unique(rng.several(2, 8, calico::policy), |p| name(&p.meta));
    out.cluster_policies = unique(rng.several(0, 3, clusterpolicy::policy), |p| (p.kind, p.meta.name.clone()));
    out.host_endpoints = unique(rng.several(0, 2, |rng| host(rng, &out)), |h| name(&h.meta));
    out
}

/// What no other object of a kind has.
fn name(meta: &Meta) -> (Arc<str>, Arc<str>) {
    (meta.namespace.clone(), meta.name.clone())
}

fn unique<T, K: Ord>(mut items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert(key(item)));
    items
}

/// Gives a pod an account, and now and then labels to which it has no right.
fn settle(rng: &mut Rng, pod: &mut tortie_model::Pod) {
    pod.service_account = (*rng.pick(&ACCOUNTS)).into();
    if rng.chance(10) {
        pod.meta.labels = stolen(rng, &pod.meta.labels);
    }
}

fn stolen(rng: &mut Rng, labels: &Labels) -> Labels {
    let (key, value) = *rng.pick(&[("pcns.env", "x"), ("pcns.app", "web"), ("pcsa.role", "writer")]);
    labels.with(key, value)
}

fn accounts(rng: &mut Rng) -> Arc<BTreeMap<Arc<str>, Labels>> {
    let defined = ACCOUNTS.iter().take(2).map(|name| {
        let labels = match rng.below(3) {
            0 => Labels::default(),
            n => [(ROLE.0, ROLE.1[n - 1])].into_iter().collect(),
        };
        (Arc::from(*name), labels)
    });
    Arc::new(defined.collect())
}

fn tiers(rng: &mut Rng) -> Vec<Tier> {
    rng.several(0, 3, |rng| {
        // Those that are always there may also be written down, as they are.
        let (name, order, passes) = match rng.below(100) {
            0..6 => ("kube-admin", Order::new(1e3), true),
            6..12 => ("default", Order::new(1e6), false),
            12..18 => ("kube-baseline", Order::new(1e7), true),
            _ => (*rng.pick(&TIERS[..3]), order_of_tier(rng), rng.chance(55)),
        };
        Tier { meta: Meta { name: name.into(), ..Meta::default() }, order, passes }
    })
}

/// Often that of a tier that is always there.
fn order_of_tier(rng: &mut Rng) -> Order {
    match rng.below(100) {
        0..10 => Order::NONE,
        10..40 => Order::new(1e6),
        40..55 => Order::new(1e3),
        55..65 => Order::new(1e7),
        65..80 => Order::new(-2.5),
        _ => Order::new(2e6),
    }
}

/// Addresses with labels: blocks, and addresses of pods.
fn set(rng: &mut Rng, cluster: &Cluster) -> NetworkSet {
    let pods = addresses(cluster);
    let mut own = labels(rng);
    if rng.chance(15) {
        own = stolen(rng, &own);
    }
    NetworkSet {
        meta: Meta {
            namespace: if rng.chance(50) { "".into() } else { (*rng.pick(&NAMESPACES)).into() },
            name: format!("set{}", rng.below(4)).into(),
            labels: own,
            ..Meta::default()
        },
        nets: rng.several(0, 4, |rng| match rng.below(2) {
            0 if !pods.is_empty() => IpNet::from(*rng.pick(&pods)),
            _ => net(rng),
        }),
    }
}

/// A host, mostly with addresses of nodes.
fn host(rng: &mut Rng, cluster: &Cluster) -> HostEndpoint {
    let nodes: Vec<IpAddr> = cluster.nodes.iter().flat_map(|n| n.addresses.iter().copied()).collect();
    let mut own = labels(rng);
    if rng.chance(15) {
        own = stolen(rng, &own);
    }
    let addresses = rng.several(0, 2, |rng| match rng.below(100) {
        0..70 => *rng.pick(&nodes),
        _ => build::ip(rng.pick::<&str>(&OUTSIDE)),
    });
    let mut out = build::host_endpoint(&format!("host{}", rng.below(3)), &[], &[]);
    (out.meta.labels, out.addresses) = (own, addresses);
    out
}

/// One of the blocks that rules speak of.
pub(super) fn net(rng: &mut Rng) -> IpNet {
    rng.pick(&BLOCKS).parse().expect("a CIDR")
}

fn addresses(cluster: &Cluster) -> Vec<IpAddr> {
    cluster.pods.iter().flat_map(|p| p.ips.iter().copied()).collect()
}

fn slice(rng: &mut Rng, cluster: &Cluster) -> EndpointSlice {
    let mut known = addresses(cluster);
    known.extend(["203.0.113.5", "2001:db8::1"].map(build::ip));
    EndpointSlice {
        meta: Meta {
            namespace: (*rng.pick(&NAMESPACES)).into(),
            name: format!("slice{}", rng.below(4)).into(),
            ..Meta::default()
        },
        service: rng.maybe(95, |rng| (*rng.pick(&SERVICES)).into()),
        endpoints: rng.several(0, 5, |rng| Endpoint {
            addresses: vec![*rng.pick(&known)],
            ready: rng.chance(70),
            pod: None,
        }),
        ports: rng.several(0, 4, |rng| EndpointPort {
            name: "".into(),
            protocol: protocol(rng),
            port: rng.maybe(90, |rng| *rng.pick(&PORTS)),
        }),
    }
}

/// A packet as [`super::flow`] makes them, from more ports and with more messages of ICMP.
#[must_use]
pub fn detailed_flow(rng: &mut Rng, cluster: &Cluster) -> Flow {
    let mut flow = super::flow(rng, cluster);
    // What a pod says to itself tells little of policies.
    if flow.from == flow.to {
        flow = super::flow(rng, cluster);
    }
    let family = Family::of(flow.from);
    if rng.chance(35) {
        flow.source_port = *rng.pick(&PORTS);
    }
    if rng.chance(6) {
        let (kind, code) = *rng.pick(&[(8, 0), (3, 1), (3, 4), (128, 0), (0, 0)]);
        // Either ICMP in either family: nothing forbids to send it.
        flow.traffic = Traffic::icmp(*rng.pick(&[family, Family::V4, Family::V6]), kind, code);
    }
    flow
}

/// One change of what only these clusters hold.
pub(super) fn change(rng: &mut Rng, cluster: &mut Cluster) {
    match rng.below(100) {
        0..35 => {
            let new = calico::policy(rng);
            replace(rng, &mut cluster.calico, new, |p| name(&p.meta));
        }
        35..50 => {
            let new = clusterpolicy::policy(rng);
            replace(rng, &mut cluster.cluster_policies, new, |p| (p.kind, p.meta.name.clone()));
        }
        50..60 => {
            let new = set(rng, cluster);
            replace(rng, &mut cluster.network_sets, new, |s| name(&s.meta));
        }
        60..63 => {
            let new = host(rng, cluster);
            replace(rng, &mut cluster.host_endpoints, new, |h| name(&h.meta));
        }
        63..76 => {
            let new = slice(rng, cluster);
            replace(rng, &mut cluster.endpoint_slices, new, |s| name(&s.meta));
        }
        76..86 => {
            let new = tiers(rng).pop();
            match new {
                Some(new) => replace(rng, &mut cluster.calico_tiers, new, |t| t.meta.name.clone()),
                None => cluster.calico_tiers.clear(),
            }
        }
        86..92 => {
            let i = rng.below(cluster.nodes.len());
            cluster.nodes[i].meta.labels = labels(rng);
        }
        92..96 if !cluster.pods.is_empty() => {
            let i = rng.below(cluster.pods.len());
            settle(rng, &mut cluster.pods[i]);
        }
        _ => {
            if let Some(namespace) = cluster.namespaces.first_mut() {
                *namespace = namespace.with_accounts(accounts(rng));
            }
        }
    }
}

/// Puts an item in the place of its namesake, or takes one away.
fn replace<T, K: PartialEq>(rng: &mut Rng, items: &mut Vec<T>, new: T, key: impl Fn(&T) -> K) {
    if !items.is_empty() && rng.chance(35) {
        items.remove(rng.below(items.len()));
        return;
    }
    items.retain(|item| key(item) != key(&new));
    items.push(new);
}

/// Keys that stand for labels of pods, with their values.
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    LABELS.iter().map(|(key, values)| (*key, &values[..]))
}
