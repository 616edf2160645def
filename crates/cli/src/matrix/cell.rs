//! What is known of one pair, or of all pairs between two groups.

use std::collections::BTreeMap;

use anstyle::Style;
use tortie_analysis::observation::{Answer, Kernel, Observation};
use tortie_model::Family;

use crate::terminal::{ALLOW, DENY, WARN};

/// Answers of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    allowed: usize,
    denied: usize,
    lost: usize,
}

/// A cell of a matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    families: BTreeMap<Family, Count>,
    /// Something differs from the expectation, or engine, plan and kernel differ.
    pub(super) differs: bool,
    /// Another answer than after the step before.
    pub(super) changed: bool,
}

/// What a family says as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    Some(usize, usize),
    Lost,
}

/// The answer to be shown: what the packets did, or the prediction where none was sent.
pub(super) fn shown(observation: &Observation) -> Option<Answer> {
    match &observation.kernel {
        Some(kernel) => Kernel::answer(kernel),
        None => Some(observation.engine),
    }
}

impl Cell {
    pub(super) fn of(observation: &Observation, before: Option<Option<Answer>>) -> Self {
        let answer = shown(observation);
        let count = match answer {
            Some(Answer::Allow) => Count { allowed: 1, ..Count::default() },
            Some(Answer::Deny) => Count { denied: 1, ..Count::default() },
            None => Count { lost: 1, ..Count::default() },
        };
        let changed = before.is_some_and(|b| b != answer);
        Self { families: [(observation.family, count)].into(), differs: !observation.holds(), changed }
    }

    /// The same with another observation of the same pair or group.
    pub(super) fn add(&mut self, other: &Self) {
        for (family, count) in &other.families {
            let mine = self.families.entry(*family).or_default();
            mine.allowed += count.allowed;
            mine.denied += count.denied;
            mine.lost += count.lost;
        }
        self.differs |= other.differs;
        self.changed |= other.changed;
    }

    /// Whether both say the same now; whether that is news may differ.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        self.families == other.families && self.differs == other.differs
    }

    fn verdict(count: Count) -> Verdict {
        match (count.allowed, count.denied, count.lost) {
            (_, _, lost) if lost > 0 => Verdict::Lost,
            (_, 0, _) => Verdict::Allow,
            (0, _, _) => Verdict::Deny,
            (allowed, denied, _) => Verdict::Some(allowed, allowed + denied),
        }
    }

    /// Text without marks, and its style.
    fn glyph(&self) -> (String, Style) {
        let verdicts: Vec<(Family, Verdict)> =
            self.families.iter().map(|(f, count)| (*f, Self::verdict(*count))).collect();
        let Some((_, first)) = verdicts.first() else { return (String::new(), Style::new()) };
        if verdicts.iter().any(|(_, v)| *v == Verdict::Lost) {
            return ("?".to_owned(), WARN);
        }
        if verdicts.iter().all(|(_, v)| v == first) {
            return match first {
                Verdict::Allow => ("✓".to_owned(), ALLOW),
                Verdict::Deny => ("✗".to_owned(), DENY),
                Verdict::Some(n, of) => (format!("{n}/{of}"), WARN),
                Verdict::Lost => ("?".to_owned(), WARN),
            };
        }
        let open: Vec<_> = verdicts.iter().filter(|(_, v)| *v == Verdict::Allow).collect();
        let mixed = verdicts.iter().any(|(_, v)| matches!(v, Verdict::Some(..)));
        match open[..] {
            [(Family::V4, _)] if !mixed => ("v4".to_owned(), WARN),
            [(Family::V6, _)] if !mixed => ("v6".to_owned(), WARN),
            _ => ("~".to_owned(), WARN),
        }
    }

    /// Text with its mark, and its style. `news`: cells that changed stand out against those that did not.
    pub(super) fn text(&self, news: bool) -> (String, Style) {
        let (mut text, style) = self.glyph();
        if self.differs {
            text.push('!');
            return (text, style.bold().invert());
        }
        if self.changed {
            text.push('*');
            return (text, style.bold());
        }
        (text, if news { style.dimmed() } else { style })
    }
}
