//! Results as JUnit's XML: a suite a case, a test a step.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Played, Step, text};

/// The whole report.
pub(super) fn report(all: &[Played]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests = all.iter().map(tests).sum();
    let failures = all.iter().map(failures).sum();
    let errors = all.iter().map(errors).sum();
    let took = all.iter().map(|p| p.took).sum();
    let _ = writeln!(out, "<testsuites name=\"tortie\"{}>", counts(tests, failures, errors, took));
    for played in all {
        suite(&mut out, played);
    }
    out.push_str("</testsuites>\n");
    out
}

fn tests(played: &Played) -> usize {
    played.steps.len() + errors(played)
}

fn failures(played: &Played) -> usize {
    played.steps.iter().filter(|s| !s.causes.is_empty()).count()
}

fn errors(played: &Played) -> usize {
    usize::from(played.broken.is_some())
}

fn counts(tests: usize, failures: usize, errors: usize, took: Duration) -> String {
    format!(
        " tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{:.3}\"",
        took.as_secs_f64()
    )
}

fn suite(out: &mut String, played: &Played) {
    let counts = counts(tests(played), failures(played), errors(played), played.took);
    let (name, file) = (escaped(&played.name), escaped(&played.path));
    let _ = writeln!(out, "  <testsuite name=\"{name}\" file=\"{file}\"{counts}>");
    for step in &played.steps {
        test(out, played, step);
    }
    if let Some(why) = &played.broken {
        let message = escaped(why.lines().next().unwrap_or_default());
        let _ = writeln!(out, "    <testcase name=\"is played to its end\" classname=\"{name}\" file=\"{file}\">");
        let _ = writeln!(out, "      <error message=\"{message}\">{}</error>", escaped(why));
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n");
}

fn test(out: &mut String, played: &Played, step: &Step) {
    let (name, class, file) = (escaped(&step.name), escaped(&played.name), escaped(&played.path));
    let line = step.line.map(|line| format!(" line=\"{line}\"")).unwrap_or_default();
    let seconds = step.took.as_secs_f64();
    let _ = write!(
        out,
        "    <testcase name=\"{name}\" classname=\"{class}\" file=\"{file}\"{line} assertions=\"{}\" time=\"{seconds:.3}\"",
        step.probes
    );
    if step.causes.is_empty() {
        out.push_str("/>\n");
        return;
    }
    let message = format!("{} of {} probes differ", step.failures(), step.probes);
    let details: String = step.causes.iter().map(|c| text::cause(&step.name, c)).collect();
    let details = anstream::adapter::strip_str(&details).to_string();
    let _ = writeln!(out, ">\n      <failure message=\"{message}\">{}</failure>", escaped(&details));
    out.push_str("    </testcase>\n");
}

/// Text as content or as a quoted value; what XML 1.0 has no place for is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\r' => out.push_str("&#13;"),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("a<b> & \"c\" -> d\u{1b}[0m\r"), "a&lt;b&gt; &amp; &quot;c&quot; -&gt; d\u{fffd}[0m&#13;");
    }

    #[test]
    fn a_case_that_was_not_played_is_an_error_of_its_suite() {
        let played = Played {
            name: "a & b".into(),
            path: "c.case.yaml".into(),
            steps: Vec::new(),
            broken: Some("line 1\nline 2".into()),
            took: Duration::from_millis(5),
        };
        let report = report(&[played]);
        assert!(report.contains("<testsuites name=\"tortie\" tests=\"1\" failures=\"0\" errors=\"1\""), "{report}");
        assert!(report.contains("<testsuite name=\"a &amp; b\" file=\"c.case.yaml\" tests=\"1\""), "{report}");
        assert!(report.contains("<error message=\"line 1\">line 1\nline 2</error>"), "{report}");
    }
}
