//! One flow with its verdict, as text and as JSON.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use tortie_model::{Direction, Family, ObjectRef, Traffic};
use tortie_policy::{By, FlowVerdict, Half, PairVerdict, RuleRef, Side};

use super::end::End;
use super::excerpt::excerpt;
use super::json::{HalfLine, ShortcutLine, decided_by};
use super::port::{Asked, PortError};
use super::{edit, region, tiers, words};
use crate::terminal::{ALLOW, DENY, FAINT, STRONG, fitted, styled, width};
use tortie_analysis::edit::{Edit, NoEdit, Population, minimal};
use tortie_analysis::observation::DecidedBy;
use tortie_analysis::snapshot::Snapshot;
use tortie_analysis::view::View;

/// A question and its answer.
pub(crate) struct Flow {
    from: End,
    to: End,
    pub(super) from_side: Side,
    pub(super) to_side: Side,
    family: Option<Family>,
    /// As it was asked, with a port's name rather than its number.
    asked: Asked,
    /// The Service that it goes through.
    via: Option<String>,
    answer: Answer,
}

enum Answer {
    One(Traffic, Box<FlowVerdict>),
    All(Box<PairVerdict>),
}

/// What makes two answers the same although they are about different pods: egress, then ingress.
pub(crate) type Reason = [HalfReason; 2];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HalfReason {
    allowed: bool,
    isolating: Vec<ObjectRef>,
    decided_by: Option<RuleRef>,
    nearest: Option<RuleRef>,
}

impl Flow {
    pub(crate) fn ask(
        snapshot: &Snapshot,
        from: &End,
        to: &End,
        family: Option<Family>,
        asked: &Asked,
        via: Option<&str>,
    ) -> Result<Self, PortError> {
        let side = |end: &End| end.side(snapshot, family).expect("it has a side in each of its families");
        let (from_side, to_side) = (side(from), side(to));
        let answer = match asked.traffic(to, family)? {
            Some(traffic) => {
                let index = &snapshot.index;
                let verdict = match via {
                    Some(_) => index.verdict_by_service(&from_side, &to_side, traffic),
                    None => index.verdict(&from_side, &to_side, traffic),
                };
                Answer::One(traffic, Box::new(verdict))
            }
            None => Answer::All(Box::new(snapshot.index.pair(&from_side, &to_side))),
        };
        let (from, to, asked, via) = (from.clone(), to.clone(), asked.clone(), via.map(str::to_owned));
        Ok(Self { from, to, from_side, to_side, family, asked, via, answer })
    }

    /// One packet between ends that are known already.
    pub(crate) fn between(from_side: Side, to_side: Side, traffic: Traffic, verdict: FlowVerdict) -> Self {
        let asked = traffic.protocol.transport().map_or(Asked::Ping, |p| Asked::Port(p, traffic.detail));
        let (from, to) = (End::of(&from_side), End::of(&to_side));
        let family = from_side.ip().map(Family::of);
        Self { from, to, from_side, to_side, family, asked, via: None, answer: Answer::One(traffic, Box::new(verdict)) }
    }

