//! Probes that did not do what was expected or predicted, with who decided and where all of it stands.

use tortie_analysis::observation::{DecidedBy, Kernel, Observation, StepReport};
use tortie_analysis::rehearsal::{Asked, Scene};
use tortie_manifest::{Place, Store};
use tortie_model::Direction;

/// Probes of one pair that failed alike.
#[derive(Debug)]
pub(super) struct Failed {
    /// How many probes.
    pub(super) probes: usize,
    /// File and line of the expectation.
    pub(super) place: String,
    /// Who sends what to whom.
    pub(super) what: String,
    /// What was expected and what was said.
    pub(super) answers: String,
    /// Why, a line each.
    pub(super) because: Vec<String>,
}

/// What failed in a step.
pub(super) fn failed(scene: &Scene, report: &StepReport, store: &Store) -> Vec<Failed> {
    let mut groups: Vec<Vec<(&Asked, &Observation)>> = Vec::new();
    for one in scene.asked.iter().zip(&report.observations).filter(|(_, o)| !o.holds()) {
        match groups.iter_mut().find(|g| are_alike(g[0], one)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups.iter().map(|group| of(group, store)).collect()
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

fn of(group: &[(&Asked, &Observation)], store: &Store) -> Failed {
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
    let expected = o.expected.map_or("nothing", |e| e.as_str());
    let kernel = match &o.kernel {
        None => String::new(),
        Some(kernel) => format!(", kernel {}", kernel.answer().map_or("lost", |a| a.as_str())),
    };
    let mut because = Vec::new();
    if let Some(Kernel::Lost { why }) = &o.kernel {
        because.push(why.clone());
    }
    because.extend(decided(asked, o, store));
    because.extend(o.why.as_ref().map(|why| format!("the case says: {why}")));
    Failed {
        probes: group.len(),
        place: asked.place.as_ref().map(at).unwrap_or_default(),
        what: format!("{pair}  {probes}{via}  {families}"),
        answers: format!("expected {expected}, engine {}, plan {}{kernel}", o.engine, o.plan),
        because,
    }
}

/// Who decided, in the engine's eyes.
fn decided(asked: &Asked, o: &Observation, store: &Store) -> Vec<String> {
    let mut lines = Vec::new();
    for (direction, rule) in [(Direction::Egress, &o.decided_by.egress), (Direction::Ingress, &o.decided_by.ingress)] {
        let half = asked.verdict.half(direction);
        match rule {
            Some(rule) => lines.push(by_rule(direction, rule)),
            None if !half.is_allowed() => {
                let policies: Vec<String> = half
                    .isolating()
                    .iter()
                    .map(|policy| match store.origin(policy) {
                        Some(origin) => format!("{policy}  {}", at(&origin.key_place("/metadata/name"))),
                        None => policy.to_string(),
                    })
                    .collect();
                lines.push(format!("no rule allows it; {direction} is isolated by {}", policies.join(", ")));
            }
            None => {}
        }
    }
    if lines.is_empty() {
        lines.push("no policy governs it".to_owned());
    }
    lines
}

fn by_rule(direction: Direction, rule: &DecidedBy) -> String {
    let namespace = rule.namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default();
    let place = match (&rule.file, rule.line) {
        (Some(file), Some(line)) => format!("  {file}:{line}"),
        _ => String::new(),
    };
    format!("decided by {direction}[{}] of {}/{namespace}{}{place}", rule.rule, rule.kind, rule.name)
}
