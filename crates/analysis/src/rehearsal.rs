//! A case played without packets: what each step makes of the cluster, what is then asked, and what engine and plan
//! answer. The lab plays the same scenes and adds what the packets did.

use std::sync::Arc;

use tortie_manifest::case::Cell;
use tortie_manifest::case::{Case, ClusterSpec, Endpoint, Endpoints, Probe, Verdict as Wanted, Via};
use tortie_manifest::{Diagnostic, ObjectSet, Place, Store};
use tortie_model::{Direction, Family, ObjectRef, Protocol, Traffic};
use tortie_policy::{FlowVerdict, Half, Index, RuleRef, Side};

use crate::address::Families;
use crate::observation::{Answer, DecidedBy, Decisions, Kernel, Observation, StepReport};
use crate::passage::Imagined;
use crate::question::{Answerer, Question, QuestionError, question, sender};
use crate::staging::{Ground, OutsideHost, Staged, Stager, StagingError};

/// A case in the middle of being played.
#[derive(Debug)]
pub struct Rehearsal {
    case: Arc<Case>,
    store: Store,
    stager: Stager,
    next: usize,
}

/// The cluster after a step, and what is asked of it.
#[derive(Debug)]
pub struct Scene {
    /// Name of the step.
    pub step: String,
    /// What the step changed, in words.
    pub actions: Vec<String>,
    /// What the cluster consists of.
    pub staged: Staged,
    /// The cluster as policies see it.
    pub index: Index,
    /// The probes, each family by itself.
    pub asked: Vec<Asked>,
}

/// One probe with what is known before it is sent.
#[derive(Debug)]
pub struct Asked {
    /// The packets.
    pub question: Question,
    /// What the case expects; `None` when it does not say.
    pub expected: Option<Answer>,
    /// Why, in the case's own words.
    pub why: Option<Arc<str>>,
    /// Where the case says so.
    pub place: Option<Place>,
    /// What the engine says, for the first of those who may answer; the others agree.
    pub verdict: FlowVerdict,
    /// Who decides, with the places of the rules.
    pub decided_by: Decisions,
}

/// Why a case cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// A step names what is not there, or a line matches nothing.
    #[error("the case cannot be played as it is written")]
    Case(Vec<Diagnostic>),
    /// The objects cannot be placed.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// A probe cannot be sent as it is written.
    #[error(transparent)]
    Unaskable(#[from] Box<Unaskable>),
}

/// A probe that cannot be sent as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step `{step}`: {from} -> {to}, {probe}: {why}")]
pub struct Unaskable {
    /// The step.
    pub step: String,
    /// Who would send.
    pub from: String,
    /// Who would be reached.
    pub to: String,
    /// What would be sent.
    pub probe: String,
    /// Why not.
    pub why: Unasked,
}

/// Why a probe cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// It cannot be turned into packets.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// The answer would depend on which pod the Service chooses.
    #[error("policy treats the pods behind the Service differently; ask them one by one")]
    Mixed,
}

impl Rehearsal {
    /// A case before its first step.
    #[must_use]
    pub fn new(case: Arc<Case>) -> Self {
        Self { store: case.store(), stager: Stager::new(ground(&case.cluster)), next: 0, case }
    }

    /// The case.
    #[must_use]
    pub fn case(&self) -> &Arc<Case> {
        &self.case
    }

    /// Plays the next step; `None` after the last.
    ///
    /// # Errors
    /// When the case cannot go on.
    pub fn next_scene(&mut self) -> Result<Option<Scene>, RehearsalError> {
        let case = self.case.clone();
        let Some(step) = case.steps.get(self.next) else { return Ok(None) };
        self.next += 1;
        step.change(&mut self.store).map_err(|d| RehearsalError::Case(vec![*d]))?;
        let mut objects = self.store.state();
        objects.add_cluster_dns();
        let staged = self.stager.stage(&objects)?;
        let index = staged.index();
        let endpoints = Endpoints::of(&objects, &case.cluster);
        let mut asked = Vec::new();
        for expectation in &step.expect {
            for cell in expectation.resolve(&endpoints).map_err(RehearsalError::Case)? {
                let expected = Some(wanted(cell.expected));
                self.ask(&step.name, &staged, &index, cell, expected, &mut asked)?;
            }
        }
        if case.steps.iter().all(|s| s.expect.is_empty()) {
            let place = case.base.objects.first().map(|o| o.origin.place(""));
            for cell in place.map(|place| survey(&objects, &place)).unwrap_or_default() {
                self.ask(&step.name, &staged, &index, cell, None, &mut asked)?;
            }
        }
        let mut actions: Vec<String> = step.apply.iter().map(|o| format!("apply {}", o.object.reference())).collect();
        actions.extend(step.delete.iter().map(|(o, _)| format!("delete {o}")));
        actions.extend(step.label.iter().map(|l| format!("label {}", l.object)));
        Ok(Some(Scene { step: step.name.clone(), actions, staged, index, asked }))
    }

