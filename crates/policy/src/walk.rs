//! The one way through the tiers: what the rules that match a packet decide together.

use crate::rule::{Action, EndAction};
use crate::stack::{By, Outcome, Position, Verdict};

/// Goes through tiers, given for each the position after its last rule and what its end does. `next` finds the first
/// rule that matches from one position to before another; it is asked for ever later ones.
pub(crate) fn walk(
    tiers: impl IntoIterator<Item = (Position, EndAction)>,
    mut next: impl FnMut(Position, Position) -> Option<(Position, Action)>,
) -> Outcome {
    let mut passed = Vec::new();
    let mut from = Position(0);
    for (tier, (end, at_end)) in tiers.into_iter().enumerate() {
        let passed_on = loop {
            let Some((here, action)) = next(from, end) else { break at_end == EndAction::Pass };
            from = Position(here.0 + 1);
            let verdict = match action {
                Action::Allow => Verdict::Allow,
                Action::Deny => Verdict::Deny,
                Action::Log => {
                    passed.push(here);
                    continue;
                }
                Action::Pass => {
                    passed.push(here);
                    break true;
                }
            };
            return Outcome { verdict, by: By::Rule(here), passed };
        };
        if !passed_on {
            return Outcome { verdict: Verdict::Deny, by: By::EndOfTier(tier), passed };
        }
        from = end;
    }
    Outcome { verdict: Verdict::Allow, by: By::Profile, passed }
}
