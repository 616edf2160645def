//! Which policies govern an endpoint, in which tiers and order.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_model::{Direction, Family, Order, Pod};

use super::Index;
use crate::own::Own;
use crate::rule::{EndAction, Policy};
use crate::side::Side;
use crate::stack::{Stack, TierStack};

impl Index {
    /// What governs a pod in a direction. Nothing governs a pod in its node's network.
    #[must_use]
    pub fn stack(&self, pod: &Pod, direction: Direction) -> Stack {
        let Some(namespace) = self.namespaces.get(&pod.meta.namespace).filter(|_| !pod.host_network) else {
            return Stack::new(direction, []);
        };
        let here = self.by_namespace.get(&pod.meta.namespace).into_iter().flat_map(|list| list.iter());
        let mut governing: Vec<_> = here
            .chain(self.cluster_wide.iter())
            .filter(|(_, p)| p.rules(direction).is_some() && p.subject.selects(pod, namespace))
            .collect();
        governing.sort_by_key(|(key, _)| *key);
        self.in_tiers(Some(pod), direction, governing.into_iter().map(|(_, p)| p))
    }

    /// The ends that an endpoint can be: by family, or without address.
    fn own(&self, pod: &Pod) -> Own {
        let pod = &Arc::new(pod.clone());
        let sides: Vec<Side> = Family::ALL.iter().filter_map(|f| self.pod_side(pod, Some(*f))).collect();
        Own::new(if sides.is_empty() { vec![self.pod_side_at(pod, None)] } else { sides })
    }

    /// What policies make together where all of them govern an endpoint, and no others do; those that leave the
    /// direction alone do not count. Whoever knows already which policies select a pod need not look again. Without a
    /// pod, nothing is known of the endpoint: of what rules say of it, only what denies is taken to hold.
    #[must_use]
    pub fn stack_of<'a>(
        &self,
        pod: Option<&Pod>,
        direction: Direction,
        policies: impl IntoIterator<Item = &'a Arc<Policy>>,
    ) -> Stack {
        let mut governing: Vec<_> = policies.into_iter().filter(|p| p.rules(direction).is_some()).collect();
        governing.sort_by_cached_key(|p| (p.order, p.tie_break()));
        self.in_tiers(pod, direction, governing)
    }

    /// Policies in order, each in its tier, and the tiers in order.
    fn in_tiers<'a>(
        &self,
        pod: Option<&Pod>,
        direction: Direction,
        policies: impl IntoIterator<Item = &'a Arc<Policy>>,
    ) -> Stack {
        let own = LazyCell::new(|| pod.map_or_else(Own::unknown, |pod| self.own(pod)));
        let mut tiers: BTreeMap<(bool, Order, &str), TierStack> = BTreeMap::new();
        for policy in policies {
            let tier = self.tiers.get(&policy.tier);
            let key = (tier.is_none(), tier.map_or(Order::NONE, |t| t.order), &*policy.tier);
            // A tier that nobody defined denies at its end: fail closed.
            let end = tier.map_or(EndAction::Deny, |t| t.end);
            let stack = tiers.entry(key);
            stack
                .or_insert_with(|| TierStack { name: policy.tier.clone(), end, policies: Vec::new() })
                .policies
                .push(if policy.asks_own(direction) { own.settle(policy, direction) } else { policy.clone() });
        }
        Stack::new(direction, tiers.into_values())
    }
}
