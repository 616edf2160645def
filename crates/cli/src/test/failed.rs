//! Probes that did not do what was expected or predicted, sorted by what is the matter, each matter explained once.

use std::cell::OnceCell;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_analysis::edit::{Edit, NoEdit, Population};
use tortie_analysis::observation::{Answer, Kernel, Observation, StepReport};
use tortie_analysis::question::sender;
use tortie_analysis::rehearsal::{Asked, Scene};
use tortie_analysis::view::View;
use tortie_manifest::{Place, Store};

use super::Step;
use crate::explain::edit;
use crate::explain::flow::{Flow, OneLine, Reason};
use crate::terminal::{width, wrapped};

/// Probes that failed for one reason.
#[derive(Debug)]
pub(super) struct Cause {
    matter: Matter,
    /// The first probe, by its place in the step, with the smallest change that is told for it.
    first: (usize, Option<edit::Line>),
    /// What was expected and what was said.
    pub(super) answers: String,
    /// The probes, those of a pair together.
    pub(super) failed: Vec<Failed>,
    pub(super) told: Told,
}

/// Where a cause is explained.
#[derive(Debug)]
pub(super) enum Told {
    /// Both directions with who decides, and the smallest change where one is wanted, of the first pair.
    Here(String),
    /// With an earlier step of this name.
    Before(String),
    /// Nowhere: there are too many.
    Nowhere,
}

/// What makes failures the same although they are about different pairs.
#[derive(Debug, PartialEq, Eq)]
struct Matter {
    expected: Option<Answer>,
    engine: Answer,
    plan: Answer,
    /// Of packets, where they were sent; nothing for one that was lost.
    kernel: Option<Option<Answer>>,
    is_asked: bool,
    reason: Option<Reason>,
}

/// Probes of one pair that failed alike.
#[derive(Debug)]
pub(super) struct Failed {
    /// How many probes.
    pub(super) probes: usize,
    /// File and line of the expectation.
    pub(super) place: String,
    /// Who sends what to whom.
    pub(super) what: String,
    /// What was lost, and what the case says of it, a line each.
    pub(super) because: Vec<String>,
}

/// Causes of one case that are explained at most.
const EXPLAINED: usize = 10;

/// What failed in a step, by its causes; those that earlier steps explain are not explained again.
pub(super) fn causes(scene: &Scene, report: &StepReport, store: &Store, earlier: &[Step]) -> Vec<Cause> {
    let mut groups: Vec<(usize, Vec<(&Asked, &Observation)>)> = Vec::new();
    for (place, one) in scene.asked.iter().zip(&report.observations).enumerate().filter(|(_, (_, o))| !o.holds()) {
        match groups.iter_mut().find(|(_, g)| are_alike(g[0], one)) {
            Some((_, group)) => group.push(one),
            None => groups.push((place, vec![one])),
        }
    }
    let view = View { store, index: &scene.index };
    let population = OnceCell::new();
    let before: usize = earlier.iter().map(|s| s.causes.len()).sum();
    let mut found: Vec<Cause> = Vec::new();
    for (place, group) in groups {
        let (asked, o) = group[0];
        let flow = flow(scene, asked);
        let matter = Matter {
            expected: o.expected,
            engine: o.engine,
            plan: o.plan,
            kernel: o.kernel.as_ref().map(Kernel::answer),
            is_asked: asked.verdict.shortcut.is_none(),
            reason: flow.reason(),
        };
        let failed = of(&group);
        if let Some(cause) = found.iter_mut().find(|c| c.matter == matter) {
            cause.failed.push(failed);
            continue;
        }
        let step = earlier.iter().find(|s| s.causes.iter().any(|c| c.matter == matter && c.is_told_here()));
        let mut change = None;
        let told = match step {
            Some(step) => Told::Before(step.name.clone()),
            None if before + found.len() >= EXPLAINED => Told::Nowhere,
            None => {
                let mut text = flow.body(view);
                if (o.expected, o.engine) == (Some(Answer::Allow), Answer::Deny) {
                    let population = || population.get_or_init(|| Population::new(&scene.index));
                    let found = flow.edit(view, population);
                    text.push_str(&edit::text(&found));
                    text.push_str(&to_be_applied(&found, scene));
                    change = edit::line(&found);
                }
                Told::Here(text)
            }
        };
        found.push(Cause { matter, first: (place, change), answers: answers(o), failed: vec![failed], told });
    }
    found
}

