//! What the nodes of a lab hold, with names, and with the places of the policies that packets miss.

use std::time::{Duration, SystemTime};

use tortie_model::Family;
use tortie_node::{Blame, Difference, Proof, Verified, Witness};

use super::archive::Archive;
use super::flows::Names;
use crate::control::{BlameLine, DryRunVerified, NodeVerified, PolicyPlace, WitnessLine};

/// One node.
pub(crate) fn report(
    node: &str,
    verified: &Verified,
    mended: Vec<String>,
    took: Duration,
    names: &Names,
    archive: &Archive,
) -> NodeVerified {
    let proof = verified.proof.as_ref();
    let extent = proof.map(|p| p.extent).unwrap_or_default();
    let unfollowed = |p: &Proof| p.odd.iter().map(|(chain, rule)| format!("chain {chain}, rule {rule}")).collect();
    NodeVerified {
        node: node.to_owned(),
        holds: verified.holds(),
        endpoints: extent.endpoints,
        regions: extent.regions,
        ms: (took.as_secs_f64() * 1e6).round() / 1e3,
        witnesses: proof.iter().flat_map(|p| &p.witnesses).map(|w| witness(w, names, archive)).collect(),
        unfollowed: proof.map(unfollowed).unwrap_or_default(),
        differences: verified.differences.iter().map(Difference::to_string).collect(),
        mended,
        dry_run: None,
    }
}

/// What a node says of packets without judging them.
pub(crate) fn dry_run(verified: &Verified) -> DryRunVerified {
    let regions = verified.proof.as_ref().map_or(0, |proof| proof.extent.regions);
    DryRunVerified { holds: verified.holds(), regions, findings: verified.findings() }
}

fn witness(witness: &Witness, names: &Names, archive: &Archive) -> WitnessLine {
    let answer = |passes: bool| if passes { "allow" } else { "deny" }.to_owned();
    WitnessLine {
        from: names.name(witness.from),
        to: names.name(witness.to),
        family: Family::of(witness.from).to_string(),
        traffic: witness.traffic_words(),
        packet: witness.kind(),
        engine: answer(witness.passes),
        why: witness.why.clone(),
        kernel: witness.kernel_passes().map_or_else(|| "none".to_owned(), answer),
        decided_at: witness.decided.as_ref().map(|(chain, rule)| format!("chain {chain}, rule {rule}")),
        blame: witness.blame.iter().flatten().map(|one| blame(one, archive)).collect(),
    }
}

fn blame(blame: &Blame, archive: &Archive) -> BlameLine {
    let now = SystemTime::now();
    let policies = |path: &tortie_plan::Path| -> Vec<PolicyPlace> {
        match path.rule() {
            Some(rule) => vec![archive.rule(rule, now)],
            None => path.isolating.iter().map(|policy| archive.policy(policy, now)).collect(),
        }
    };
    BlameLine { text: blame.text.clone(), policies: blame.decides.as_deref().map(policies).unwrap_or_default() }
}
