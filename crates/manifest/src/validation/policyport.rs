//! Ports of a NetworkPolicy (`ValidateNetworkPolicyPort`).

use super::{Cause, Path, member, name};
use crate::value::Value;

const RANGE: &str = "must be between 1 and 65535, inclusive";

/// One item of `ports`.
pub(super) fn validate(port: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(protocol) = member(port, "protocol").and_then(Value::as_str)
        && !["TCP", "UDP", "SCTP"].contains(&protocol)
    {
        causes.push(Cause::not_supported(&path.child("protocol"), protocol, &["TCP", "UDP", "SCTP"]));
    }
    let port_path = path.child("port");
    let end_path = path.child("endPort");
    let end = member(port, "endPort").and_then(Value::as_i64);
    match (member(port, "port"), end) {
        (None, None) => {}
        (None, Some(end)) => {
            causes.push(Cause::invalid_raw(&end_path, end, "may not be specified when `port` is not specified"));
        }
        (Some(Value::String(text)), end) => {
            if let Some(end) = end {
                causes.push(Cause::invalid_raw(&end_path, end, "may not be specified when `port` is non-numeric"));
            }
            causes.extend(name::port(text).iter().map(|e| Cause::invalid(&port_path, text, e)));
        }
        (Some(number), end) => {
            let number = number.as_i64().unwrap_or_default();
            if !(1..=65535).contains(&number) {
                causes.push(Cause::invalid_raw(&port_path, number, RANGE));
            }
            if let Some(end) = end {
                if end < number {
                    // The API server names the value of `port` here, not that of `endPort`.
                    causes.push(Cause::invalid_raw(&end_path, number, "must be greater than or equal to `port`"));
                }
                if !(1..=65535).contains(&end) {
                    causes.push(Cause::invalid_raw(&end_path, end, RANGE));
                }
            }
        }
    }
}