/// A policy in a file of its own changes nothing before a case applies it.
fn to_be_applied(found: &Result<Edit, NoEdit>, scene: &Scene) -> String {
    let files = found.iter().flat_map(|edit| edit.patch.new_files()).map(|(name, _)| name.as_str());
    let files: Vec<&str> = files.collect();
    if files.is_empty() {
        return String::new();
    }
    let text = format!(
        "The case does not read {} yet: put it beside the case, and name it under `manifests`, or under `apply` of step `{}`.",
        files.join(" and "),
        scene.step
    );
    format!("\n{}\n", wrapped(&text, "  ", width()))
}

impl Cause {
    const fn is_told_here(&self) -> bool {
        matches!(self.told, Told::Here(_))
    }
}

/// A probe, as programs read it; one that failed with the reason.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line<'o> {
    #[serde(flatten)]
    observation: &'o Observation,
    /// Of a probe that failed, where it is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    expectation: Option<PlaceLine>,
    /// Of a probe that failed, who decides, and why. Of those that fail for one reason, the first has the smallest change
    /// that makes it what is expected, where that is to be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<OneLine>,
}

/// A place in a file.
#[derive(Serialize, JsonSchema)]
struct PlaceLine {
    /// The file.
    file: String,
    /// Line in it, from 1.
    line: usize,
}

/// All probes of a step. Takes what changes are told of its causes.
pub(super) fn lines<'o>(
    scene: &'o Scene,
    report: &'o StepReport,
    store: &'o Store,
    causes: &mut [Cause],
) -> Vec<Line<'o>> {
    let view = View { store, index: &scene.index };
    let probes = scene.asked.iter().zip(&report.observations).enumerate();
    let line = |(place, (asked, observation)): (usize, (&'o Asked, &'o Observation))| {
        if observation.holds() {
            return Line { observation, expectation: None, explanation: None };
        }
        let told = causes.iter_mut().find(|cause| cause.first.0 == place);
        let change = told.and_then(|cause| cause.first.1.take());
        let expectation = asked.place.as_ref().map(|p| PlaceLine { file: p.file.name().to_string(), line: p.line() });
        Line { observation, expectation, explanation: flow(scene, asked).one(view, change) }
    };
    probes.map(line).collect()
}

/// The packets of a probe to the first of those who may answer; the engine says the same of the others.
fn flow(scene: &Scene, asked: &Asked) -> Flow {
    let answerer = &asked.question.answerers[0];
    let from = sender(&scene.index, &asked.question);
    Flow::between(from, answerer.side.clone(), answerer.traffic, asked.verdict.clone())
}

fn are_alike((a, first): (&Asked, &Observation), (b, other): (&Asked, &Observation)) -> bool {
    let key = |o: &Observation| (o.from.clone(), o.to.clone(), o.via.clone(), o.expected, o.engine, o.plan);
    key(first) == key(other)
        && first.kernel == other.kernel
        && first.decided_by == other.decided_by
        && a.place.as_ref().map(at) == b.place.as_ref().map(at)
}

fn at(place: &Place) -> String {
    format!("{}:{}", place.file.name(), place.line())
}

fn of(group: &[(&Asked, &Observation)]) -> Failed {
    let (asked, o) = group[0];
    let listed = |text: &dyn Fn(&Observation) -> String, between: &str| {
        let mut seen: Vec<String> = Vec::new();
        for (_, o) in group {
            if !seen.contains(&text(o)) {
                seen.push(text(o));
            }
        }
        seen.join(between)
    };
    let pair = if o.to.starts_with("dns:") { o.from.clone() } else { format!("{} -> {}", o.from, o.to) };
    let via = if o.via == "service" { " through its Service" } else { "" };
    let probes = listed(&|o| o.probe.clone(), ", ");
    let families = listed(&|o| o.family.to_string(), " and ");
    let mut because = Vec::new();
    if let Some(Kernel::Lost { why }) = &o.kernel {
        because.push(why.clone());
    }
    because.extend(o.why.as_ref().map(|why| format!("the case says: {why}")));
    Failed {
        probes: group.len(),
        place: asked.place.as_ref().map(at).unwrap_or_default(),
        what: format!("{pair}  {probes}{via}  {families}"),
        because,
    }
}

fn answers(o: &Observation) -> String {
    let expected = o.expected.map_or("nothing", |e| e.as_str());
    let kernel = match &o.kernel {
        None => String::new(),
        Some(kernel) => format!(", kernel {}", kernel.answer().map_or("lost", |a| a.as_str())),
    };
    format!("expected {expected}, engine {}, plan {}{kernel}", o.engine, o.plan)
}
