//! `tortie lab flows`.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tortie_lab::control::{
    Connection, Decision, DryRunFlow, FlowLine, FlowReport, LostLine, PolicyPlace, Reply, Request,
};

use super::arguments::Flows;
use super::lost;
use super::remote::unexpected;
use crate::arguments::Format;
use crate::failure::{Failure, Outcome};
use crate::terminal::{self, ALLOW, DENY, FAINT, WARN, styled, wrapped};

/// How often a lab is asked for what is new.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) fn run(arguments: &Flows) -> Result<Outcome, Failure> {
    let mut since = 0;
    let mut told: Vec<LostLine> = Vec::new();
    loop {
        let report = ask(&arguments.which.name, since)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for flow in report.flows.iter().filter(|f| is_wanted(f, arguments)) {
            terminal::print(&match arguments.output {
                Format::Json => format!("{}\n", serde_json::to_string(flow).expect("a flow is plain data")),
                Format::Text => paragraph(flow, now),
            })?;
        }
        // Beside the flows, not among them: they stay a line of JSON each.
        for lost in report.lost.iter().filter(|lost| !told.contains(lost)) {
            for sentence in lost::sentences(lost) {
                terminal::say(styled(WARN, wrapped(&sentence, "", terminal::width())));
            }
        }
        told = report.lost;
        if since == 0 && report.forgotten > 0 {
            terminal::say(format_args!("{} older flows are not kept", report.forgotten));
        }
        if !arguments.follow {
            if report.flows.is_empty() {
                terminal::say("no connection was tried yet; try `tortie lab probe`");
            } else if arguments.changed && !report.flows.iter().any(|f| is_wanted(f, arguments)) {
                terminal::say("no connection that was tried would have another verdict");
            }
            return Ok(Outcome::Fine);
        }
        since = report.changed;
        std::thread::sleep(PAUSE);
    }
}

fn is_wanted(flow: &FlowLine, arguments: &Flows) -> bool {
    let changed = flow.dry_run.as_ref().is_some_and(|dry_run| dry_run.changed);
    (!arguments.denied || flow.verdict == "deny") && (!arguments.changed || changed)
}

/// A connection of its own for each question: a lab listens to one at a time.
fn ask(name: &str, since: u64) -> Result<FlowReport, Failure> {
    let mut connection = Connection::open(name).map_err(Failure::message)?;
    match connection.ask(&Request::Flows { since }).map_err(Failure::message)? {
        Reply::Flows(report) => Ok(report),
        _ => Err(unexpected()),
    }
}

fn paragraph(flow: &FlowLine, now: f64) -> String {
    let FlowLine { from, to, family, traffic, verdict, count, .. } = flow;
    let style = if verdict == "allow" { ALLOW } else { DENY };
    let verdict = styled(style, format_args!("{verdict:5}"));
    let mut out = format!("{verdict} {count:>5}x {:>4} {family} {from} -> {to} {traffic}\n", age(now - flow.last));
    for reason in reasons(flow) {
        for line in wrapped(&reason, "    ", terminal::width()).lines() {
            let _ = writeln!(out, "{}", styled(FAINT, line));
        }
    }
    if let Some(text) = flow.dry_run.as_ref().filter(|dry_run| dry_run.changed).map(would) {
        for line in wrapped(&text, "    ", terminal::width()).lines() {
            let _ = writeln!(out, "{}", styled(WARN, line));
        }
    }
    out
}

/// `3s`, `2m`, `5h`, as kubectl writes ages.
fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7200.0 => format!("{:.0}m", s / 60.0),
        s => format!("{:.0}h", s / 3600.0),
    }
}

fn reasons(flow: &FlowLine) -> Vec<String> {
    let mut lines = Vec::new();
    for (direction, decision) in [("egress", &flow.egress), ("ingress", &flow.ingress)] {
        lines.extend(decision.as_ref().map(|decision| said(direction, decision)));
    }
    lines.extend(flow.cause.clone());
    if lines.is_empty() {
        lines.push("no policy governs it".to_owned());
    }
    if let Some(node) = &flow.node {
        lines.push(format!("dropped on node {node}"));
    }
    lines
}

/// What a dry run would do otherwise, and by which policy.
fn would(dry_run: &DryRunFlow) -> String {
    let said: Vec<String> = [("egress", &dry_run.egress), ("ingress", &dry_run.ingress)]
        .into_iter()
        .filter_map(|(direction, decision)| Some(said(direction, decision.as_ref()?)))
        .collect();
    let by = if said.is_empty() { "no policy would govern it".to_owned() } else { said.join("; ") };
    let verdict = if dry_run.verdict == "allow" { "allowed" } else { "denied" };
    let predicted = if dry_run.predicted { ", predicted: the packet never got to its destination" } else { "" };
    format!("dry run: would be {verdict}: {by}{predicted}")
}

fn said(direction: &str, decision: &Decision) -> String {
    match (&decision.decided_by, decision.isolating.as_slice()) {
        (Some(rule), _) => format!("{direction}[{}] of {}", rule.rule.unwrap_or_default(), place(rule)),
        (None, []) => format!("{direction}: the namespace's profile"),
        (None, policies) => {
            let policies: Vec<String> = policies.iter().map(place).collect();
            format!("{direction}: no rule of {} allows it", policies.join(" or "))
        }
    }
}

/// A policy with its place.
pub(crate) fn place(policy: &PolicyPlace) -> String {
    let PolicyPlace { kind, namespace, name, file, line, .. } = policy;
    let namespace = namespace.as_ref().map_or_else(String::new, |n| format!("{n}/"));
    match (file, line) {
        (Some(file), Some(line)) => format!("{kind}/{namespace}{name} ({file}:{line})"),
        _ => format!("{kind}/{namespace}{name}"),
    }
}
