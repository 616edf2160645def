//! The rules of Calico's policies and profiles.

use std::net::IpAddr;

use tortie_model::canonical;

use super::super::{Cause, Path, items, member, metadata, text};
use super::entity::{self, ENTITY};
use super::structural::{List, Object, Schema, Text};
use crate::value::Value;

/// `ingress` or `egress`.
pub(super) static RULES: List = List { item: Schema::Object(&RULE), least: 0, most: 1024, set: false };

static RULE: Object = Object::of(&[
    ("action", Schema::Text(&[Text::Enum(&["Allow", "Deny", "Log", "Pass"])])),
    ("ipVersion", Schema::OneOf(&[4, 6])),
    ("protocol", Schema::IntOrText),
    ("notProtocol", Schema::IntOrText),
    ("icmp", Schema::Object(&ICMP)),
    ("notICMP", Schema::Object(&ICMP)),
    ("source", Schema::Object(&ENTITY)),
    ("destination", Schema::Object(&ENTITY)),
    ("http", Schema::Object(&HTTP)),
    ("metadata", Schema::Object(&RULE_METADATA)),
])
.needs(&["action"])
.ruled(&[protocols, ports, families, http_of_rule, annotations]);

static ICMP: Object =
    Object::of(&[("type", Schema::Int(0, 254)), ("code", Schema::Int(0, 255))]).ruled(&[code_has_type]);

static RULE_METADATA: Object = Object::of(&[("annotations", Schema::Texts)]);

static HTTP: Object = Object::of(&[
    ("methods", Schema::List(&List { item: Schema::Text(&[]), least: 0, most: 20, set: true })),
    ("paths", Schema::List(&List { item: Schema::Object(&HTTP_PATH), least: 0, most: 20, set: false })),
]);

static HTTP_PATH: Object = Object::of(&[
    ("exact", Schema::Text(&[Text::Most(1024), Text::Rule(is_http_path, HTTP_PATH_FORM)])),
    ("prefix", Schema::Text(&[Text::Most(1024), Text::Rule(is_http_path, HTTP_PATH_FORM)])),
])
.ruled(&[one_path]);

const HTTP_PATH_FORM: &str = "must start with `/` and hold no `?`, `#` or space";

fn is_http_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(['?', '#', ' '])
}

fn one_path(path_match: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if text(path_match, "exact").is_empty() == text(path_match, "prefix").is_empty() {
        causes.push(Cause::invalid_text(path, "must specify one of exact or prefix"));
    }
}

fn code_has_type(icmp: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if member(icmp, "code").is_some() && member(icmp, "type").is_none() {
        causes.push(Cause::invalid_text(path, "ICMP code specified without an ICMP type"));
    }
}

/// The number of a protocol as Calico reads it; `None` for what it refuses.
fn protocol(value: &Value<'_>) -> Option<u8> {
    let number = match value {
        Value::String(text) => match &**text {
            "TCP" => 6,
            "UDP" => 17,
            "ICMP" => 1,
            "ICMPv6" => 58,
            "SCTP" => 132,
            "UDPLite" => 136,
            digits => digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?,
        },
        number => number.as_u64().and_then(|n| u8::try_from(n).ok())?,
    };
    Some(number).filter(|n| *n > 0)
}

const PROTOCOL: &str = "must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255";

fn protocols(rule: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let version = member(rule, "ipVersion").and_then(Value::as_i64);
    for field in ["protocol", "notProtocol"] {
        let Some(written) = member(rule, field) else { continue };
        let Some(number) = protocol(written) else {
            causes.push(match written.as_str() {
                Some(text) => Cause::invalid(&path.child(field), text, PROTOCOL),
                None => Cause::invalid_raw(&path.child(field), written.as_i64().unwrap_or_default(), PROTOCOL),
            });
            continue;
        };
        if let Some((name, needs)) = match (number, version) {
            (1, Some(6)) => Some(("ICMP", 4)),
            (58, Some(4)) => Some(("ICMPv6", 6)),
            _ => None,
        } {
            causes.push(Cause::invalid_text(path, &format!("{field} {name} requires ipVersion {needs}")));
        }
    }
    // Of notICMP Calico does not ask this.
    if member(rule, "icmp").is_some() && !matches!(member(rule, "protocol").and_then(protocol), Some(1 | 58)) {
        causes.push(Cause::invalid_text(path, "ICMP fields need protocol ICMP or ICMPv6"));
    }
}

fn ports(rule: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let spoken = member(rule, "protocol").map(protocol);
    for side in ["source", "destination"] {
        let Some(entity) = member(rule, side) else { continue };
        let side = path.child(side);
        for field in ["ports", "notPorts"] {
            let list = items(entity, field);
            let path = side.child(field);
            let says = match spoken {
                None if list.iter().any(|p| !entity::is_named(p)) => "ports by number need a protocol",
                Some(Some(6 | 17 | 132) | None) | None => continue,
                Some(_) if list.is_empty() => continue,
                Some(_) => "ports need protocol TCP, UDP or SCTP",
            };
            causes.push(Cause::invalid_text(&path, says));
        }
    }
}

/// All addresses of a rule are of one family.
fn families(rule: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let mut family = member(rule, "ipVersion").and_then(Value::as_i64);
    for side in ["source", "destination"] {
        let Some(entity) = member(rule, side) else { continue };
        let side = path.child(side);
        for field in ["nets", "notNets"] {
            let nets = side.child(field);
            for (i, net) in items(entity, field).iter().enumerate() {
                let net = net.as_str().unwrap_or_default();
                // IPv4 in the form of IPv6 is IPv4.
                let is_v6 = net.parse::<IpAddr>().map_or_else(|_| net.contains(':'), |ip| canonical(ip).is_ipv6());
                let own = if is_v6 { 6 } else { 4 };
                if *family.get_or_insert(own) != own {
                    causes.push(Cause::invalid(&nets.index(i), net, "rule contains both IPv4 and IPv6 CIDRs"));
                }
            }
        }
    }
}

fn http_of_rule(rule: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if member(rule, "http").is_none() {
        return;
    }
    if text(rule, "action") != "Allow" {
        causes.push(Cause::invalid_text(path, "rules with HTTP match must have action Allow"));
    }
    if member(rule, "protocol").is_some_and(|p| protocol(p) != Some(6)) {
        causes.push(Cause::invalid_text(path, "rules with HTTP match must have protocol TCP or unset"));
    }
}

fn annotations(rule: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(meta) = member(rule, "metadata") {
        metadata::annotations(meta, &path.child("metadata"), causes);
    }
}

/// What a rule may say depends on whose it is.
pub(super) fn in_direction(rule: &Value<'_>, direction: &str, global: bool, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if direction == "egress" && member(rule, "http").is_some() {
        causes.push(Cause::forbidden(&path.child("http"), "not in egress rules"));
    }
    for (side, of) in [("source", "ingress"), ("destination", "egress")] {
        let Some(entity) = member(rule, side) else { continue };
        let path = path.child(side);
        entity::selectors(entity, &path, causes);
        let Some(services) = member(entity, "services") else { continue };
        let path = path.child("services");
        if direction != of {
            causes.push(Cause::forbidden(&path, &format!("{side} services are for {of} rules")));
        }
        if global && text(services, "namespace").is_empty() {
            causes.push(Cause::required(&path.child("namespace"), "a global policy is in no namespace of its own"));
        }
    }
}
