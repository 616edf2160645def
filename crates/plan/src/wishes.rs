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