    fn ask(
        &self,
        step: &str,
        staged: &Staged,
        index: &Index,
        cell: Cell,
        expected: Option<Answer>,
        asked: &mut Vec<Asked>,
    ) -> Result<(), RehearsalError> {
        let unaskable = |why: Unasked| {
            let to = cell.to.as_ref().map_or_else(String::new, ToString::to_string);
            Box::new(Unaskable {
                step: step.to_owned(),
                from: cell.from.to_string(),
                to,
                probe: cell.probe.to_string(),
                why,
            })
        };
        let mut without = None;
        let before = asked.len();
        for family in &self.case.cluster.families {
            let question = match question(staged, index, &cell, *family) {
                Ok(question) => question,
                Err(e @ QuestionError::NoAddress(..)) => {
                    without = Some(e);
                    continue;
                }
                Err(e) => return Err(unaskable(e.into()).into()),
            };
            let mut verdicts = question.answerers.iter().map(|a| question.verdict(index, a));
            let verdict = verdicts.next().expect("somebody answers every question");
            if verdicts.any(|v| v.is_allowed() != verdict.is_allowed()) {
                return Err(unaskable(Unasked::Mixed).into());
            }
            let decided_by = Decisions {
                egress: verdict.egress.decided_by().map(|r| self.located(&r)),
                ingress: verdict.ingress.decided_by().map(|r| self.located(&r)),
                isolated: Direction::BOTH.map(|d| (d, self.isolating(verdict.half(d)))).into(),
            };
            let (why, place) = (cell.why.clone(), Some(cell.place.clone()));
            asked.push(Asked { question, expected, why, place, verdict, decided_by });
        }
        match without.filter(|_| asked.len() == before && expected.is_some()) {
            Some(e) => Err(unaskable(e.into()).into()),
            None => Ok(()),
        }
    }

    /// The policies that deny without a rule, with their places; none where a rule decides, or where it is allowed.
    fn isolating(&self, half: &Half) -> Vec<String> {
        let denies = !half.is_allowed() && half.decided_by().is_none();
        let policies = half.isolating().into_iter().filter(|_| denies);
        let place = |policy: &ObjectRef| self.store.origin(policy).map(|o| o.key_place("/metadata/name"));
        let placed = |policy: ObjectRef| match place(&policy) {
            Some(place) => format!("{policy} ({}:{})", place.file.name(), place.line()),
            None => policy.to_string(),
        };
        policies.map(placed).collect()
    }

    /// A rule with its place in the files.
    fn located(&self, rule: &RuleRef) -> DecidedBy {
        let origin = self.store.origin(&rule.policy);
        let place = origin.map(|o| o.place(&format!("/spec/{}/{}", rule.direction, rule.index)));
        DecidedBy {
            kind: rule.policy.kind.to_string(),
            namespace: rule.policy.namespace.as_ref().map(ToString::to_string),
            name: rule.policy.name.to_string(),
            rule: rule.index,
            file: place.as_ref().map(|p| p.file.name().to_string()),
            line: place.as_ref().map(Place::line),
        }
    }

    /// Where an object of the cluster was read.
    #[must_use]
    pub fn place_of(&self, object: &ObjectRef) -> Option<Place> {
        self.store.origin(object).map(|o| o.place(""))
    }

    /// The objects as they are now.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

impl Asked {
    /// The whole line of output. `plan` is what the plan says, `kernel` what the packets did.
    #[must_use]
    pub fn observed(
        &self,
        case: &str,
        step: &str,
        plan: Answer,
        kernel: Option<Kernel>,
        ms: Option<f64>,
    ) -> Observation {
        Observation {
            case: case.to_owned(),
            step: step.to_owned(),
            family: self.question.family,
            from: self.question.from.to_string(),
            to: self.question.to.as_ref().map_or_else(|| self.question.probe.to_string(), ToString::to_string),
            probe: self.question.probe.to_string(),
            via: self.question.via.as_str().to_owned(),
            expected: self.expected,
            engine: self.verdict.is_allowed().into(),
            plan,
            kernel,
            decided_by: self.decided_by.clone(),
            ms,
            why: self.why.as_ref().map(ToString::to_string),
        }
    }

