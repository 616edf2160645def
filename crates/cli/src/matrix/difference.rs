//! Probes where not everything agrees, with what each says and who decides.

use std::fmt::Write as _;

use tortie_analysis::observation::{Answer, DecidedBy, Kernel, Observation, StepReport};

use crate::terminal::{DENY, FAINT, STRONG, WARN, fitted, styled};

/// More than this are counted only.
const MOST: usize = 25;

/// All that differ; probes and families of one pair that differ alike are told together. Empty when nothing does.
pub(super) fn differences(report: &StepReport, width: usize) -> String {
    let mut groups: Vec<(&Observation, Vec<&Observation>)> = Vec::new();
    for o in report.observations.iter().filter(|o| !o.holds()) {
        let alike = |a: &Observation| {
            (&a.from, &a.to, &a.via, a.expected, a.engine, a.plan)
                == (&o.from, &o.to, &o.via, o.expected, o.engine, o.plan)
                && a.kernel == o.kernel
                && a.decided_by == o.decided_by
                && a.why == o.why
        };
        match groups.iter_mut().find(|(first, _)| alike(first)) {
            Some((_, members)) => members.push(o),
            None => groups.push((o, vec![o])),
        }
    }
    if groups.is_empty() {
        return String::new();
    }
    let mut out = String::new();
    for (o, members) in groups.iter().take(MOST) {
        let list = |of: &dyn Fn(&Observation) -> String| {
            let mut seen: Vec<String> = Vec::new();
            for text in members.iter().map(|m| of(m)) {
                if !seen.contains(&text) {
                    seen.push(text);
                }
            }
            seen
        };
        let probes = list(&|m| m.probe.clone()).join(", ");
        let families = list(&|m| m.family.to_string()).join(" and ");
        let pair = if o.to.starts_with("dns:") { o.from.clone() } else { format!("{} -> {}", o.from, o.to) };
        let via = if o.via == "service" { " through its Service" } else { "" };
        let _ = writeln!(out, "{} {}  {probes}{via}  {families}", styled(DENY.bold(), "differs"), styled(STRONG, pair));
        let expected = o.expected.map_or("nothing", |e| e.as_str());
        let kernel = match &o.kernel {
            None => "not asked".to_owned(),
            Some(Kernel::Lost { .. }) => styled(WARN, "lost"),
            Some(Kernel::Allow) => "allow".to_owned(),
            Some(Kernel::Deny) => "deny".to_owned(),
        };
        let _ = writeln!(out, "    expected {expected}, engine {}, plan {}, kernel {kernel}", o.engine, o.plan);
        if let Some(Kernel::Lost { why }) = &o.kernel {
            let _ = writeln!(out, "    {why}");
        }
        for (direction, rule) in [("egress", &o.decided_by.egress), ("ingress", &o.decided_by.ingress)] {
            if let Some(rule) = rule {
                let _ = writeln!(out, "    {}", decided(direction, rule));
            }
        }
        let isolated = o.decided_by.isolated.iter().filter(|(_, policies)| !policies.is_empty());
        for (direction, policies) in isolated.clone() {
            let policies = policies.join(", ");
            let _ = writeln!(out, "    {direction} is isolated by {policies}, and no rule allows it");
        }
        let by_rule = o.decided_by.egress.is_some() || o.decided_by.ingress.is_some();
        if !by_rule && isolated.count() == 0 {
            let _ = writeln!(out, "    {}", styled(FAINT, nobody(o)));
        }
        if let Some(why) = &o.why {
            let _ = writeln!(out, "    the case says: {why}");
        }
    }
    if groups.len() > MOST {
        let _ = writeln!(out, "... and {} pairs more", groups.len() - MOST);
    }
    fitted(&out, width)
}

/// Why no rule is named.
fn nobody(o: &Observation) -> &'static str {
    match o.engine {
        Answer::Allow => "no policy says anything about it",
        Answer::Deny => "an end is isolated, and no rule allows it",
    }
}

fn decided(direction: &str, rule: &DecidedBy) -> String {
    let namespace = rule.namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default();
    let place = match (&rule.file, rule.line) {
        (Some(file), Some(line)) => styled(FAINT, format_args!("  {file}:{line}")),
        _ => String::new(),
    };
    format!("{direction} decided by {direction}[{}] of {}/{namespace}{}{place}", rule.rule, rule.kind, rule.name)
}
