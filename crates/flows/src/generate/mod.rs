//! The least policies that allow recorded connections, and the proof that they are the least.
//!
//! ```text
//! connections ──▶ needs ──▶ policies ──▶ YAML ──▶ read again ──▶ proof
//!                  a peer and its ports,                          what the engine lets through equals the needs,
//!                  by party and direction                         for every end and every packet
//! ```
//!
//! Policies of another API than NetworkPolicy are those converted, which is proven to change nothing, and are put to the
//! same proof themselves.

mod needs;
mod party;
mod policy;
mod proof;
mod yaml;

use std::collections::BTreeSet;

use tortie_convert::{Api, Refusal, Source, convert};
use tortie_model::{Direction, IpProtocol, NetworkPolicy, ObjectRef};
use tortie_policy::{Delta, PodKey, Policy};

use crate::record::{Flow, Recording};
use crate::resolve::{Population, Unresolved};

use needs::Needs;
use party::Parties;
pub use proof::Witness;

/// What is generated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also policies that deny everything to workloads of which no connection was recorded.
    pub all: bool,
    /// Whom a policy, and a peer in it, stands for.
    pub by: By,
    /// The API in which they are written.
    pub api: Api,
    /// The only direction for which they are; otherwise they are for both.
    pub only: Option<Direction>,
}

impl Options {
    /// The directions for which policies are made.
    fn directions(self) -> impl Iterator<Item = Direction> {
        Direction::BOTH.into_iter().filter(move |direction| self.only.is_none_or(|only| only == *direction))
    }
}

/// Whom a policy, and a peer in it, stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The pods of a workload.
    #[default]
    Workload,
    /// All pods of a namespace.
    Namespace,
}

/// A policy as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which.
    pub object: ObjectRef,
    /// Its YAML, a document.
    pub yaml: String,
}

/// Policies with what is to be known about them.
#[derive(Clone, Debug, Default)]
pub struct Generated {
    /// The policies, by namespace and name.
    pub policies: Vec<Written>,
    /// Flows that they allow.
    pub covered: usize,
    /// Flows for which no policy could be made, and why.
    pub uncovered: Vec<(Flow, Uncovered)>,
    /// Flows that were recorded as denied only: nothing is allowed for them.
    pub denied: usize,
    /// Workloads of which no connection was recorded, and which no policy governs therefore.
    pub untouched: Vec<ObjectRef>,
    /// Workloads that have the same labels in a namespace, so that one policy is for all of them.
    pub alike: Vec<Vec<ObjectRef>>,
    /// Policies that were there. The new ones are meant to stand without them.
    pub replaced: Vec<ObjectRef>,
    /// Pods that do not reach themselves by way of a Service any more: a NetworkPolicy lets them, another API cannot say it.
    pub to_themselves: Vec<PodKey>,
}

/// Why no policy allows a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Uncovered {
    /// An end is nobody in the manifests.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// A protocol without ports.
    #[error("a NetworkPolicy allows {0} only together with everything else")]
    Portless(IpProtocol),
    /// Port 0, which is none to the API.
    #[error("a NetworkPolicy names no port 0")]
    PortZero,
    /// No pod of either end has an address that the other could reach.
    #[error("the ends have no address family in common")]
    NoFamily,
    /// A pod in the network of a node of which no address is known.
    #[error("{0} lives in the network of its node, and no address of that is known")]
    NoAddress(String),
}

/// Why nothing was generated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GenerateError {
    /// The policies were made, and are not the least: this is a mistake of tortie's.
    #[error("the policies were not proven, so none is written: {0}")]
    Disproved(Box<Witness>),
    /// The text of a policy was not read back as what was written.
    #[error("a policy was not read back as it was written, so none is written: {0}")]
    Unreadable(String),
    /// The other API cannot say what the policies say.
    #[error("another API cannot say what they say, so none is written: {0}")]
    Refused(#[from] Refusal),
}

/// Makes the least policies for recorded connections, and proves them.
///
/// # Errors
/// When the proof fails.
pub fn generate(population: &Population, recording: &Recording, options: Options) -> Result<Generated, GenerateError> {
    let parties = Parties::of(population, options.by);
    let mut out = Generated {
        replaced: population.index().policies().map(|p| p.object.clone()).collect(),
        ..Generated::default()
    };
    let mut needs = Needs::default();
    for (flow, seen) in &recording.flows {
        if seen.allowed() == 0 {
            out.denied += 1;
            continue;
        }
        match needs.add(population, &parties, flow) {
            Ok(()) => out.covered += 1,
            Err(why) => out.uncovered.push((flow.clone(), why)),
        }
    }
    let stand_in = population.stand_in();
    let seen = |i: usize| options.all || needs.touches(i);
    let theirs = |i: &usize| parties.all[*i].owners.iter().any(|owner| Some(owner) != stand_in);
    let governed: Vec<usize> = (0..parties.all.len()).filter(theirs).filter(|i| seen(*i)).collect();
    let governed_set: BTreeSet<usize> = governed.iter().copied().collect();
    for (i, party) in parties.all.iter().enumerate() {
        if !governed_set.contains(&i) && theirs(&i) {
            out.untouched.extend(party.owners.iter().cloned());
        } else if options.by == By::Workload && party.owners.len() > 1 && governed_set.contains(&i) {
            out.alike.push(party.owners.iter().cloned().collect());
        }
    }
    let policies: Vec<NetworkPolicy> = policy::policies(&parties, &governed, &needs, options);
    out.policies = policies.iter().map(|policy| yaml::written(policy, &parties)).collect();
    let proven = |written: &[Written]| -> Result<Vec<Policy>, GenerateError> {
        let read = yaml::read(written).map_err(GenerateError::Unreadable)?;
        proof::prove(population, &parties, &governed, &needs, (&read, options))
            .map_err(|witness| GenerateError::Disproved(Box::new(witness)))?;
        Ok(read)
    };
    let read = proven(&out.policies)?;
    if options.api != Api::NetworkPolicy {
        in_other_words(population, read, options.api, &mut out)?;
        proven(&out.policies)?;
    }
    Ok(out)
}

/// Takes the place of proven policies by those of another API.
fn in_other_words(
    population: &Population,
    proven: Vec<Policy>,
    api: Api,
    out: &mut Generated,
) -> Result<(), GenerateError> {
    let mut index = population.index().clone();
    for policy in &out.replaced {
        index.apply(Delta::PolicyRemoved(policy.clone()));
    }
    for policy in &proven {
        index.apply(Delta::Policy(Box::new(policy.clone())));
    }
    let converted = convert(&Source::of_rules(&index, proven, Vec::new()), api)?;
    let written = |one: &tortie_convert::Written| Written { object: one.object.clone(), yaml: one.plain().to_owned() };
    out.policies = converted.policies.iter().map(written).collect();
    out.to_themselves = converted.to_themselves;
    Ok(())
}
