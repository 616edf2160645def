//! `projectcalico.org/v3`, which is also what `crd.projectcalico.org/v1` stores.

use super::super::networkpolicy;
use super::super::{Cause, Path, items, label, member, name, text};
use super::entity::{self, selects};
use super::rule::{RULES, in_direction};
use super::structural::{List, Object, Schema, Text};
use super::{Resource, cluster, nothing};
use crate::value::Value;

const fn namespaced(kind: &'static str, root: &'static Object, name: super::metadata::NameRule) -> Resource {
    Resource { kind, namespaced: true, name, root, further: nothing }
}

const fn global(kind: &'static str, root: &'static Object, name: super::metadata::NameRule) -> Resource {
    Resource { namespaced: false, ..namespaced(kind, root, name) }
}

pub(super) static RESOURCES: &[Resource] = &[
    Resource { further: policy, ..namespaced("NetworkPolicy", &POLICY, policy_name) },
    Resource { further: global_policy, ..global("GlobalNetworkPolicy", &GLOBAL_POLICY, global_policy_name) },
    Resource { further: policy, ..namespaced("StagedNetworkPolicy", &STAGED_POLICY, policy_name) },
    Resource {
        further: global_policy,
        ..global("StagedGlobalNetworkPolicy", &STAGED_GLOBAL_POLICY, global_policy_name)
    },
    Resource {
        further: kubernetes_policy,
        ..namespaced("StagedKubernetesNetworkPolicy", &STAGED_KUBERNETES_POLICY, short)
    },
    global("Tier", &TIER, name::label),
    Resource { further: network_set, ..namespaced("NetworkSet", &NETWORK_SET, name::subdomain) },
    Resource { further: network_set, ..global("GlobalNetworkSet", &NETWORK_SET, name::subdomain) },
    global("HostEndpoint", &HOST_ENDPOINT, name::subdomain),
    Resource { further: profile, ..global("Profile", &PROFILE, name::subdomain) },
];

const VERSION: (&str, Schema) = ("apiVersion", Schema::Any);
const KIND: (&str, Schema) = ("kind", Schema::Any);
const META: (&str, Schema) = ("metadata", Schema::Any);
const STATUS: (&str, Schema) = ("status", Schema::Any);

const fn list(item: Schema, most: usize) -> List {
    List { item, least: 0, most, set: false }
}

const fn set(item: Schema, least: usize, most: usize) -> List {
    List { item, least, most, set: true }
}

/// A selector that may not say `global()`.
const SELECTOR: Schema = Schema::Text(&[Text::Most(1024), Text::Rule(entity::is_not_global, entity::GLOBAL)]);
const TIER_NAME: (&str, Schema) = ("tier", Schema::Text(&[]));
const ORDER: (&str, Schema) = ("order", Schema::Number);
const INGRESS: (&str, Schema) = ("ingress", Schema::List(&RULES));
const EGRESS: (&str, Schema) = ("egress", Schema::List(&RULES));
const SELECTED: (&str, Schema) = ("selector", SELECTOR);
const TYPES: (&str, Schema) = ("types", Schema::List(&set(Schema::Text(&[Text::Enum(&["Ingress", "Egress"])]), 1, 2)));
const ACCOUNTS: (&str, Schema) = ("serviceAccountSelector", SELECTOR);
const NAMESPACES: (&str, Schema) = ("namespaceSelector", SELECTOR);
const HINTS: (&str, Schema) =
    ("performanceHints", Schema::List(&set(Schema::Text(&[Text::Enum(&["AssumeNeededOnEveryNode"])]), 0, usize::MAX)));
const UNTRACKED: (&str, Schema) = ("doNotTrack", Schema::Bool);
const BEFORE_DNAT: (&str, Schema) = ("preDNAT", Schema::Bool);
const FORWARDED: (&str, Schema) = ("applyOnForward", Schema::Bool);
const STAGED_ACTION: (&str, Schema) =
    ("stagedAction", Schema::Text(&[Text::Enum(&["Set", "Delete", "Learn", "Ignore"])]));

