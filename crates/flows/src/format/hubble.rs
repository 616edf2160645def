//! What Hubble exports: `hubble observe -o json`, and the files that its exporter writes.
//!
//! Hubble tells of packets at points of their way. A packet that was dropped at the destination was forwarded at the
//! source; what is not decided yet, or answers, is no connection.

use serde_json::Value;
use tortie_model::{Family, IpProtocol, Traffic};

use super::{Line, Why, address, number, protocol, text};
use crate::record::{Endpoint, Passed, Point, Record, Who};

/// A flow, with or without the envelope of the exporter.
pub(super) fn looks_like(value: &Value) -> bool {
    let flow = value.get("flow").unwrap_or(value);
    flow.get("IP").is_some() || flow.get("verdict").is_some() && flow.get("l4").is_some() || is_event(value)
}

/// Other things that the same stream has.
fn is_event(value: &Value) -> bool {
    ["node_status", "agent_event", "debug_event", "lost_events"].iter().any(|key| value.get(key).is_some())
}

pub(super) fn line(value: &Value) -> Result<Line, Why> {
    if is_event(value) {
        return Ok(Line::Passed(Passed::OtherEvents));
    }
    let flow = value.get("flow").unwrap_or(value);
    let allowed = match flow.get("verdict").and_then(Value::as_str) {
        // Who would be dropped, were it not for an audit, got through.
        Some("FORWARDED" | "REDIRECTED" | "AUDIT") => true,
        Some("DROPPED") => false,
        Some("TRACED" | "TRANSLATED" | "VERDICT_UNKNOWN" | "ERROR") => return Ok(Line::Passed(Passed::Undecided)),
        Some(other) => return Err(format!("`{other}` is no verdict of Hubble")),
        None => return Err("a flow without a verdict".to_owned()),
    };
    let Some(l4) = flow.get("l4").filter(|l4| l4.is_object()) else {
        return Ok(Line::Passed(Passed::OtherEvents));
    };
    match is_reply(flow, l4, allowed) {
        Some(false) => {}
        Some(true) => return Ok(Line::Passed(Passed::Replies)),
        None => return Ok(Line::Passed(Passed::Directionless)),
    }
    let point = match text(flow, "traffic_direction") {
        Some("EGRESS") => Point::Source,
        Some("INGRESS") => Point::Destination,
        _ => Point::Whole,
    };
    let ip = flow.get("IP").unwrap_or(&Value::Null);
    let from = endpoint(flow.get("source"), address(ip, "source")?);
    let to = endpoint(flow.get("destination"), address(ip, "destination")?);
    Ok(Line::Record(Record { from, to, traffic: traffic(l4)?, allowed, point, count: 1 }))
}

/// Whether a packet answers another; nothing where that cannot be told.
fn is_reply(flow: &Value, l4: &Value, allowed: bool) -> Option<bool> {
    if let Some(said) = flow.get("is_reply").and_then(Value::as_bool) {
        return Some(said);
    }
    if flow.get("reply").and_then(Value::as_bool) == Some(true) {
        return Some(true);
    }
    // What policy drops is the first of its connection.
    if !allowed {
        return Some(false);
    }
    let flag = |name: &str| l4.pointer(&format!("/TCP/flags/{name}")).and_then(Value::as_bool).unwrap_or(false);
    flag("SYN").then(|| flag("ACK"))
}

/// A pod by its name; its workload, where that is told, finds it among manifests in which pods have other names.
fn endpoint(end: Option<&Value>, address: Option<std::net::IpAddr>) -> Endpoint {
    let who = end.and_then(|end| {
        let namespace = text(end, "namespace")?.to_owned();
        let workload = end.get("workloads").and_then(|w| w.get(0));
        if let Some((name, kind)) = workload.and_then(|w| Some((text(w, "name")?, text(w, "kind")))) {
            return Some(Who::Workload { namespace, kind: kind.map(str::to_owned), name: name.to_owned() });
        }
        Some(Who::Pod { namespace, name: text(end, "pod_name")?.to_owned() })
    });
    Endpoint { who, address }
}

fn traffic(l4: &Value) -> Result<Traffic, Why> {
    let ports = [("TCP", IpProtocol::TCP), ("UDP", IpProtocol::UDP), ("SCTP", IpProtocol::SCTP)];
    for (name, of) in ports {
        if let Some(header) = l4.get(name) {
            return protocol::traffic(of, number(header, "destination_port"));
        }
    }
    for (name, family) in [("ICMPv4", Family::V4), ("ICMPv6", Family::V6)] {
        if let Some(header) = l4.get(name) {
            return protocol::icmp(family, number(header, "type"), number(header, "code"));
        }
    }
    Err("a protocol that is not known".to_owned())
}
