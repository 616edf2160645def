//! Tabs at the start of lines inside `[...]` and `{...}`.
//!
//! YAML 1.2 forbids them; the parser behind kubectl takes them, since indentation means nothing there. So they are read as
//! spaces: a space for a tab keeps every place in the text, and white space at the start of such a line is in no value.

use std::ops::Range;

use granit_parser::{Event, Parser};

/// So many collections with tabs are mended in one text; each costs another look at its document.
const MOST: usize = 256;

/// The text with such tabs as spaces, if it has any.
pub(crate) fn without_flow_tabs(text: String) -> String {
    let like_json = text.trim_start().starts_with(['{', '[']);
    if like_json || !text.lines().any(|line| indentation(line).contains('\t')) {
        return text;
    }
    let mut bytes = text.into_bytes();
    let mut from = 0;
    for _ in 0..MOST {
        let rest = std::str::from_utf8(&bytes[from..]).expect("a space for a tab keeps UTF-8");
        let Some(start) = collection_with_tab(rest).map(|start| from + start) else { break };
        let end = start + flow_end(&bytes[start..]);
        let mut indented = false;
        for byte in &mut bytes[start..end] {
            match byte {
                b'\n' => indented = true,
                b'\t' if indented => *byte = b' ',
                b' ' => {}
                _ => indented = false,
            }
        }
        from = document_start(&bytes, start);
    }
    String::from_utf8(bytes).expect("a space for a tab keeps UTF-8")
}

fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// Where the document begins that a place is in.
fn document_start(bytes: &[u8], at: usize) -> usize {
    bytes[..at].windows(4).rposition(|w| w == b"\n---").map_or(0, |i| i + 1)
}

/// Where the outermost flow collection starts in which a tab stops the parser.
fn collection_with_tab(text: &str) -> Option<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut read = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok((event, span)) => (event, span.byte_range().unwrap_or(read..read)),
            Err(error) if error.info().contains("tab") => {
                let known = open.into_iter().find(|start| text[*start..].starts_with(['[', '{']));
                return known.or_else(|| unread_collection(text, read..error.marker().byte_offset()?));
            }
            Err(_) => return None,
        };
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => open.push(span.start),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            _ => {}
        }
        read = read.max(span.end);
    }
    None
}

/// Where a flow collection starts that the parser has not told of: it reads ahead, since a collection may turn out to be
/// a key.
fn unread_collection(text: &str, ahead: Range<usize>) -> Option<usize> {
    let word = text.get(ahead.clone())?.find(char::is_whitespace)?;
    let bracket = text[ahead.start + word..ahead.end].find(['[', '{'])?;
    Some(ahead.start + word + bracket)
}

/// How long the flow collection is that the text starts with.
fn flow_end(text: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut quote = None;
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        let after_space = at == 0 || text[at - 1].is_ascii_whitespace();
        match (quote, byte) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'#') if after_space => {
                at += text[at..].iter().position(|b| *b == b'\n').unwrap_or(text.len() - at);
                continue;
            }
            // Inside a plain word a quote is a letter.
            (None, b'"' | b'\'') if after_space || matches!(text[at - 1], b'[' | b'{' | b',' | b':') => {
                quote = Some(byte);
            }
            (None, b'[' | b'{') => depth += 1,
            (None, b']' | b'}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            (None, _) => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_inside_brackets_are_spaces() {
        let text = "a: [\n\t'x]', # ]\n \t\"y\\\"\t]\",\n\t]\nb: {\n\tc: d'e\n\t}\nf: |\n  g\n  \th\n";
        let expected = "a: [\n 'x]', # ]\n  \"y\\\"\t]\",\n ]\nb: {\n c: d'e\n }\nf: |\n  g\n  \th\n";
        assert_eq!(without_flow_tabs(text.to_owned()), expected);
        let text = "a: b\nc:\n  d:\n    [\n      e,\n\t    f,\n    ]\ng: h\n";
        assert_eq!(without_flow_tabs(text.to_owned()), text.replace('\t', " "));
    }

    #[test]
    fn other_tabs_stay() {
        for text in
            ["a:\n\tb: c\n", "a:\n- [b]\n\t- c\n", "a: |\n  b\n  \tc: [\n", "{\n\t\"a\": 1}", "a: [\n\t", "a: b\tc\n"]
        {
            let read = without_flow_tabs(text.to_owned());
            assert_eq!(read.len(), text.len());
            if !text.contains("[\n\t") {
                assert_eq!(read, text);
            }
        }
    }
}