static POLICY: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&POLICY_SPEC))]);
static POLICY_SPEC: Object = Object::of(&[TIER_NAME, ORDER, INGRESS, EGRESS, SELECTED, TYPES, ACCOUNTS, HINTS]);

static GLOBAL_POLICY: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&GLOBAL_SPEC))]);
static GLOBAL_SPEC: Object = Object::of(&[
    TIER_NAME,
    ORDER,
    INGRESS,
    EGRESS,
    SELECTED,
    NAMESPACES,
    TYPES,
    ACCOUNTS,
    HINTS,
    UNTRACKED,
    BEFORE_DNAT,
    FORWARDED,
])
.ruled(&[host_traffic]);

static STAGED_POLICY: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&STAGED_SPEC))]);
static STAGED_SPEC: Object =
    Object::of(&[STAGED_ACTION, TIER_NAME, ORDER, INGRESS, EGRESS, SELECTED, TYPES, ACCOUNTS, HINTS])
        .ruled(&[deletion_is_bare]);

static STAGED_GLOBAL_POLICY: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&STAGED_GLOBAL_SPEC))]);
static STAGED_GLOBAL_SPEC: Object = Object::of(&[
    STAGED_ACTION,
    TIER_NAME,
    ORDER,
    INGRESS,
    EGRESS,
    SELECTED,
    NAMESPACES,
    TYPES,
    ACCOUNTS,
    HINTS,
    UNTRACKED,
    BEFORE_DNAT,
    FORWARDED,
])
.ruled(&[host_traffic, deletion_is_bare]);

static STAGED_KUBERNETES_POLICY: Object =
    Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&KUBERNETES_SPEC))]);
static KUBERNETES_SPEC: Object = Object::of(&[
    STAGED_ACTION,
    ("podSelector", Schema::Object(&cluster::LABELS)),
    ("ingress", Schema::List(&list(Schema::Object(&KUBERNETES_INGRESS), usize::MAX))),
    ("egress", Schema::List(&list(Schema::Object(&KUBERNETES_EGRESS), usize::MAX))),
    ("policyTypes", Schema::List(&list(Schema::Text(&[]), usize::MAX))),
])
.ruled(&[deletion_is_bare]);
const KUBERNETES_PORTS: (&str, Schema) = ("ports", Schema::List(&list(Schema::Object(&KUBERNETES_PORT), usize::MAX)));
static KUBERNETES_INGRESS: Object =
    Object::of(&[KUBERNETES_PORTS, ("from", Schema::List(&list(Schema::Object(&KUBERNETES_PEER), usize::MAX)))]);
static KUBERNETES_EGRESS: Object =
    Object::of(&[KUBERNETES_PORTS, ("to", Schema::List(&list(Schema::Object(&KUBERNETES_PEER), usize::MAX)))]);
static KUBERNETES_PORT: Object = Object::of(&[
    ("protocol", Schema::Text(&[])),
    ("port", Schema::IntOrText),
    ("endPort", Schema::Int(i32::MIN as i64, i32::MAX as i64)),
]);
static KUBERNETES_PEER: Object = Object::of(&[
    ("podSelector", Schema::Object(&cluster::LABELS)),
    ("namespaceSelector", Schema::Object(&cluster::LABELS)),
    ("ipBlock", Schema::Object(&KUBERNETES_BLOCK)),
]);
static KUBERNETES_BLOCK: Object =
    Object::of(&[("cidr", Schema::Text(&[])), ("except", Schema::List(&list(Schema::Text(&[]), usize::MAX)))]);

static TIER: Object =
    Object::of(&[VERSION, KIND, META, STATUS, ("spec", Schema::Object(&TIER_SPEC))]).ruled(&[tier_of_calico]);
static TIER_SPEC: Object = Object::of(&[ORDER, ("defaultAction", Schema::Text(&[Text::Enum(&["Deny", "Pass"])]))]);

