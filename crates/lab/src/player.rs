//! Plays a case with packets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tortie_analysis::observation::{Answer, Kernel, StepReport};
use tortie_analysis::rehearsal::{Asked, Rehearsal, RehearsalError, Scene, ground};
use tortie_manifest::Store;
use tortie_manifest::case::Case;
use tortie_model::Direction;
use tortie_node::{Cause, Denial, NodeOptions};

use crate::cluster::{Cluster, ClusterError};
use crate::observe::describe;
use crate::sandbox::Sandbox;
use crate::written::written;

/// What happens while a case is played.
#[derive(Debug)]
pub enum Event<'a> {
    /// The cluster of the first step is up.
    Booted {
        /// How many nodes.
        nodes: usize,
        /// How many pods.
        pods: usize,
        /// From nothing until every node enforces.
        took: Duration,
    },
    /// A step was applied and is in force; its probes are about to be sent.
    Applied {
        /// The scene.
        scene: &'a Scene,
        /// From the change until every node enforces it.
        took: Duration,
    },
    /// All probes of a step are over.
    Done {
        /// The scene.
        scene: &'a Scene,
        /// What they said.
        report: &'a StepReport,
        /// The objects as they are after the step.
        store: &'a Store,
        /// Time from the first packet to the last answer.
        took: Duration,
    },
}

/// Why a case could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The case cannot go on.
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    /// The lab failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What the kernels of nodes hold is not what the engine says. No packet was sent after that.
    #[error("step `{step}`: the kernel does not hold what it should:\n{}", findings.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n"))]
    Drift {
        /// The step.
        step: String,
        /// Each difference with its node: packets that the kernel judges otherwise come first.
        findings: Vec<String>,
    },
}

/// Faults put in between the change and the probes of a step, for tests.
pub type Fault<'a> = &'a mut dyn FnMut(&str, &mut Cluster) -> Result<(), ClusterError>;

/// Plays a case in a sandbox that was entered for it, and reports every step as it ends.
///
/// # Errors
/// [`PlayError`]. A probe that does not do what was expected is no error: the reports say so.
pub fn play(
    sandbox: &Sandbox,
    case: Arc<Case>,
    fault: Option<Fault<'_>>,
    on: impl FnMut(Event<'_>),
) -> Result<Vec<StepReport>, PlayError> {
    play_with(sandbox, case, NodeOptions::default(), fault, on)
}

/// As [`play`], with nodes that enforce with these options.
///
/// # Errors
/// As [`play`].
pub fn play_with(
    sandbox: &Sandbox,
    case: Arc<Case>,
    options: NodeOptions,
    fault: Option<Fault<'_>>,
    mut on: impl FnMut(Event<'_>),
) -> Result<Vec<StepReport>, PlayError> {
    let started = Instant::now();
    let mut fault = fault;
    let mut rehearsal = Rehearsal::new(case.clone());
    let mut cluster = Cluster::boot_with(sandbox, &ground(&case.cluster), options)?;
    let mut reports = Vec::new();
    let mut booted = false;
    let mut lost = 0;
    while let Some(scene) = rehearsal.next_scene()? {
        let changed = Instant::now();
        cluster.sync(scene.staged.clone())?;
        if !std::mem::replace(&mut booted, true) {
            let (nodes, pods) = (scene.staged.nodes.len(), scene.staged.world.pods.len());
            on(Event::Booted { nodes, pods, took: started.elapsed() });
        }
        verify(&mut cluster, &scene.step, rehearsal.store())?;
        on(Event::Applied { scene: &scene, took: changed.elapsed() });
        if let Some(fault) = &mut fault {
            fault(&scene.step, &mut cluster)?;
        }
        let sent = Instant::now();
        let mut report = observe(&mut cluster, &case.name, &scene)?;
        report.lost_records = records_lost(&cluster) - std::mem::replace(&mut lost, records_lost(&cluster));
        on(Event::Done { scene: &scene, report: &report, store: rehearsal.store(), took: sent.elapsed() });
        reports.push(report);
    }
    Ok(reports)
}

/// Compares what the kernels do with every packet with what the engine says, and what they hold with the plans.
fn verify(cluster: &mut Cluster, step: &str, store: &Store) -> Result<(), PlayError> {
    let found = cluster.verify_located(|path| Some(written(store, path).join(", ")).filter(|p| !p.is_empty()))?;
    let findings: Vec<String> = found.iter().map(|(node, finding)| format!("node {node}: {finding}")).collect();
    if findings.is_empty() { Ok(()) } else { Err(PlayError::Drift { step: step.to_owned(), findings }) }
}

fn observe(cluster: &mut Cluster, case: &str, scene: &Scene) -> Result<StepReport, PlayError> {
    let questions: Vec<_> = scene.asked.iter().map(|a| &a.question).collect();
    let sightings = cluster.observe(&questions)?;
    let observations = scene.asked.iter().zip(sightings).map(|(asked, sighting)| {
        let plan = asked.answer_of(&scene.index, |from, to, traffic| cluster.plan_passes(from, to, traffic));
        let kernel = attributed(asked, sighting.kernel, sighting.denial.as_ref());
        asked.observed(case, &scene.step, plan, Some(kernel), sighting.ms)
    });
    let observations = observations.collect();
    let (case, step, actions) = (case.to_owned(), scene.step.clone(), scene.actions.clone());
    Ok(StepReport { case, step, actions, observations, lost_records: 0 })
}

fn records_lost(cluster: &Cluster) -> u64 {
    cluster.lost().values().map(|lost| lost.records).sum()
}

/// A drop counts as the denial that the engine predicts only if it was made by what the engine says denies.
fn attributed(asked: &Asked, kernel: Kernel, denial: Option<&Denial>) -> Kernel {
    let (Kernel::Deny, Some(denial)) = (&kernel, denial) else { return kernel };
    let Cause::Policy { direction, meaning: Some(meaning), .. } = &denial.cause else { return kernel };
    let verdict = &asked.verdict;
    if Answer::from(verdict.is_allowed()) == Answer::Allow {
        return kernel;
    }
    let denying = if verdict.egress.is_allowed() { Direction::Ingress } else { Direction::Egress };
    let predicted = verdict.half(denying).decided_by();
    if *direction == denying && meaning.path.rule() == predicted.as_ref() {
        kernel
    } else {
        Kernel::Lost { why: format!("dropped, but not by what the engine says: {}", describe(denial)) }
    }
}
