//! Labels as policies see them, and the two languages in which they are selected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::calico::{Comparison, Selector};
use tortie_model::{LabelSelector, Labels, Namespace, Operator, Pod};

use super::pod_at;
use crate::cluster::Cluster;

/// What Calico's selectors see of a pod, a set of addresses or a host.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub labels: BTreeMap<String, String>,
    /// Its namespace; empty for a GlobalNetworkSet and a host.
    pub namespace: Arc<str>,
}

/// Which labels a selector speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Those of the endpoint, as they are.
    Endpoint,
    /// Those of its namespace: its keys begin with `pcns.`, `all()` is what is in a namespace, `global()` what is not.
    Namespace,
    /// Those of its service account: its keys begin with `pcsa.`.
    Account,
}

const NAMESPACE: &str = "projectcalico.org/namespace";
const ACCOUNT: &str = "projectcalico.org/serviceaccount";

/// A pod: its own labels, where they and its address are, and those of its namespace and service account.
pub(super) fn of_pod(cluster: &Cluster, pod: &Pod) -> Endpoint {
    let mut labels = own(&pod.meta.labels);
    labels.insert(NAMESPACE.to_owned(), pod.meta.namespace.to_string());
    labels.insert("projectcalico.org/orchestrator".to_owned(), "k8s".to_owned());
    labels.insert(ACCOUNT.to_owned(), pod.service_account.to_string());
    of_namespace(cluster, &pod.meta.namespace, &mut labels);
    if let Some(account) = defined(cluster, &pod.meta.namespace).and_then(|n| n.accounts().get(&pod.service_account)) {
        labels.extend(account.iter().map(|(k, v)| (format!("pcsa.{k}"), v.to_owned())));
    }
    labels.insert("pcsa.projectcalico.org/name".to_owned(), pod.service_account.to_string());
    Endpoint { labels, namespace: pod.meta.namespace.clone() }
}

/// Everything that has an address: the pod, the sets of addresses that hold it, the hosts of which it is expected.
pub(super) fn endpoints_at(cluster: &Cluster, ip: IpAddr) -> Vec<Endpoint> {
    let mut out = Vec::new();
    if let Some(pod) = pod_at(cluster, ip) {
        out.push(of_pod(cluster, pod));
    }
    for set in &cluster.network_sets {
        if !set.nets.iter().any(|net| net.contains(&ip)) {
            continue;
        }
        let mut labels = own(&set.meta.labels);
        if !set.meta.namespace.is_empty() {
            labels.insert(NAMESPACE.to_owned(), set.meta.namespace.to_string());
            of_namespace(cluster, &set.meta.namespace, &mut labels);
        }
        out.push(Endpoint { labels, namespace: set.meta.namespace.clone() });
    }
    // A host is in no namespace, and known by the addresses that are expected of it.
    let hosts = cluster.host_endpoints.iter().filter(|host| host.addresses.contains(&ip));
    out.extend(hosts.map(|host| Endpoint { labels: own(&host.meta.labels), namespace: "".into() }));
    out
}

/// Nobody gives himself the labels of a namespace or a service account.
fn own(labels: &Labels) -> BTreeMap<String, String> {
    let own = labels.iter().filter(|(k, _)| !k.starts_with("pcns.") && !k.starts_with("pcsa."));
    own.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn of_namespace(cluster: &Cluster, name: &str, labels: &mut BTreeMap<String, String>) {
    let namespace = labels_of_namespace(cluster, name);
    labels.extend(namespace.iter().map(|(k, v)| (format!("pcns.{k}"), v.to_owned())));
    labels.insert("pcns.projectcalico.org/name".to_owned(), name.to_owned());
}

fn defined<'c>(cluster: &'c Cluster, name: &str) -> Option<&'c Namespace> {
    cluster.namespaces.iter().find(|n| **n.name() == *name)
}

/// The labels of a namespace: when nobody defined it, it exists all the same, with its name as label.
fn labels_of_namespace(cluster: &Cluster, name: &str) -> Labels {
    match defined(cluster, name) {
        Some(namespace) => namespace.labels().clone(),
        None => [("kubernetes.io/metadata.name", name)].into_iter().collect(),
    }
}

/// Whether a selector of Calico holds for an endpoint.
pub(super) fn holds(selector: &Selector, of: Of, endpoint: &Endpoint) -> bool {
    let value = |key: &str| {
        let key = match of {
            Of::Endpoint => key.to_owned(),
            Of::Namespace => format!("pcns.{key}"),
            Of::Account => format!("pcsa.{key}"),
        };
        endpoint.labels.get(&key)
    };
    match selector {
        Selector::All => of != Of::Namespace || endpoint.labels.contains_key(NAMESPACE),
        Selector::Global => of != Of::Namespace || !endpoint.labels.contains_key(NAMESPACE),
        Selector::Has(key) => value(key).is_some(),
        Selector::Compare(key, comparison) => match (value(key), comparison) {
            (None, Comparison::NotEqual(_) | Comparison::NotIn(_)) => true,
            (None, _) => false,
            (Some(value), Comparison::Equal(v)) => **value == **v,
            (Some(value), Comparison::NotEqual(v)) => **value != **v,
            (Some(value), Comparison::Contains(v)) => value.contains(&**v),
            (Some(value), Comparison::StartsWith(v)) => value.starts_with(&**v),
            (Some(value), Comparison::EndsWith(v)) => value.ends_with(&**v),
            (Some(value), Comparison::In(values)) => values.iter().any(|v| **value == **v),
            (Some(value), Comparison::NotIn(values)) => !values.iter().any(|v| **value == **v),
        },
        Selector::Not(term) => !holds(term, of, endpoint),
        Selector::And(terms) => terms.iter().all(|term| holds(term, of, endpoint)),
        Selector::Or(terms) => terms.iter().any(|term| holds(term, of, endpoint)),
    }
}

/// Whether an endpoint acts as one of these service accounts of its namespace.
pub(super) fn acts_as(endpoint: &Endpoint, names: &[Arc<str>]) -> bool {
    endpoint.labels.get(ACCOUNT).is_some_and(|account| names.iter().any(|name| **name == **account))
}

/// Whether a selector of Kubernetes selects a namespace.
pub(super) fn selects_namespace(cluster: &Cluster, selector: &LabelSelector, name: &str) -> bool {
    selects(selector, &labels_of_namespace(cluster, name))
}

/// Whether a selector of Kubernetes selects labels.
pub(super) fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    for requirement in selector.requirements() {
        let value = labels.get(&requirement.key);
        let mut listed = false;
        for wanted in &requirement.values {
            if value == Some(wanted) {
                listed = true;
            }
        }
        let met = match requirement.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        };
        if !met {
            return false;
        }
    }
    true
}
