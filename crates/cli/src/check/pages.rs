//! The catalogue of lints, and the page of one.

use tortie_lint::{LINTS, lint, nearest};

use crate::failure::{Failure, Outcome};
use crate::terminal::{self, STRONG, styled};

pub(super) fn list() -> Result<Outcome, Failure> {
    let widest = LINTS.iter().map(|l| l.id.len()).max().unwrap_or_default();
    let line = |l: &tortie_lint::Lint| {
        let pad = " ".repeat(widest - l.id.len());
        let text = format!("{:<8} {}", l.level.as_str(), l.summary);
        format!("{}{pad}  {text}\n", styled(STRONG, l.id))
    };
    terminal::print(&LINTS.iter().map(line).collect::<String>())?;
    Ok(Outcome::Fine)
}

pub(super) fn explain(id: &str) -> Result<Outcome, Failure> {
    let Some(lint) = lint(id) else {
        let near = nearest(id).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        return Err(Failure::Message(format!("no lint is called `{id}`{near}")));
    };
    terminal::print(lint.page)?;
    Ok(Outcome::Fine)
}
