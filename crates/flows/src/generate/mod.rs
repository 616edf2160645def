//! The least policies that allow recorded connections, and the proof that they are the least.
//!
//! ```text
//! connections ──▶ needs ──▶ policies ──▶ YAML ──▶ read again ──▶ proof
//!                  a peer and its ports,                          what the engine lets through equals the needs,
//!                  by workload and direction                      for every end and every packet
//! ```

mod needs;
mod party;
mod policy;
mod proof;
mod yaml;

use std::collections::BTreeSet;

use tortie_model::{IpProtocol, NetworkPolicy, ObjectRef};

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
}

/// Makes the least policies for recorded connections, and proves them.
///
/// # Errors
/// When the proof fails.
pub fn generate(population: &Population, recording: &Recording, options: Options) -> Result<Generated, GenerateError> {
    let parties = Parties::of(population);
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
    let theirs = |i: &usize| parties.all[*i].owners.iter().all(|owner| Some(owner) != stand_in);
    let governed: Vec<usize> = (0..parties.all.len()).filter(theirs).filter(|i| seen(*i)).collect();
    let governed_set: BTreeSet<usize> = governed.iter().copied().collect();
    for (i, party) in parties.all.iter().enumerate() {
        if !governed_set.contains(&i) && theirs(&i) {
            out.untouched.extend(party.owners.iter().cloned());
        } else if party.owners.len() > 1 && governed_set.contains(&i) {
            out.alike.push(party.owners.iter().cloned().collect());
        }
    }
    let policies: Vec<NetworkPolicy> = policy::policies(&parties, &governed, &needs);
    out.policies = policies.iter().map(|policy| yaml::written(policy, &parties)).collect();
    let read = yaml::read(&out.policies).map_err(GenerateError::Unreadable)?;
    proof::prove(population, &parties, &governed, &needs, &read)
        .map_err(|witness| GenerateError::Disproved(Box::new(witness)))?;
    Ok(out)
}
