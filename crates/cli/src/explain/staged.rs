//! What would be if all that is staged were enforced, beside what is.

use tortie_analysis::snapshot::Snapshot;
use tortie_analysis::view::View;

use super::flow::{Flow, answers};
use crate::terminal::{STRONG, styled};

/// A cluster, and the same questions put to it.
type Asked<'a> = (&'a Snapshot, &'a [Flow]);

/// The answers that would be others, or have other reasons.
pub(super) fn text((snapshot, now): Asked<'_>, (previewed, then): Asked<'_>) -> String {
    let (view, preview) = (View::from(snapshot), View::from(previewed));
    let differs = |(now, then): &(&Flow, &Flow)| now.body(view) != then.body(preview);
    let others: Vec<&Flow> = now.iter().zip(then).filter(differs).map(|(_, then)| then).collect();
    if others.is_empty() {
        return "\nThe same once all that is staged is enforced.\n".to_owned();
    }
    let title = styled(STRONG, "Once all that is staged is enforced:");
    format!("\n{title}\n\n{}", answers(preview, &others, |_| String::new()))
}

/// Both answers to each question, a line each.
pub(super) fn lines((snapshot, now): Asked<'_>, preview: Option<Asked<'_>>) -> String {
    let line = |(i, flow): (usize, &Flow)| {
        let line = match preview {
            Some((previewed, then)) => flow.line_with(snapshot, previewed, &then[i]),
            None => flow.line(snapshot),
        };
        serde_json::to_string(&line).expect("an answer is plain data") + "\n"
    };
    now.iter().enumerate().map(line).collect()
}