    pub(super) fn end(&self, direction: Direction) -> &End {
        match direction {
            Direction::Egress => &self.from,
            Direction::Ingress => &self.to,
        }
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Egress => &self.from_side,
            Direction::Ingress => &self.to_side,
        }
    }

    /// The end as it is named, and whose an address is.
    pub(super) fn name(&self, direction: Direction) -> String {
        let side = self.side(direction);
        let name = self.end(direction).name();
        match (self.end(direction), side.pod(), side.node()) {
            (End::Address(_), Some(pod), _) => format!("{name} ({})", pod.key()),
            (End::Address(_), None, Some(node)) => format!("{name} (node/{})", node.meta.name),
            _ => name,
        }
    }

    /// Why no policy governs an end.
    pub(super) fn ungoverned(&self, direction: Direction) -> String {
        if self.via.is_some() && self.from_side.is_same_pod(&self.to_side) {
            return "no NetworkPolicy keeps a pod from itself".to_owned();
        }
        words::ungoverned(self.end(direction), self.side(direction), direction)
    }

    /// The other end, as the policies of a direction see it.
    fn peer(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Egress => &self.to_side,
            Direction::Ingress => &self.from_side,
        }
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        let Answer::One(_, verdict) = &self.answer else { return None };
        let half = |d: Direction| {
            let half = verdict.half(d);
            HalfReason {
                allowed: half.is_allowed(),
                isolating: half.isolating(),
                decided_by: half.decided_by(),
                nearest: half.nearest.as_ref().map(|n| n.rule.clone()),
            }
        };
        Some(Direction::BOTH.map(half))
    }

    /// The pair and the port, without family.
    fn subject(&self) -> String {
        let mut out = format!("{} -> {}", self.name(Direction::Egress), self.name(Direction::Ingress));
        if self.asked != Asked::Everything {
            let _ = write!(out, "  {}", self.asked);
        }
        if let Some(service) = &self.via {
            let _ = write!(out, "  behind Service {service}");
        }
        out
    }

    /// Everything below the headline.
    pub(crate) fn body(&self, view: View<'_>) -> String {
        let text = match &self.answer {
            Answer::One(_, verdict) => match verdict.shortcut {
                Some(shortcut) => format!("  {}\n", words::shortcut(shortcut, self.via.is_some())),
                None => Direction::BOTH.map(|d| self.half(view, verdict.half(d))).concat(),
            },
            Answer::All(pair) => match pair.shortcut {
                Some(shortcut) => format!("  {}\n", words::shortcut(shortcut, self.via.is_some())),
                None => region::text(view, self, pair),
            },
        };
        fitted(&text, width())
    }

    fn half(&self, view: View<'_>, half: &Half) -> String {
        let direction = half.stack.direction();
        let end = self.end(direction);
        let verdict = if half.is_allowed() { styled(ALLOW, "allowed") } else { styled(DENY, "denied") };
        let mut out = format!("\n  {} of {}: {verdict}", styled(STRONG, direction), self.name(direction));
        let policies = half.isolating();
        if policies.is_empty() {
            let _ = writeln!(out, ", {}", self.ungoverned(direction));
            return out;
        }
        let in_tiers = tiers::matter(&half.stack);
        match (half.decided_by(), half.outcome.by) {
            (Some(rule), _) => {
                let _ = writeln!(out, " by {}", words::rule_name(&rule));
                out.push_str(&cited(view, &rule));
            }
            (None, By::EndOfTier(tier)) if in_tiers => {
                let _ = writeln!(out, " at the end of tier {}", half.stack.tiers()[tier].name);
            }
            (None, By::Profile) => {
                let _ = writeln!(out, ", every tier passes it on");
            }
            (None, _) => {
                let _ = writeln!(out, ": {} selected by {}, and no rule allows it", who(end), many(policies.len()));
            }
        }
        if in_tiers {
            out.push_str(&tiers::text(view, half));
        } else {
            let _ = writeln!(out, "    isolated by");
            for policy in &policies {
                let _ = writeln!(out, "      {policy}{}", place(view, policy));
            }
        }
        match &half.nearest {
            Some(miss) => {
                let _ =
                    writeln!(out, "    the nearest rule is {}; it would allow this, but", words::rule_name(&miss.rule));
                for line in words::near_miss(half, miss, self.peer(direction)) {
                    let _ = writeln!(out, "      - {line}");
                }
                out.push_str(&cited(view, &miss.rule));
            }
            None if !half.is_allowed() && half.stack.rules().next().is_none() => {
                let _ = writeln!(out, "    none of them has a rule for {direction}: they allow nothing");
            }
            None => {}
        }
        if direction == Direction::Egress && !half.is_allowed() && self.to_side.node().is_some() {
            let _ = writeln!(out, "    {}", words::STRICTER_TO_NODES);
        }
        out
    }

    /// The smallest change that would let it through.
    pub(crate) fn edit<'p>(&self, view: View<'_>, population: impl FnOnce() -> &'p Population) -> Result<Edit, NoEdit> {
        match &self.answer {
            Answer::One(traffic, verdict) if !verdict.is_allowed() => {
                minimal(view, population(), &self.from_side, &self.to_side, *traffic)
            }
            _ => Err(NoEdit::Allowed),
        }
    }

    /// The answer for one packet, for programs; nothing where everything was asked.
    pub(crate) fn one(&self, view: View<'_>, edit: Option<edit::Line>) -> Option<OneLine> {
        let Answer::One(_, verdict) = &self.answer else { return None };
        Some(self.explained(view, verdict, edit))
    }

    fn explained(&self, view: View<'_>, verdict: &FlowVerdict, edit: Option<edit::Line>) -> OneLine {
        let half = |d: Direction| {
            let half = verdict.half(d);
            let nearest = half.nearest.as_ref().map(|miss| NearestLine {
                rule: decided_by(view, &miss.rule),
                misses: words::near_miss(half, miss, self.peer(d)),
            });
            ExplainedHalf { half: HalfLine::of(view, half), nearest }
        };
        OneLine {
            allowed: verdict.is_allowed(),
            shortcut: verdict.shortcut.map(ShortcutLine::from),
            egress: half(Direction::Egress),
            ingress: half(Direction::Ingress),
            edit,
        }
    }

    /// For programs.
    pub(crate) fn line(&self, snapshot: &Snapshot) -> Line {
        let edit = || edit::line(&self.edit(View::from(snapshot), || snapshot.population()));
        Line {
            from: self.from.name(),
            to: self.to.name(),
            family: self.family.map(Family::as_str),
            probe: self.asked.to_string(),
            via: if self.via.is_some() { "service" } else { "pod" },
            answer: self.answer(View::from(snapshot), edit),
            staged: None,
        }
    }

    /// The same, with what would be if all that is staged were enforced. What would allow it then is not looked for.
    pub(super) fn line_with(&self, snapshot: &Snapshot, previewed: &Snapshot, staged: &Self) -> Line {
        Line { staged: Some(staged.answer(previewed.into(), || None)), ..self.line(snapshot) }
    }

    fn answer(&self, view: View<'_>, edit: impl FnOnce() -> Option<edit::Line>) -> AnswerLine {
        match &self.answer {
            Answer::One(_, verdict) => AnswerLine::One(Box::new(self.explained(view, verdict, edit()))),
            Answer::All(pair) => {
                AnswerLine::All { shortcut: pair.shortcut.map(ShortcutLine::from), regions: region::lines(view, pair) }
            }
        }
    }
}

