//! The pods of this node, and what shall govern them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{Namespace, Pod, canonical};
use tortie_policy::{Index, News, PodKey, Policy};

use crate::plan::{LocalEndpoint, NodeFacts, PodInterface, ProfileId};

/// An endpoint as it shall be: the profiles that it shall have, in the order of [`tortie_model::Direction::BOTH`].
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) uid: Arc<str>,
    pub(crate) interface: PodInterface,
    pub(crate) addresses: Arc<[IpAddr]>,
    pub(crate) profiles: [ProfileId; 2],
}

impl Wanted {
    pub(crate) fn endpoint(&self) -> LocalEndpoint {
        let [egress, ingress] = self.profiles;
        let (uid, interface) = (self.uid.clone(), self.interface.clone());
        LocalEndpoint { uid, interface, addresses: self.addresses.to_vec(), egress, ingress }
    }
}

/// What was wished for an endpoint, and the objects from which it followed.
#[derive(Debug)]
struct Wish {
    pod: Arc<Pod>,
    namespace: Arc<Namespace>,
    wanted: Wanted,
}

/// The endpoints of this node, kept as the cluster changes.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    node: Option<Arc<str>>,
    by_pod: BTreeMap<PodKey, Wish>,
}

impl Wishes {
    /// Takes a change of the cluster. Asks for the profiles of those pods whose policies may be others now.
    pub(crate) fn update(
        &mut self,
        news: &News<'_>,
        index: &Index,
        facts: &NodeFacts,
        mut profiles: impl FnMut(&Pod) -> [ProfileId; 2],
    ) {
        let everything = news.tiers || self.node.as_ref() != Some(&facts.name);
        self.node = Some(facts.name.clone());
        let touched = Touched::by(news);
        let mut before = std::mem::take(&mut self.by_pod);
        for (key, interface) in &facts.interfaces {
            let known = before.remove(key).filter(|wish| !everything && touched.leaves(key, wish));
            let wish = known.or_else(|| {
                let pod = index.pod(key).filter(|p| p.node.as_ref() == Some(&facts.name) && !p.host_network)?;
                let namespace = index.namespace(&pod.meta.namespace)?.clone();
                let addresses: BTreeSet<IpAddr> = index.addresses(pod).collect();
                let wanted = Wanted {
                    uid: pod.meta.uid.clone(),
                    interface: interface.clone(),
                    addresses: addresses.into_iter().collect(),
                    profiles: profiles(pod),
                };
                Some(Wish { pod: pod.clone(), namespace, wanted })
            });
            if let Some(mut wish) = wish {
                if wish.wanted.interface != *interface {
                    wish.wanted.interface = interface.clone();
                }
                self.by_pod.insert(key.clone(), wish);
            }
        }
    }

    /// What is wished.
    pub(crate) fn wanted(&self) -> BTreeMap<PodKey, Wanted> {
        self.by_pod.iter().map(|(key, wish)| (key.clone(), wish.wanted.clone())).collect()
    }

    /// Wishes for one profile are for another from now on.
    pub(crate) fn replace(&mut self, from: ProfileId, to: ProfileId) {
        replace(self.by_pod.values_mut().map(|wish| &mut wish.wanted), from, to);
    }
}

/// What news speak of, for quick answers.
struct Touched<'a> {
    pods: BTreeSet<&'a PodKey>,
    namespaces: BTreeSet<&'a str>,
    addresses: BTreeSet<IpAddr>,
    policies: Vec<&'a Policy>,
}

impl<'a> Touched<'a> {
    fn by(news: &News<'a>) -> Self {
        Self {
            pods: news.pods.iter().map(|c| c.key).collect(),
            namespaces: news.namespaces.iter().map(|c| &**c.key).collect(),
            addresses: news.owners.iter().map(|c| *c.key).collect(),
            policies: news.policies.iter().flat_map(|c| [c.old, c.new]).flatten().map(|policy| &**policy).collect(),
        }
    }

    /// Whether all that a wish followed from is as it was.
    fn leaves(&self, key: &PodKey, wish: &Wish) -> bool {
        !self.pods.contains(key)
            && !self.namespaces.contains(&*key.namespace)
            && !wish.pod.ips.iter().any(|ip| self.addresses.contains(&canonical(*ip)))
            && !self.policies.iter().any(|policy| policy.subject.selects(&wish.pod, &wish.namespace))
    }
}

/// Puts one profile in the place of another.
pub(crate) fn replace<'a>(wanted: impl Iterator<Item = &'a mut Wanted>, from: ProfileId, to: ProfileId) {
    for profile in wanted.flat_map(|w| &mut w.profiles) {
        if *profile == from {
            *profile = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_policy::{Delta, network_policy};
    use tortie_testkit::build;

    /// Three pods in two namespaces, with links.
    fn scene() -> (Index, NodeFacts) {
        let mut deltas: Vec<Delta> = ["a", "b"].map(|ns| Delta::Namespace(build::namespace(ns, &[]))).into();
        let mut facts = NodeFacts {
            name: "n1".into(),
            interface_prefix: "tt".into(),
            pod_ranges: Vec::new(),
            interfaces: BTreeMap::new(),
        };
        for (name, app, ip) in
            [("a/web", "web", "10.244.1.2"), ("a/db", "db", "10.244.1.3"), ("b/web", "web", "10.244.1.4")]
        {
            let pod = build::pod(name, "n1", &[("app", app)], &[ip]);
            facts.interfaces.insert(PodKey::of(&pod), PodInterface { name: name.into(), index: 7 });
            deltas.push(Delta::Pod(Box::new(pod)));
        }
        (Index::of(deltas), facts)
    }

    #[test]
    fn profiles_are_asked_for_where_they_may_be_others() {
        let (mut index, facts) = scene();
        let mut wishes = Wishes::default();
        let mut asked = |old: &Index, new: &Index| {
            let mut asked = Vec::new();
            wishes.update(&old.news(new), new, &facts, |pod| {
                asked.push(PodKey::of(pod).to_string());
                [ProfileId(0); 2]
            });
            asked
        };
        assert_eq!(asked(&Index::default(), &index), ["a/db", "a/web", "b/web"]);
        assert_eq!(asked(&index, &index), [""; 0], "there is no news");
        let mut then = |delta: Delta| {
            let old = index.clone();
            index.apply(delta);
            asked(&old, &index)
        };
        let policy = build::policy("a/web", &[("app", "web")]);
        assert_eq!(then(Delta::Policy(Box::new(network_policy(&policy)))), ["a/web"]);
        assert_eq!(then(Delta::Namespace(build::namespace("b", &[("x", "y")]))), ["b/web"]);
        let relabelled = build::pod("a/db", "n1", &[("app", "x")], &["10.244.1.3"]);
        assert_eq!(then(Delta::Pod(Box::new(relabelled))), ["a/db"]);
        let claims = build::pod("b/elsewhere", "n2", &[], &["10.244.1.2"]);
        assert_eq!(then(Delta::Pod(Box::new(claims))), ["a/web"], "its address is another's");
    }
}
