//! The formats in which connections are recorded, and which of them a line is in.

mod calico;
mod conntrack;
mod hubble;
mod protocol;
mod tortie;

use std::io::{self, BufRead};

use serde_json::Value;

use crate::record::{Passed, Record, Recording};

/// How connections were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of JSON as tortie writes them for a lab's flows, and reads them in bulk.
    Tortie,
    /// What Hubble exports: a flow object a line.
    Hubble,
    /// Calico's flow logs, and what Goldmane and Whisker make of them.
    Calico,
    /// The kernel's list of connections.
    Conntrack,
}

/// What a line turned out to be.
pub(crate) enum Line {
    Record(Record),
    /// A connection that the line alone stands for; its repetition says nothing new.
    Once((std::net::IpAddr, std::net::IpAddr, u8, u16, u16), Record),
    Passed(Passed),
}

/// Why a line cannot be read.
pub(crate) type Why = String;

/// Reads recorded connections. Each line is in the format that it looks like, unless one is given.
///
/// # Errors
/// When the input cannot be read. Lines that make no sense are no error: they are counted and kept with their numbers.
pub fn read(mut input: impl BufRead, format: Option<Format>) -> io::Result<Recording> {
    let mut recording = Recording::default();
    let (mut number, mut line) = (0, Vec::new());
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(recording);
        }
        number += 1;
        let text = line.trim_ascii();
        // JSON that is written for people, over many lines, begins with a bracket alone.
        if recording.lines == 0 && matches!(text, b"{" | b"[" | b"[{") {
            let mut whole = line.clone();
            input.read_to_end(&mut whole)?;
            document(&whole, number, format, &mut recording);
            return Ok(recording);
        }
        if text.is_empty() {
            continue;
        }
        recording.lines += 1;
        match std::str::from_utf8(text) {
            Ok(text) => one(text, number, format, &mut recording),
            Err(_) => recording.bad(number, "not text".to_owned()),
        }
    }
}

/// JSON values one after another, wherever their lines end.
fn document(bytes: &[u8], first: usize, format: Option<Format>, recording: &mut Recording) {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    loop {
        let at = values.byte_offset();
        let skipped = bytes[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let line = first + bytes[..at + skipped].iter().filter(|b| **b == b'\n').count();
        match values.next() {
            None => return,
            Some(Ok(value)) => json(&value, line, format, recording),
            Some(Err(error)) => {
                recording.lines += 1;
                return recording.bad(first + error.line().saturating_sub(1), format!("not JSON: {error}"));
            }
        }
    }
}

fn one(text: &str, number: usize, format: Option<Format>, recording: &mut Recording) {
    let is_json = text.starts_with(['{', '[']);
    if format == Some(Format::Conntrack) || (format.is_none() && !is_json && conntrack::looks_like(text)) {
        return take(conntrack::line(text), number, recording);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            recording.lines -= 1;
            json(&value, number, format, recording);
        }
        Err(error) if is_json || format.is_some() => recording.bad(number, format!("not JSON: {error}")),
        Err(_) => recording.bad(number, "in no known format".to_owned()),
    }
}

/// A record, or a list of them.
fn json(value: &Value, line: usize, format: Option<Format>, recording: &mut Recording) {
    let list = value.as_array().or_else(|| value.get("items")?.as_array()).or_else(|| value.get("flows")?.as_array());
    if let Some(list) = list {
        list.iter().for_each(|one| json(one, line, format, recording));
        return;
    }
    recording.lines += 1;
    let told = match format.or_else(|| looks_like(value)) {
        Some(Format::Tortie) => tortie::line(value),
        Some(Format::Hubble) => hubble::line(value),
        Some(Format::Calico) => calico::line(value),
        Some(Format::Conntrack) => Err("not a line of conntrack".to_owned()),
        None => Err("in no known format".to_owned()),
    };
    take(told, line, recording);
}

fn looks_like(value: &Value) -> Option<Format> {
    let has = |key: &str| value.get(key).is_some();
    if calico::looks_like(value) {
        Some(Format::Calico)
    } else if hubble::looks_like(value) {
        Some(Format::Hubble)
    } else if has("from") && has("to") {
        Some(Format::Tortie)
    } else {
        None
    }
}

fn take(told: Result<Line, Why>, number: usize, recording: &mut Recording) {
    match told {
        Ok(Line::Record(record)) => recording.add(number, record),
        Ok(Line::Once(key, record)) => {
            if recording.known.insert(key) {
                recording.add(number, record);
            } else {
                recording.pass(Passed::Repeated);
            }
        }
        Ok(Line::Passed(what)) => recording.pass(what),
        Err(why) => recording.bad(number, why),
    }
}

/// The text of a member, when it has one that says something.
fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty() && *text != "-")
}

/// The number of a member, which may be written as text.
fn number(value: &Value, key: &str) -> Option<u64> {
    let value = value.get(key)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The address of a member; none where it is left out, or null.
fn address(value: &Value, key: &str) -> Result<Option<std::net::IpAddr>, Why> {
    let Some(text) = text(value, key) else { return Ok(None) };
    text.parse().map(|ip| Some(tortie_model::canonical(ip))).map_err(|_| format!("`{text}` is no address"))
}