/// A question and its answer, as programs read them.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line {
    /// Who opens the connection.
    from: String,
    /// Who is reached.
    to: String,
    /// `IPv4` or `IPv6`; null where neither end has an address.
    family: Option<&'static str>,
    /// What is asked: `TCP/80`, `ping`, a port by name, or everything.
    probe: String,
    /// `service` where it was asked of a Service, or else `pod`.
    via: &'static str,
    #[serde(flatten)]
    answer: AnswerLine,
    /// The answer if all that is staged were enforced, with --staged.
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<AnswerLine>,
}

/// What is answered.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum AnswerLine {
    /// Of one port.
    One(Box<OneLine>),
    /// Of everything.
    All {
        /// Why policies were not asked, where they were not.
        shortcut: Option<ShortcutLine>,
        /// Packets by what decides them; together all of them.
        regions: Vec<region::Line>,
    },
}

/// The answer for one port.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OneLine {
    /// Whether it gets through.
    allowed: bool,
    /// Why policies were not asked, where they were not.
    shortcut: Option<ShortcutLine>,
    /// What policies say at the source.
    egress: ExplainedHalf,
    /// What they say at the destination.
    ingress: ExplainedHalf,
    /// The smallest change that allows it; null where it is allowed, or none does.
    edit: Option<edit::Line>,
}

