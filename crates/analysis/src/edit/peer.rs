//! How an end of a flow is written into a policy.

use std::net::IpAddr;

use tortie_manifest::patch::Written;
use tortie_model::{LABELS_OF_CONTROLLERS, LabelSelector, Pod, Protocol, Traffic};
use tortie_policy::Side;

use super::Population;

/// Labels that people name things by, the most usual first.
const USUAL: [&str; 5] = ["app.kubernetes.io/name", "app", "k8s-app", "app.kubernetes.io/component", "component"];

/// The fewest labels of a pod that select no other pods of its namespace than all of its labels do; one at least, where
/// it has any.
pub(crate) fn own_labels<'p>(population: &Population, pod: &'p Pod) -> Vec<(&'p str, &'p str)> {
    let mut labels: Vec<_> = pod.meta.labels.iter().filter(|(key, _)| !LABELS_OF_CONTROLLERS.contains(key)).collect();
    let selected = |labels: &[(&str, &str)]| {
        let selector = LabelSelector::match_labels(labels.iter().copied());
        let classes = population.within(&pod.meta.namespace).iter().map(|class| &population.classes[*class]);
        classes.filter(|class| selector.matches(&class.pod.meta.labels)).map(|class| class.size).sum::<u64>()
    };
    let least = selected(&labels);
    let rank = |key: &str| USUAL.iter().position(|u| *u == key).unwrap_or(USUAL.len());
    let mut keys: Vec<&str> = labels.iter().map(|(k, _)| *k).collect();
    keys.sort_by_key(|key| std::cmp::Reverse((rank(key), *key)));
    for key in keys {
        let fewer: Vec<_> = labels.iter().copied().filter(|(k, _)| *k != key).collect();
        if !fewer.is_empty() && selected(&fewer) == least {
            labels = fewer;
        }
    }
    labels
}

/// A selector of labels; without any, of everything.
pub(crate) fn selector(labels: &[(&str, &str)]) -> Written {
    if labels.is_empty() {
        return Written::Map(Vec::new());
    }
    Written::entry("matchLabels", Written::texts(labels.iter().copied()))
}

/// An end as an item of `from` or `to` of a policy in a namespace. `None` for an end that is no pod and has no address.
pub(crate) fn peer(population: &Population, side: &Side, here: &str) -> Option<Written> {
    let Some(pod) = side.pod() else {
        let ip = side.ip()?;
        let length = if matches!(ip, IpAddr::V4(_)) { 32 } else { 128 };
        let block = Written::texts([("cidr", format!("{ip}/{length}").as_str())]);
        return Some(Written::entry("ipBlock", block));
    };
    let pods = ("podSelector".to_owned(), selector(&own_labels(population, pod)));
    if *pod.meta.namespace == *here {
        return Some(Written::Map(vec![pods]));
    }
    let name = [("kubernetes.io/metadata.name", &*pod.meta.namespace)];
    Some(Written::Map(vec![("namespaceSelector".to_owned(), selector(&name)), pods]))
}

/// A packet as an item of `ports`. `None` for packets that have no port: only rules without `ports` speak of them.
pub(crate) fn port(traffic: Traffic) -> Option<Written> {
    let protocol: Protocol = traffic.protocol.transport()?;
    Some(Written::Map(vec![
        ("protocol".to_owned(), Written::Text(protocol.as_str().to_owned())),
        ("port".to_owned(), Written::Number(traffic.detail.into())),
    ]))
}