static NETWORK_SET: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&NETWORK_SET_SPEC))]);
const NET: Schema = Schema::Text(&[Text::Rule(entity::is_net, "must be an IP address or a CIDR block")]);
static NETWORK_SET_SPEC: Object = Object::of(&[("nets", Schema::List(&list(NET, usize::MAX)))]);

static PROFILE: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&PROFILE_SPEC))]);
static PROFILE_SPEC: Object = Object::of(&[INGRESS, EGRESS, ("labelsToApply", Schema::Texts)]);

static HOST_ENDPOINT: Object = Object::of(&[VERSION, KIND, META, ("spec", Schema::Object(&HOST_SPEC))]);
static HOST_SPEC: Object = Object::of(&[
    ("node", Schema::Text(&[])),
    ("interfaceName", Schema::Text(&[Text::Rule(is_interface, INTERFACE)])),
    ("expectedIPs", Schema::List(&list(Schema::Text(&[Text::Rule(is_address, "must be an IP address")]), usize::MAX))),
    (
        "profiles",
        Schema::List(&list(Schema::Text(&[Text::Rule(is_name, "must be the name of a profile")]), usize::MAX)),
    ),
    ("ports", Schema::List(&list(Schema::Object(&HOST_PORT), usize::MAX))),
])
.ruled(&[host_endpoint]);
static HOST_PORT: Object = Object::of(&[
    ("name", Schema::Text(&[Text::Rule(is_port_name, "must be the name of a port")])),
    ("protocol", Schema::IntOrText),
    ("port", Schema::Int(1, 65535)),
])
.needs(&["name", "protocol", "port"])
.ruled(&[host_port]);

const INTERFACE: &str = "must be `*`, or up to 15 letters, digits and `_.-`";