/// What one direction says, and what would almost have allowed it.
#[derive(Serialize, JsonSchema)]
struct ExplainedHalf {
    #[serde(flatten)]
    half: HalfLine,
    /// The rule that came nearest, where none matched.
    nearest: Option<NearestLine>,
}

/// A rule that would allow a packet, but for something.
#[derive(Serialize, JsonSchema)]
struct NearestLine {
    /// The rule.
    rule: DecidedBy,
    /// What keeps it from matching, in words.
    misses: Vec<String>,
}

/// A rule's place and text.
pub(super) fn cited(view: View<'_>, rule: &RuleRef) -> String {
    let Some(place) = view.place_of_rule(rule) else { return String::new() };
    let at = styled(FAINT, format_args!("{}:{}", place.file.name(), place.line()));
    let text = view.text_of_rule(rule).map(|p| excerpt(&p, 6)).unwrap_or_default();
    format!("    {at}\n{text}")
}

/// Where an object is, for the end of a line.
pub(super) fn place(view: View<'_>, object: &ObjectRef) -> String {
    let place = view.place_of(object).map(|p| format!("  {}:{}", p.file.name(), p.line()));
    styled(FAINT, place.unwrap_or_default()).to_string()
}

fn who(end: &End) -> &'static str {
    match end {
        End::Pod(_) => "the pod is",
        End::Node(_) | End::Address(_) => "it is",
    }
}

fn many(policies: usize) -> String {
    if policies == 1 { "one policy".to_owned() } else { format!("{policies} policies") }
}

/// All answers with what would change them.
pub(crate) fn text(snapshot: &Snapshot, flows: &[Flow]) -> String {
    let view = View::from(snapshot);
    answers(view, &flows.iter().collect::<Vec<_>>(), |flow| edit::text(&flow.edit(view, || snapshot.population())))
}

/// Answers, each with its end: families that agree together, pairs that are decided alike told once.
pub(super) fn answers(view: View<'_>, flows: &[&Flow], end: impl Fn(&Flow) -> String) -> String {
    // Families first: neighbours with the same subject and the same text.
    let mut told: Vec<(Vec<&Flow>, String)> = Vec::new();
    for &flow in flows {
        let body = flow.body(view);
        match told.iter_mut().find(|(flows, text)| flows[0].subject() == flow.subject() && *text == body) {
            Some((flows, _)) => flows.push(flow),
            None => told.push((vec![flow], body)),
        }
    }
    // Then pairs: the same reason, told of the first.
    let mut groups: Vec<(Vec<Vec<&Flow>>, String)> = Vec::new();
    for (flows, body) in told {
        let alike = |first: &[&Flow]| {
            let same = |a: &Flow, b: &Flow| a.family == b.family && a.asked == b.asked && a.reason() == b.reason();
            flows[0].reason().is_some() && first.len() == flows.len() && same(first[0], flows[0])
        };
        match groups.iter_mut().find(|(members, _)| alike(&members[0])) {
            Some((members, _)) => members.push(flows),
            None => groups.push((vec![flows], body)),
        }
    }
    let mut out = String::new();
    for (i, (members, body)) in groups.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let first = &members[0];
        let families: Vec<&str> = first.iter().filter_map(|f| f.family).map(Family::as_str).collect();
        let verdict = match &first[0].answer {
            Answer::One(_, v) if v.is_allowed() => format!("{}  ", styled(ALLOW.bold(), "ALLOWED")),
            Answer::One(..) => format!("{}  ", styled(DENY.bold(), "DENIED")),
            Answer::All(_) => String::new(),
        };
        let families = match families.is_empty() {
            true => String::new(),
            false => format!("  {}", styled(FAINT, families.join(" and "))),
        };
        let _ = writeln!(out, "{verdict}{}{families}", styled(STRONG, first[0].subject()));
        out.push_str(body);
        out.push_str(&end(first[0]));
        if members.len() > 1 {
            let _ = writeln!(out, "\n  decided alike, by the same rules:");
            for member in &members[1..] {
                let _ = writeln!(out, "    {}", member[0].subject());
            }
        }
    }
    out
}
