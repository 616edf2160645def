//! Some lines of a manifest, as they are written.

use tortie_manifest::Place;

use crate::terminal::{FAINT, styled};

/// More lines than this are cut.
const MOST: usize = 16;

/// Characters of a line; JSON without line ends has more.
const WIDEST: usize = 160;

/// The lines of a place with their numbers, indented by `indent`.
pub(crate) fn excerpt(place: &Place, indent: usize) -> String {
    let text = place.file.text();
    let (first, _) = place.file.position(place.span.start);
    let written = text.get(place.span.clone()).unwrap_or_default().trim_end();
    let (last, _) = place.file.position(place.span.start + written.len());
    let mut lines: Vec<(usize, &str)> = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim_end())).collect();
    lines.retain(|(n, l)| (first..=last).contains(n) && !l.is_empty());
    let common = lines.iter().map(|(_, l)| l.len() - l.trim_start_matches([' ', '\t']).len()).min().unwrap_or(0);
    let cut = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    let width = last.to_string().len();
    let mut out = String::new();
    for (number, line) in lines {
        // Of a line that is too wide, what is meant.
        let (column, wide) = (place.column() - 1, line.chars().count() > WIDEST);
        let from =
            if wide && number == first { line.char_indices().nth(column).map_or(0, |(at, _)| at) } else { common };
        // What users wrote must not steer a terminal.
        let mut line: String =
            line[from..].chars().take(WIDEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if wide {
            line.push_str(" ...");
        }
        let margin = styled(FAINT, format_args!("{number:>width$} |"));
        out.push_str(&format!("{:indent$}{margin} {line}\n", ""));
    }
    if cut > 0 {
        out.push_str(&format!(
            "{:indent$}{}\n",
            "",
            styled(FAINT, format_args!("{:>width$} | ... {cut} lines more", ""))
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tortie_manifest::SourceFile;

    #[test]
    fn lines_keep_their_shape() {
        let text = "spec:\n  ingress:\n  - from:\n    - podSelector: {}\n  egress: []\n";
        let file = Arc::new(SourceFile::new("f.yaml", text.into()));
        let start = text.find("from").unwrap();
        let place = Place { file, span: start..text.find("  egress").unwrap() };
        let plain = anstream::adapter::strip_str(&excerpt(&place, 2)).to_string();
        assert_eq!(plain, "  3 | - from:\n  4 |   - podSelector: {}\n");
    }

    #[test]
    fn of_a_wide_line_what_is_meant_is_shown() {
        let text = format!("{}{{\"from\": [{}]}}\n", "{}, ".repeat(1_000), "0,".repeat(100_000));
        let start = text.find("{\"from").unwrap();
        let place = Place { span: start..text.len() - 1, file: Arc::new(SourceFile::new("f.json", text)) };
        let plain = anstream::adapter::strip_str(&excerpt(&place, 0)).to_string();
        assert!(plain.starts_with("1 | {\"from\": [0,0,") && plain.ends_with(" ...\n"), "{plain}");
        assert!(plain.len() < 200, "{plain}");
    }

    #[test]
    fn other_blanks_than_spaces_are_text() {
        let file = Arc::new(SourceFile::new("f.yaml", "a: x\n\u{a0}y\n z\n".into()));
        let plain = anstream::adapter::strip_str(&excerpt(&Place { file, span: 5..11 }, 0)).to_string();
        assert_eq!(plain, "2 | \u{a0}y\n3 |  z\n");
    }
}