    /// What something says that decides one flow at a time, for all who may answer; they agree where the engine does.
    pub fn answer_of(&self, index: &Index, mut passes: impl FnMut(&Side, &Side, Traffic) -> bool) -> Answer {
        let from = sender(index, &self.question);
        let engine = self.verdict.is_allowed();
        let answer = |a: &Answerer| self.question.stays_within(index, a) || passes(&from, &a.side, a.traffic);
        let answers: Vec<bool> = self.question.answerers.iter().map(answer).collect();
        // One that disagrees with the engine is the one to show.
        answers.into_iter().find(|a| *a != engine).unwrap_or(engine).into()
    }
}

/// Plays a case in memory: what engine and plan say. `on` sees every step as it ends, with the objects as they are then.
///
/// # Errors
/// When the case cannot go on. A probe that does not do what was expected is no error: the reports say so.
pub fn rehearse(
    case: &Arc<Case>,
    mut on: impl FnMut(&Scene, &StepReport, &Store),
) -> Result<Vec<StepReport>, RehearsalError> {
    let mut rehearsal = Rehearsal::new(case.clone());
    let mut plans = Imagined::default();
    let mut reports = Vec::new();
    while let Some(scene) = rehearsal.next_scene()? {
        plans.advance(&scene.staged, &scene.index);
        let observed = scene.asked.iter().map(|asked| {
            let plan = asked.answer_of(&scene.index, |from, to, traffic| plans.passes(from, to, traffic));
            asked.observed(&case.name, &scene.step, plan, None, None)
        });
        let observations = observed.collect();
        let (step, actions) = (scene.step.clone(), scene.actions.clone());
        let report = StepReport { case: case.name.clone(), step, actions, observations, lost_records: 0 };
        on(&scene, &report, rehearsal.store());
        reports.push(report);
    }
    Ok(reports)
}

/// The ground that a case asks for.
#[must_use]
pub fn ground(cluster: &ClusterSpec) -> Ground {
    let families = match (cluster.families.contains(&Family::V4), cluster.families.contains(&Family::V6)) {
        (true, false) => Families::Ipv4,
        (false, true) => Families::Ipv6,
        _ => Families::Dual,
    };
    let outside = cluster.outside.iter().map(|h| OutsideHost {
        name: h.name.to_string(),
        // As of a node: of a host with both, a cluster of one family sees one address.
        addresses: h.addresses.iter().copied().filter(|ip| families.have(*ip)).collect(),
        dns: h.dns.iter().map(ToString::to_string).collect(),
    });
    Ground { nodes: u16::try_from(cluster.nodes).unwrap_or(u16::MAX), families, outside: outside.collect() }
}

const fn wanted(verdict: Wanted) -> Answer {
    match verdict {
        Wanted::Allow => Answer::Allow,
        Wanted::Deny => Answer::Deny,
    }
}

/// More pairs than this are surveyed by one pod of each workload.
const MOST_PAIRS: usize = 1600;
/// The ports that are tried where no pod declares one.
const USUAL: [Probe; 2] = [Probe::Port(Protocol::Tcp, 80), Probe::Port(Protocol::Udp, 53)];
/// The most kinds of probes of a survey, ping aside.
const MOST_PORTS: usize = 4;

/// What is tried where nobody says what to expect: everybody pings everybody, and tries the ports that are declared most.
///
/// `place` stands for the input as a whole.
fn survey(objects: &ObjectSet, place: &Place) -> Vec<Cell> {
    let mut pods: Vec<_> = objects
        .pods
        .iter()
        .filter(|p| !p.host_network && &*p.meta.namespace != crate::staging::DNS_NAMESPACE)
        .collect();
    if pods.len() * pods.len() > MOST_PAIRS {
        let mut seen = std::collections::BTreeSet::new();
        pods.retain(|p| p.owner.is_none() || seen.insert(p.owner.clone()));
    }
    let mut count = std::collections::BTreeMap::<(Protocol, u16), usize>::new();
    for port in pods.iter().flat_map(|p| &p.ports) {
        *count.entry((port.protocol, port.number)).or_default() += 1;
    }
    let mut ports: Vec<_> = count.into_iter().collect();
    ports.sort_by_key(|(port, n)| (std::cmp::Reverse(*n), *port));
    let mut probes = vec![Probe::Ping];
    probes.extend(ports.into_iter().take(MOST_PORTS).map(|((protocol, port), _)| Probe::Port(protocol, port)));
    if probes.len() == 1 {
        probes.extend(USUAL);
    }
    let endpoint =
        |p: &tortie_model::Pod| Endpoint::Pod { namespace: p.meta.namespace.clone(), name: p.meta.name.clone() };
    let mut cells = Vec::new();
    for from in &pods {
        for to in pods.iter().filter(|to| to.key() != from.key()) {
            for probe in &probes {
                let listens = match probe {
                    Probe::Port(protocol, port) => {
                        to.ports.is_empty() || to.ports.iter().any(|p| (p.protocol, p.number) == (*protocol, *port))
                    }
                    _ => true,
                };
                if !listens {
                    continue;
                }
                cells.push(Cell {
                    from: endpoint(from),
                    to: Some(endpoint(to)),
                    probe: probe.clone(),
                    via: Via::Pod,
                    expected: Wanted::Allow,
                    why: None,
                    place: place.clone(),
                });
            }
        }
    }
    cells
}