fn is_interface(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    text.is_empty() || text == "*" || (text.len() <= 15 && text.bytes().all(fits))
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

fn is_name(text: &str) -> bool {
    name::subdomain(text).is_empty()
}

fn is_port_name(text: &str) -> bool {
    name::port(text).is_empty()
}

const NAME: &str = "must be a DNS label, or two with a dot between them";

/// Names of NetworkPolicies: up to two labels; those made of other APIs' policies say so in their first.
fn policy_name(text: &str) -> Vec<String> {
    let converted = ["knp.default.", "ossg.default."].iter().find_map(|p| text.strip_prefix(p));
    if converted.is_some_and(is_name) { short(text) } else { global_policy_name(text) }
}

fn global_policy_name(text: &str) -> Vec<String> {
    let errors = short(text);
    // Calico's labels are of any length, as long as the whole name is not.
    let labels = text.split('.').filter(|l| l.len() > 63 || !name::label(l).is_empty());
    let odd = labels.into_iter().any(|l| !is_name(l)) || text.matches('.').count() > 1;
    if errors.is_empty() && odd { vec![NAME.to_owned()] } else { errors }
}

fn short(text: &str) -> Vec<String> {
    if text.len() > 253 { vec!["must be no more than 253 characters".to_owned()] } else { Vec::new() }
}

fn spec_of<'v, 'a>(value: &'v Value<'a>) -> &'v Value<'a> {
    member(value, "spec").unwrap_or(&Value::Null)
}

fn policy(value: &Value<'_>, causes: &mut Vec<Cause>) {
    rules_of(spec_of(value), false, causes);
}

fn global_policy(value: &Value<'_>, causes: &mut Vec<Cause>) {
    rules_of(spec_of(value), true, causes);
}

fn rules_of(spec: &Value<'_>, global: bool, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    let path = root.child("spec");
    for field in ["selector", "namespaceSelector", "serviceAccountSelector"] {
        selects(spec, field, &path, causes);
    }
    for direction in ["ingress", "egress"] {
        let rules = path.child(direction);
        for (i, rule) in items(spec, direction).iter().enumerate() {
            in_direction(rule, direction, global, &rules.index(i), causes);
        }
    }
}

fn kubernetes_policy(value: &Value<'_>, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    networkpolicy::spec(spec_of(value), &root.child("spec"), causes);
}

fn network_set(value: &Value<'_>, causes: &mut Vec<Cause>) {
    const NAMESPACE: &str = "projectcalico.org/namespace";
    let root = Path::ROOT;
    let meta = member(value, "metadata").unwrap_or(&Value::Null);
    if member(meta, "labels").is_some_and(|l| l.get(NAMESPACE).is_some()) {
        let path = root.child("metadata");
        let says = "is set by Calico and cannot be given";
        causes.push(Cause::invalid(&path.child("labels"), NAMESPACE, says).at_name(NAMESPACE));
    }
}

fn profile(value: &Value<'_>, causes: &mut Vec<Cause>) {
    let root = Path::ROOT;
    rules_of(spec_of(value), true, causes);
    label::validate(spec_of(value), "labelsToApply", &root.child("spec"), causes);
}

/// What is about the traffic of hosts goes together only in parts.
fn host_traffic(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let is = |field| member(spec, field).and_then(Value::as_bool) == Some(true);
    let (untracked, before, forwarded) = (is("doNotTrack"), is("preDNAT"), is("applyOnForward"));
    let mut says = |text: &str| causes.push(Cause::invalid_text(path, text));
    if before && untracked {
        says("preDNAT and doNotTrack cannot both be true");
    }
    if before && !items(spec, "egress").is_empty() {
        says("preDNAT policy cannot have any egress rules");
    }
    if before && items(spec, "types").iter().any(|t| t.as_str() == Some("Egress")) {
        says("preDNAT policy cannot have 'Egress' type");
    }
    if (before || untracked) && !forwarded {
        says("applyOnForward must be true if either preDNAT or doNotTrack is true");
    }
}

/// What is to be deleted is named, and nothing else.
fn deletion_is_bare(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if text(spec, "stagedAction") != "Delete" {
        return;
    }
    let zero = |v: &Value<'_>| match v {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.iter().next().is_none(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    for (field, value) in spec.as_object().into_iter().flat_map(|m| m.iter()) {
        if !["stagedAction", "tier"].contains(&field) && !zero(value) {
            causes.push(Cause::forbidden(
                &path.child(field),
                "a staged deletion has no fields but stagedAction and tier",
            ));
        }
    }
}

/// Tiers that Calico makes itself stay as it makes them.
fn tier_of_calico(tier: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let name = member(tier, "metadata").map_or("", |m| text(m, "name"));
    let (order, action) = match name {
        "kube-admin" => (1000, "Pass"),
        "default" => (1_000_000, "Deny"),
        "kube-baseline" => (10_000_000, "Pass"),
        _ => return,
    };
    let spec = spec_of(tier);
    let path = path.child("spec");
    // What is not written is Deny.
    let written = member(spec, "defaultAction").and_then(Value::as_str).unwrap_or("Deny");
    if written != action {
        let says = format!("The '{name}' tier must have default action '{action}'");
        causes.push(Cause::invalid_text(&path.child("defaultAction"), &says));
    }
    let is_order = |v: &Value<'_>| matches!(v, Value::Number(n) if n.as_f64() == Some(f64::from(order)));
    if !member(spec, "order").is_some_and(is_order) {
        causes.push(Cause::invalid_text(&path.child("order"), &format!("{name} tier order must be {order}")));
    }
}

fn host_endpoint(spec: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if text(spec, "node").is_empty() {
        causes.push(Cause::required(&path.child("node"), ""));
    }
    if text(spec, "interfaceName").is_empty() && items(spec, "expectedIPs").is_empty() {
        causes.push(Cause::invalid_text(path, "at least one of interfaceName or expectedIPs must be specified"));
    }
}

fn host_port(port: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if !["TCP", "UDP", "SCTP"].contains(&text(port, "protocol")) {
        causes.push(Cause::not_supported(&path.child("protocol"), text(port, "protocol"), &["TCP", "UDP", "SCTP"]));
    }
}
