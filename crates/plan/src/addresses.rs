//! Which address has which identity, kept as the cluster changes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use roaring::RoaringBitmap;
use tortie_model::canonical;
use tortie_persistent::Map;
use tortie_policy::{Index, News, PodKey};

use crate::plan::IdentityId;
use crate::table::Shared;
use crate::vocabulary::{Vocabulary, Word};

/// A pod that owns an address.
pub(crate) type Owner = (PodKey, Arc<str>);

/// Addresses of all pods of the cluster.
#[derive(Debug, Default)]
pub(crate) struct PodAddresses {
    vocabulary: Vocabulary,
    owners: Map<IpAddr, Owner>,
    identities: Map<IpAddr, IdentityId>,
    /// Addresses of each identity, counted; and those that have any.
    counts: HashMap<IdentityId, usize>,
    used: RoaringBitmap,
}

/// An address that may be another's, or something else to policies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) ip: IpAddr,
    /// Whether its owner is another one now, or nobody.
    pub(crate) is_handed_on: bool,
    /// What it is now; `None` when no pod has it.
    pub(crate) now: Option<IdentityId>,
}

impl PodAddresses {
    /// What every address is.
    pub(crate) const fn identities(&self) -> &Map<IpAddr, IdentityId> {
        &self.identities
    }

    /// Identities that some address has.
    pub(crate) const fn used(&self) -> &RoaringBitmap {
        &self.used
    }

    /// Takes a change of the cluster; returns the addresses that it may concern.
    pub(crate) fn update(&mut self, news: &News<'_>, old: &Index, new: &Index, shared: &mut Shared) -> Vec<Moved> {
        let turned = self.vocabulary.update(&news.policies);
        let concerned = concerned(news, &turned, old, new);
        let mut moved = Vec::with_capacity(concerned.len());
        for ip in concerned {
            let pod = new.owner(ip).and_then(|pod| Some((pod, new.namespace(&pod.meta.namespace)?)));
            let now = pod.map(|(pod, namespace)| {
                let content = self.vocabulary.pod_address(self.vocabulary.pod(pod, namespace), ip);
                shared.identities.intern(content, &mut shared.numbers)
            });
            let owner = pod.map(|(pod, _)| (PodKey::of(pod), pod.meta.uid.clone()));
            let is_handed_on = self.owners.get(&ip).is_some_and(|before| Some(before) != owner.as_ref());
            match owner {
                Some(owner) if self.owners.get(&ip) == Some(&owner) => {}
                Some(owner) => drop(self.owners.insert(ip, owner)),
                None => drop(self.owners.remove(&ip)),
            }
            self.put(ip, now);
            moved.push(Moved { ip, is_handed_on, now });
        }
        moved
    }

    fn put(&mut self, ip: IpAddr, now: Option<IdentityId>) {
        let before = self.identities.get(&ip).copied();
        if before == now {
            return;
        }
        if let Some(id) = now {
            *self.counts.entry(id).or_default() += 1;
            self.used.insert(id.0);
            self.identities.insert(ip, id);
        } else {
            self.identities.remove(&ip);
        }
        let Some(id) = before else { return };
        let Some(count) = self.counts.get_mut(&id) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&id);
            self.used.remove(id.0);
        }
    }
}

/// The addresses that news and words that turned may concern.
fn concerned(news: &News<'_>, turned: &BTreeSet<Word>, old: &Index, new: &Index) -> BTreeSet<IpAddr> {
    let mut out: BTreeSet<IpAddr> = news.owners.iter().map(|c| *c.key).collect();
    let pods = news.pods.iter().flat_map(|c| [c.old, c.new]).flatten();
    out.extend(pods.flat_map(|pod| pod.ips.iter().map(|ip| canonical(*ip))));
    for namespace in &news.namespaces {
        for index in [old, new] {
            out.extend(index.pods_of(namespace.key).flat_map(|pod| index.addresses(pod)));
        }
    }
    let (mut keys, mut names, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    for word in turned {
        match word {
            Word::NamespaceKey(key) => {
                let having = new.namespaces().filter(|ns| ns.labels().get(key).is_some());
                let pods = having.flat_map(|ns| new.pods_of(ns.name()));
                out.extend(pods.flat_map(|pod| new.addresses(pod)));
            }
            Word::Net(net) => out.extend(new.owned_within(*net)),
            Word::PodKey(key) => keys.push(key),
            Word::PeerName(name, protocol) => names.push((name, *protocol)),
            Word::AccountName => out.extend(new.pods().flat_map(|pod| new.addresses(pod))),
            Word::AccountKey(key) => accounts.push(key),
        }
    }
    if !keys.is_empty() || !names.is_empty() {
        let asks = |pod: &tortie_model::Pod| {
            keys.iter().any(|key| pod.meta.labels.get(key).is_some())
                || names.iter().any(|(name, protocol)| pod.named_port(name, *protocol).is_some())
        };
        out.extend(new.pods().filter(|pod| asks(pod)).flat_map(|pod| new.addresses(pod)));
    }
    if !accounts.is_empty() {
        let has = |pod: &tortie_model::Pod| {
            let namespace = new.namespace(&pod.meta.namespace);
            let labels = namespace.and_then(|ns| ns.accounts().get(&pod.service_account));
            labels.is_some_and(|labels| accounts.iter().any(|key| labels.has(key)))
        };
        out.extend(new.pods().filter(|pod| has(pod)).flat_map(|pod| new.addresses(pod)));
    }
    out.retain(|ip| old.owner(*ip).is_some() || new.owner(*ip).is_some());
    out
}
