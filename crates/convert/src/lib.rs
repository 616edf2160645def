//! Policies of one API as policies of another: equal for every flow, or refused with a flow that tells them apart.
//!
//! ```text
//! policies ─▶ the one rule form ─▶ drafts of the other API ─▶ YAML ─▶ read again ─▶ proof
//!                                   └─ gaps: what it cannot say                     └─ witness
//! ```
//!
//! Converting is a proposal: what the other API cannot say is left out, and noted as a gap. The proof alone decides
//! whether something is lost by it. It compares two clusters with the engine, for all pairs of ends and all packets;
//! besides the pods of the input it puts in those that the selectors of policies would tell apart.

mod after;
mod api;
mod calico;
mod clusterpolicy;
mod draft;
mod nets;
mod networkpolicy;
mod proof;
mod strangers;
mod terms;
mod unjudged;
mod yaml;

pub use api::Api;
pub use draft::{Gap, Written};
pub use proof::Witness;
pub use unjudged::Unjudged;

use tortie_analysis::deltas;
use tortie_manifest::ObjectSet;
use tortie_model::ObjectRef;
use tortie_policy::{Index, PodKey, Policy, Tier, calico_tier};

use draft::Draft;
use proof::Disproof;

/// What is converted.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The cluster, with its policies.
    index: &'a Index,
    /// Its policies in the rule form, as front ends make them.
    policies: Vec<Policy>,
    /// The tiers that are given; those that are always there need not be among them.
    tiers: Vec<Tier>,
    /// What of the policies the rule form does not say.
    unjudged: Vec<Unjudged>,
}

impl<'a> Source<'a> {
    /// All policies of some objects, of which the index is the cluster.
    #[must_use]
    pub fn of(objects: &ObjectSet, index: &'a Index) -> Self {
        let tiers = objects.tiers.iter().map(calico_tier).collect();
        let unjudged = unjudged::unjudged(objects);
        Self { index, policies: deltas::policies(objects).collect(), tiers, unjudged }
    }

    /// Policies of a cluster that are known in the rule form alone, with the tiers that are given: all that they say must
    /// be in it.
    #[must_use]
    pub const fn of_rules(index: &'a Index, policies: Vec<Policy>, tiers: Vec<Tier>) -> Self {
        Self { index, policies, tiers, unjudged: Vec::new() }
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The tier of a policy; one that nobody defined is last, and denies at its end.
    fn tier(&self, policy: &Policy) -> Tier {
        let built_in = Tier::built_in();
        let known = self.tiers.iter().chain(&built_in).find(|tier| tier.name == policy.tier);
        known.cloned().unwrap_or_else(|| Tier {
            name: policy.tier.clone(),
            order: tortie_policy::Order::NONE,
            end: tortie_policy::EndAction::Deny,
        })
    }

    /// Policies that are of no kind of an API, in the order in which they are asked.
    fn foreign(&self, api: Api) -> Vec<&Policy> {
        let mut out: Vec<&Policy> = self.policies.iter().filter(|p| !api.has(p.object.kind)).collect();
        out.sort_by_cached_key(|p| {
            let tier = self.tier(p);
            let is_defined = self.tiers.iter().chain(&Tier::built_in()).any(|t| t.name == p.tier);
            (!is_defined, tier.order, tier.name, p.order, p.object.name.clone(), p.object.namespace.clone())
        });
        out
    }
}

/// Policies of another API, proven.
#[derive(Clone, Debug, Default)]
pub struct Converted {
    /// The new policies.
    pub policies: Vec<Written>,
    /// Those that they replace.
    pub replaced: Vec<ObjectRef>,
    /// Policies that were of that API already. The new ones are proven to stand beside them.
    pub kept: Vec<ObjectRef>,
    /// What could not be said, and is proven to make no difference.
    pub gaps: Vec<Gap>,
    /// Pods whose packets to themselves, by way of a Service, are decided otherwise: Kubernetes' NetworkPolicy never
    /// blocks those, every other policy does. No API can say the difference.
    pub to_themselves: Vec<PodKey>,
}

/// Why nothing is converted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is a flow that the other API decides otherwise.
    #[error("{0}")]
    Differs(Box<Difference>),
    /// A policy says something that the engine does not judge.
    #[error(transparent)]
    Unjudged(Unjudged),
    /// The text of a policy was not read back as what was written.
    #[error("{0}")]
    Unreadable(String),
    /// The clusters differ, and no flow was found that shows it: this is a mistake of tortie's.
    #[error("{0} are decided otherwise, but no flow was found that shows it")]
    Unwitnessed(String),
}

/// A flow that is decided otherwise, and what could not be said.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The flow, and both answers.
    pub witness: Witness,
    /// What could not be said.
    pub gaps: Vec<Gap>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.witness.fmt(f)
    }
}

/// Converts all policies that are of another API.
///
/// # Errors
/// When the result would decide some flow otherwise.
pub fn convert(source: &Source<'_>, to: Api) -> Result<Converted, Refusal> {
    if let Some(unjudged) = source.unjudged.iter().find(|u| !to.has(u.policy.kind)) {
        return Err(Refusal::Unjudged(unjudged.clone()));
    }
    let (drafts, gaps) = match to {
        Api::NetworkPolicy => networkpolicy::drafts(source),
        Api::Calico => calico::drafts(source),
        Api::ClusterNetworkPolicy => clusterpolicy::drafts(source),
    };
    let written: Vec<Written> = drafts.iter().map(Draft::write).collect();
    let policies = after::read(&written).map_err(Refusal::Unreadable)?;
    let to_themselves = proof::prove(source, to, policies).map_err(|disproof| match disproof {
        Disproof::Witness(witness) => Refusal::Differs(Box::new(Difference { witness: *witness, gaps: gaps.clone() })),
        Disproof::Unwitnessed(pair) => Refusal::Unwitnessed(pair),
    })?;
    let of = |foreign: bool| {
        let all = source.policies.iter().filter(move |p| to.has(p.object.kind) != foreign);
        all.map(|p| p.object.clone()).collect()
    };
    Ok(Converted { policies: written, replaced: of(true), kept: of(false), gaps, to_themselves })
}
