//! Calico's flow logs: the lines of its files, what Whisker shows, and the messages of Goldmane as JSON.
//!
//! They tell of pods together whose names begin alike (`cart-6d5f-*`), once for each end.

use serde_json::Value;
use tortie_model::Traffic;

use super::{Line, Why, address, number, protocol, text};
use crate::record::{Endpoint, Passed, Point, Record, Who};

pub(super) fn looks_like(value: &Value) -> bool {
    key_of(value).is_some() || value.get("source_namespace").is_some() || value.get("dest_namespace").is_some()
}

/// The key of a message of Goldmane, in its envelope or not.
fn key_of(value: &Value) -> Option<&Value> {
    let flow = value.get("flow").unwrap_or(value);
    flow.get("Key").or_else(|| flow.get("key"))
}

/// The first member that says something.
fn any<'v>(value: &'v Value, keys: &[&str]) -> Option<&'v str> {
    keys.iter().find_map(|key| text(value, key))
}

pub(super) fn line(value: &Value) -> Result<Line, Why> {
    let flow = value.get("flow").unwrap_or(value);
    let key = key_of(value).unwrap_or(value);
    let action = any(key, &["action"]).ok_or("no action")?;
    let allowed = match action.to_ascii_lowercase().as_str() {
        "allow" => true,
        "deny" => false,
        "pass" | "unknown" | "actionunspecified" => return Ok(Line::Passed(Passed::Undecided)),
        other => return Err(format!("`{other}` is no action: allow or deny")),
    };
    let point = match any(key, &["reporter"]).unwrap_or_default().to_ascii_lowercase().as_str() {
        "src" => Point::Source,
        "dst" => Point::Destination,
        _ => Point::Whole,
    };
    let from = endpoint(key, "source", "source")?;
    let to = endpoint(key, "dest", "dest")?;
    let count = [value, flow]
        .iter()
        .find_map(|v| {
            ["num_flows_started", "num_flows", "numConnectionsStarted", "num_connections_started"]
                .iter()
                .find_map(|k| number(v, k).filter(|n| *n > 0))
        })
        .unwrap_or(1);
    Ok(Line::Record(Record { from, to, traffic: traffic(key)?, allowed, point, count }))
}

fn traffic(key: &Value) -> Result<Traffic, Why> {
    let name = any(key, &["proto", "protocol"]).map(str::to_owned);
    let name = name.or_else(|| number(key, "proto").map(|n| n.to_string())).ok_or("no protocol")?;
    let port = ["dest_port", "destPort"].iter().find_map(|k| number(key, k));
    protocol::traffic(protocol::protocol(&name)?, port)
}

fn endpoint(key: &Value, snake: &str, camel: &str) -> Result<Endpoint, Why> {
    let address = address(key, &format!("{snake}_ip"))?;
    let namespace = any(key, &[&format!("{snake}_namespace"), &format!("{camel}Namespace")]);
    let names = [format!("{snake}_name"), format!("{snake}_name_aggr"), format!("{camel}Name")];
    let name = names.iter().find_map(|k| text(key, k));
    let kind = any(key, &[&format!("{snake}_type"), &format!("{camel}Type")]).unwrap_or_default();
    let who = match (namespace, name) {
        _ if matches!(kind, "hep" | "HostEndpoint") => name.map(|name| Who::Node(host(name).to_owned())),
        _ if matches!(kind, "net" | "ns" | "Network" | "NetworkSet") => {
            name.map(|name| Who::Other(outside(name).to_owned()))
        }
        (Some(namespace), Some(name)) => {
            let namespace = namespace.to_owned();
            Some(match name.strip_suffix('*') {
                Some(prefix) => Who::Pods { namespace, prefix: prefix.to_owned() },
                None => Who::Pod { namespace, name: name.to_owned() },
            })
        }
        (None, Some(name)) => Some(Who::Other(outside(name).to_owned())),
        (_, None) => None,
    };
    if who.is_none() && address.is_none() {
        return Err(format!(
            "no name and no address of the {}",
            if snake == "dest" { "destination" } else { "source" }
        ));
    }
    Ok(Endpoint { who, address })
}

/// A node by the name of the endpoint that Calico makes for it.
fn host(name: &str) -> &str {
    name.strip_suffix("-auto-hep").unwrap_or(name)
}

/// Calico's words for addresses of nobody.
fn outside(name: &str) -> &str {
    match name {
        "pub" => "a public network",
        "pvt" => "a private network",
        other => other,
    }
}
