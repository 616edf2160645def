//! YAML to JSON values, for examples that are told in another form. Not the reader that is tested: that one would hide
//! its own mistakes.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::Result;

enum Open {
    Map(Map<String, Value>, Option<String>, usize),
    List(Vec<Value>, usize),
}

/// The documents of a text.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    for next in Parser::new_from_str(text) {
        let (value, anchor) = match next.map_err(|e| e.to_string())?.0 {
            Event::MappingStart(_, anchor, _) => {
                stack.push(Open::Map(Map::new(), None, anchor));
                continue;
            }
            Event::SequenceStart(_, anchor, _) => {
                stack.push(Open::List(Vec::new(), anchor));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match stack.pop().ok_or("an end without a start")? {
                Open::Map(map, _, anchor) => (Value::Object(map), anchor),
                Open::List(list, anchor) => (Value::Array(list), anchor),
            },
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::Alias(anchor) => (anchors.get(&anchor).ok_or("an alias of nothing")?.clone(), 0),
            _ => continue,
        };
        if anchor > 0 {
            anchors.insert(anchor, value.clone());
        }
        match stack.last_mut() {
            None => documents.push(value),
            Some(Open::List(list, _)) => list.push(value),
            Some(Open::Map(map, key, _)) => match key.take() {
                Some(key) => {
                    map.insert(key, value);
                }
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
        }
    }
    Ok(documents)
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        text if style != ScalarStyle::Plain => text.into(),
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}
