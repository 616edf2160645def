//! NetworkPolicy (`pkg/apis/networking/validation`).

use super::cause::{go_json_strings, go_quote};
use super::{Cause, Path, items, member, metadata, name, policyport, selector, sloppy_cidr, text};
use crate::value::Value;

/// A whole NetworkPolicy; causes in the order in which the API server finds them.
pub(super) fn validate(policy: &Value<'_>, causes: &mut Vec<Cause>) {
    metadata::validate(policy, name::subdomain, true, causes);
    let root = Path::ROOT;
    spec(member(policy, "spec").unwrap_or(&Value::Null), &root.child("spec"), causes);
}

/// The `spec` of a NetworkPolicy, which Calico's staged ones hold too.
pub(super) fn spec(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(pods) = member(spec, "podSelector") {
        selector::validate(pods, &path.child("podSelector"), causes);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let rules = path.child(direction);
        for (i, rule) in items(spec, direction).iter().enumerate() {
            let rule_path = rules.index(i);
            let ports_path = rule_path.child("ports");
            for (i, port) in items(rule, "ports").iter().enumerate() {
                policyport::validate(port, &ports_path.index(i), causes);
            }
            let peers_path = rule_path.child(peers);
            for (i, one) in items(rule, peers).iter().enumerate() {
                peer(one, &peers_path.index(i), causes);
            }
        }
    }
    policy_types(spec, &path.child("policyTypes"), causes);
}

fn peer(peer: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let mut given = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(value) = member(peer, field) {
            given += 1;
            selector::validate(value, &path.child(field), causes);
        }
    }
    let block = member(peer, "ipBlock");
    if let Some(block) = block {
        given += 1;
        ip_block(block, &path.child("ipBlock"), causes);
    }
    if given == 0 {
        causes.push(Cause::required(path, "must specify a peer"));
    } else if given > 1 && block.is_some() {
        causes.push(Cause::forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

fn ip_block(block: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let cidr = text(block, "cidr");
    let cidr_path = path.child("cidr");
    if cidr.is_empty() {
        causes.push(Cause::required(&cidr_path, ""));
        return;
    }
    let Some(outer) = sloppy_cidr(cidr) else {
        causes.push(Cause::invalid(&cidr_path, cidr, CIDR));
        return;
    };
    causes.extend(outer.fault().map(|detail| Cause::invalid(&cidr_path, cidr, detail)));
    let except_path = path.child("except");
    for (i, except) in items(block, "except").iter().enumerate() {
        let except = except.as_str().unwrap_or_default();
        let path = except_path.index(i);
        let Some(inner) = sloppy_cidr(except) else {
            causes.push(Cause::invalid(&path, except, CIDR));
            continue;
        };
        causes.extend(inner.fault().map(|detail| Cause::invalid(&path, except, detail)));
        if !outer.strictly_contains(&inner) {
            causes.push(Cause::invalid(&path, except, "must be a strict subset of `cidr`"));
        }
    }
}

/// What the API server says about a policy that it accepts (`networkPolicyWarnings`): IPv6 blocks in an unusual form.
/// Its other warnings about blocks are errors since strict validation of addresses.
pub(super) fn warnings(policy: &Value<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let root = Path::ROOT;
    let path = root.child("spec");
    let spec = member(policy, "spec").unwrap_or(&Value::Null);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let rules = path.child(direction);
        for (i, rule) in items(spec, direction).iter().enumerate() {
            let rule_path = rules.index(i);
            let peers_path = rule_path.child(peers);
            for (i, peer) in items(rule, peers).iter().enumerate() {
                let peer_path = peers_path.index(i);
                let path = peer_path.child("ipBlock");
                let Some(block) = member(peer, "ipBlock") else { continue };
                causes.extend(unusual(text(block, "cidr"), &path.child("cidr")));
                let except_path = path.child("except");
                for (i, except) in items(block, "except").iter().enumerate() {
                    causes.extend(unusual(except.as_str().unwrap_or_default(), &except_path.index(i)));
                }
            }
        }
    }
    causes
}

fn unusual(cidr: &str, path: &Path<'_>) -> Option<Cause> {
    let usual = sloppy_cidr(cidr)?.network();
    let is_unusual = usual.addr().is_ipv6() && usual.to_string() != cidr;
    is_unusual.then(|| {
        let message = format!(
            "IPv6 CIDR value {} should be in RFC 5952 canonical format ({})",
            go_quote(cidr),
            go_quote(&usual.to_string())
        );
        Cause::warning(path, message)
    })
}

fn policy_types(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let types: Vec<&str> = items(spec, "policyTypes").iter().map(|t| t.as_str().unwrap_or_default()).collect();
    if types.len() > 2 {
        let json = go_json_strings(types.into_iter());
        causes.push(Cause::invalid_raw(path, json, "may not specify more than two policyTypes"));
        return;
    }
    for (i, one) in types.iter().enumerate() {
        if !["Ingress", "Egress"].contains(one) {
            causes.push(Cause::not_supported(&path.index(i), one, &["Ingress", "Egress"]));
        }
    }
}
