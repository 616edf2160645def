//! The end of a run: what was tried, what came out, what to know about it.

use std::fmt::Write as _;
use std::time::Duration;

use tortie_analysis::observation::{Answer, StepReport};
use tortie_analysis::traps::{Trap, TrapKind};

use super::cell::shown;
use crate::terminal::{ALLOW, DENY, FAINT, STRONG, WARN, styled, wrapped};

/// Counts over all steps of all cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) steps: usize,
    pub(crate) probes: usize,
    pub(crate) allowed: usize,
    pub(crate) denied: usize,
    pub(crate) lost: usize,
    pub(crate) expected: usize,
    pub(crate) sent: usize,
    pub(crate) differ: usize,
}

impl Tally {
    /// Counts one more step.
    pub(crate) fn add(&mut self, report: &StepReport) {
        self.steps += 1;
        for o in &report.observations {
            self.probes += 1;
            match shown(o) {
                Some(Answer::Allow) => self.allowed += 1,
                Some(Answer::Deny) => self.denied += 1,
                None => self.lost += 1,
            }
            self.expected += usize::from(o.expected.is_some());
            self.sent += usize::from(o.kernel.is_some());
            self.differ += usize::from(!o.holds());
        }
    }

    /// Whether everything agreed.
    pub(crate) const fn holds(&self) -> bool {
        self.differ == 0
    }

    /// The summary.
    pub(crate) fn text(&self, took: Option<Duration>, traps: &[Trap], width: usize) -> String {
        let rule = "─".repeat(width.saturating_sub("── summary ".chars().count()).max(2));
        let mut out = format!("{}\n", styled(STRONG, format_args!("── summary {rule}")));
        let steps = if self.steps == 1 { "1 step".to_owned() } else { format!("{} steps", self.steps) };
        let time = took.map(|t| format!(" in {:.1} s", t.as_secs_f64())).unwrap_or_default();
        let verb = if self.sent > 0 { "sent" } else { "predicted" };
        let _ = write!(
            out,
            "{steps}, {} probes {verb}{time}: {}, {}",
            self.probes,
            styled(ALLOW, format_args!("{} got through", self.allowed)),
            styled(DENY, format_args!("{} denied", self.denied)),
        );
        if self.lost > 0 {
            let _ = write!(out, ", {}", styled(WARN, format_args!("{} lost", self.lost)));
        }
        out.push('\n');
        out.push_str(&self.judgement());
        out.push_str(&traps_text(traps, width));
        out
    }

    fn judgement(&self) -> String {
        if !self.holds() {
            return format!("{}\n", styled(DENY.bold(), format_args!("{} differ; they are listed above", self.differ)));
        }
        let sources = if self.sent > 0 { "engine, plan and kernel agree" } else { "engine and plan agree" };
        let text = match self.expected {
            0 => format!("nothing was expected; {sources} on every probe"),
            n if n == self.probes => format!("all as expected; {sources} on every probe"),
            n => format!("all {n} expectations hold; {sources} on every probe"),
        };
        format!("{}\n", styled(ALLOW.bold(), text))
    }
}

/// Traps that were found, each kind explained once; those that somebody walks into first, the others by name.
fn traps_text(traps: &[Trap], width: usize) -> String {
    let mut out = String::new();
    let mut kinds: Vec<TrapKind> = traps.iter().map(|t| t.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let _ = writeln!(out, "\n{} {}", styled(WARN.bold(), "trap:"), styled(STRONG, kind.title()));
        let _ = writeln!(out, "{}", kind.explanation());
        let (open, shut): (Vec<&Trap>, Vec<&Trap>) =
            traps.iter().filter(|t| t.kind == kind).partition(|t| !t.beyond.is_empty());
        let (told, named) = if open.is_empty() { (shut, open) } else { (open, shut) };
        for trap in told {
            let _ = writeln!(out, "\n{}", headline(trap, "  ", width));
            let _ = writeln!(out, "{}", wrapped(&trap.finding, "    ", width));
            let _ = writeln!(out, "    {}", styled(FAINT, "what was meant is probably"));
            for line in trap.fix.lines() {
                let _ = writeln!(out, "      {line}");
            }
        }
        if !named.is_empty() {
            let _ = writeln!(out, "\n  of the same form, and nobody is there yet to walk in:");
            for trap in named {
                let _ = writeln!(out, "{}", headline(trap, "    ", width));
            }
        }
    }
    out
}

/// The rule and its place: on one line, or below each other where that would be too wide.
fn headline(trap: &Trap, indent: &str, width: usize) -> String {
    let rule = format!("{}[{}] of {}", trap.rule.direction, trap.rule.index, trap.rule.policy);
    let Some(place) = &trap.place else { return format!("{indent}{rule}") };
    let place = format!("{}:{}", place.file.name(), place.line());
    let one = indent.len() + place.chars().count() + 1 + rule.chars().count() <= width;
    let gap = if one { " ".to_owned() } else { format!("\n{indent}") };
    format!("{indent}{place}{gap}{}", styled(FAINT, rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tortie_manifest::{Place, SourceFile};
    use tortie_model::Direction;
    use tortie_policy::RuleRef;

    #[test]
    fn a_trap_keeps_within_the_terminal() {
        let policy = "NetworkPolicy/prod/allow-egress-to-coredns".parse().unwrap();
        let name = "three-namespaces/allowing-coredns-ingress-prod.yaml";
        let place = |name| Place { file: Arc::new(SourceFile::new(name, "a\n".into())), span: 0..1 };
        let mut trap = Trap {
            kind: TrapKind::PeersApart,
            item: "from/0".into(),
            second: Some("from/1".into()),
            rule: RuleRef { policy, direction: Direction::Egress, index: 0 },
            place: Some(place(name)),
            beyond: Vec::new(),
            finding: String::new(),
            fix: String::new(),
        };
        let told = |trap: &Trap| anstream::adapter::strip_str(&headline(trap, "  ", 80)).to_string();
        let rule = "egress[0] of NetworkPolicy/prod/allow-egress-to-coredns";
        assert_eq!(told(&trap), format!("  {name}:1\n  {rule}"));
        trap.place = Some(place("a.yaml"));
        assert_eq!(told(&trap), format!("  a.yaml:1 {rule}"));
    }
}
