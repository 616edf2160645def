//! Results as TAP version 14: a test a step, with a YAML block for what failed.

use std::fmt::Write as _;

use super::{Played, text};

/// The whole report.
pub(super) fn report(all: &[Played]) -> String {
    let tests: usize = all.iter().map(|p| p.steps.len() + usize::from(p.broken.is_some())).sum();
    let mut out = format!("TAP version 14\n1..{tests}\n");
    let mut number = 0;
    for played in all {
        for step in &played.steps {
            number += 1;
            let is_ok = step.causes.is_empty();
            point(&mut out, is_ok, number, &played.name, &step.name);
            if is_ok {
                continue;
            }
            let details: String = step.causes.iter().map(|c| text::cause(&step.name, c)).collect();
            let message = format!("{} of {} probes differ", step.failures(), step.probes);
            block(&mut out, &message, &played.path, step.line, &details);
        }
        if let Some(why) = &played.broken {
            number += 1;
            point(&mut out, false, number, &played.name, "is played to its end");
            block(&mut out, why.lines().next().unwrap_or_default(), &played.path, None, why);
        }
    }
    out
}

fn point(out: &mut String, is_ok: bool, number: usize, case: &str, test: &str) {
    let word = if is_ok { "ok" } else { "not ok" };
    let _ = writeln!(out, "{word} {number} - {}", escaped(&format!("{case}: {test}")));
}

/// What failed, as YAML; its texts are quoted as JSON quotes, but for the explanation, which has many lines.
fn block(out: &mut String, message: &str, file: &str, line: Option<usize>, details: &str) {
    let quoted = |text: &str| serde_json::to_string(&printable(text)).expect("text is plain data");
    let _ = writeln!(out, "  ---\n  message: {}\n  file: {}", quoted(message), quoted(file));
    if let Some(line) = line {
        let _ = writeln!(out, "  line: {line}");
    }
    out.push_str("  explanation: |2\n");
    let details = printable(&anstream::adapter::strip_str(details).to_string());
    for line in details.trim_matches('\n').lines().map(str::trim_end) {
        let _ = writeln!(out, "{}", format!("    {line}").trim_end());
    }
    out.push_str("  ...\n");
}

/// A description: on one line, and without the signs that begin a directive.
fn escaped(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('#', "\\#").replace('\n', " ")
}

/// What YAML has no place for is replaced.
fn printable(text: &str) -> String {
    let fits = |c: char| {
        c == '\n' || (!c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
    };
    text.chars()
        .map(|c| {
            if fits(c) {
                c
            } else if c == '\t' {
                ' '
            } else {
                '\u{fffd}'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_case_that_was_not_played_is_a_test_that_failed() {
        let played = Played {
            name: "a #1 \\ b\nc".into(),
            path: "c.case.yaml".into(),
            steps: Vec::new(),
            broken: Some("line 1\u{7}\n  line \"2\"".into()),
            took: Duration::ZERO,
        };
        let expected = "\
TAP version 14
1..1
not ok 1 - a \\#1 \\\\ b c: is played to its end
  ---
  message: \"line 1\u{fffd}\"
  file: \"c.case.yaml\"
  explanation: |2
    line 1
      line \"2\"
  ...
";
        assert_eq!(report(&[played]), expected);
    }
}
