//! Which address has which identity, kept as the cluster changes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use roaring::RoaringBitmap;
use tortie_model::{Pod, canonical};
use tortie_persistent::Map;
use tortie_policy::{Index, News, PodKey};

use crate::plan::IdentityId;
use crate::table::Shared;
use crate::vocabulary::{Vocabulary, Word};

/// A pod that owns an address.
pub(crate) type Owner = (PodKey, Arc<str>);

/// Most kinds of pods that are told apart before a policy asks for what they differ in. An identity costs an element in
/// every profile whose rules mean it.
const MOST_KINDS: usize = 1 << 15;
/// So many are told apart in any case; more of them, one for so many addresses.
const FEW_KINDS: usize = 1 << 10;
const ADDRESSES_OF_A_KIND: usize = 4;

/// Addresses of all pods of the cluster.
///
/// Pods are told apart by all that policies could ask: a new policy renumbers none of them, and its cost is that of the
/// kinds of pods that it means. Where pods are of so many kinds that this would cost more than it saves, those that
/// come last are told apart by what policies do ask, and are looked at again when one asks for more.
#[derive(Debug)]
pub(crate) struct PodAddresses {
    most_kinds: usize,
    vocabulary: Vocabulary,
    owners: Map<IpAddr, Owner>,
    identities: Map<IpAddr, IdentityId>,
    /// Addresses of pods that are told apart by what policies ask now.
    by_question: BTreeSet<IpAddr>,
    /// Addresses of each identity, counted; and those that have any.
    counts: HashMap<IdentityId, usize>,
    used: RoaringBitmap,
}

impl Default for PodAddresses {
    fn default() -> Self {
        Self {
            most_kinds: MOST_KINDS,
            vocabulary: Vocabulary::default(),
            owners: Map::new(),
            identities: Map::new(),
            by_question: BTreeSet::new(),
            counts: HashMap::new(),
            used: RoaringBitmap::new(),
        }
    }
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
    /// Tells apart so many kinds of pods at most before they are asked about.
    pub(crate) const fn limit_kinds(&mut self, most: usize) {
        self.most_kinds = most;
    }

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
        let concerned = concerned(news, &turned, &self.by_question, old, new);
        let addresses = self.owners.len().max(concerned.len());
        let room = (addresses / ADDRESSES_OF_A_KIND).max(FEW_KINDS).min(self.most_kinds);
        let mut moved = Vec::with_capacity(concerned.len());
        for ip in concerned {
            let pod = new.owner(ip).and_then(|pod| Some((pod, new.namespace(&pod.meta.namespace)?)));
            let now = pod.map(|(pod, namespace)| {
                let kind = self.vocabulary.kind(pod, namespace);
                let content = if shared.identities.has_room_for(&kind, room) {
                    self.by_question.remove(&ip);
                    kind
                } else {
                    self.by_question.insert(ip);
                    self.vocabulary.asked(pod, namespace)
                };
                shared.identities.intern(self.vocabulary.pod_address(content, ip), &mut shared.numbers)
            });
            if now.is_none() {
                self.by_question.remove(&ip);
            }
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
fn concerned(
    news: &News<'_>,
    turned: &BTreeSet<Word>,
    by_question: &BTreeSet<IpAddr>,
    old: &Index,
    new: &Index,
) -> BTreeSet<IpAddr> {
    let mut out: BTreeSet<IpAddr> = news.owners.iter().map(|c| *c.key).collect();
    let pods = news.pods.iter().flat_map(|c| [c.old, c.new]).flatten();
    out.extend(pods.flat_map(|pod| pod.ips.iter().map(|ip| canonical(*ip))));
    for namespace in &news.namespaces {
        for index in [old, new] {
            out.extend(index.pods_of(namespace.key).flat_map(|pod| index.addresses(pod)));
        }
    }
    let mut words = Vec::new();
    for word in turned {
        match word {
            Word::Net(net) => out.extend(new.owned_within(*net)),
            word => words.push(word),
        }
    }
    let is_asked_again = |words: &[&Word], pod: &Pod| {
        let namespace = new.namespace(&pod.meta.namespace);
        namespace.is_some_and(|namespace| words.iter().any(|word| word.is_said_of(pod, namespace)))
    };
    let of_controllers: Vec<&Word> = words.iter().copied().filter(|word| word.is_of_controllers()).collect();
    if !of_controllers.is_empty() {
        let pods = new.pods().filter(|pod| is_asked_again(&of_controllers, pod));
        out.extend(pods.flat_map(|pod| new.addresses(pod)));
    }
    if !words.is_empty() {
        let pods = by_question.iter().filter(|ip| new.owner(**ip).is_some_and(|pod| is_asked_again(&words, pod)));
        out.extend(pods);
    }
    out.retain(|ip| old.owner(*ip).is_some() || new.owner(*ip).is_some());
    out
}
