//! `policy.networking.k8s.io`: ClusterNetworkPolicy (v1alpha2, experimental channel), AdminNetworkPolicy and
//! BaselineAdminNetworkPolicy (v1alpha1).

use super::super::{Cause, Path, items, member, name, sloppy_cidr, text};
use super::structural::{List, Object, Schema, Text};
use super::{Resource, nothing};
use crate::value::Value;

pub(super) static V1ALPHA2: &[Resource] = &[Resource {
    kind: "ClusterNetworkPolicy",
    namespaced: false,
    name: name::subdomain,
    root: &CLUSTER_POLICY,
    further: nothing,
}];

pub(super) static V1ALPHA1: &[Resource] = &[
    Resource {
        kind: "AdminNetworkPolicy",
        namespaced: false,
        name: name::subdomain,
        root: &ADMIN_POLICY,
        further: nothing,
    },
    Resource {
        kind: "BaselineAdminNetworkPolicy",
        namespaced: false,
        name: name::subdomain,
        root: &BASELINE_POLICY,
        further: nothing,
    },
];

const fn list(item: Schema, least: usize, most: usize) -> List {
    List { item, least, most, set: false }
}

const fn set(item: Schema, least: usize, most: usize) -> List {
    List { set: true, ..list(item, least, most) }
}

const VERSION: (&str, Schema) = ("apiVersion", Schema::Any);
const KIND: (&str, Schema) = ("kind", Schema::Any);
const META: (&str, Schema) = ("metadata", Schema::Any);
const STATUS: (&str, Schema) = ("status", Schema::Any);
const TEXT: Schema = Schema::Text(&[]);
const RULE_NAME: (&str, Schema) = ("name", Schema::Text(&[Text::Most(100)]));
const PORT: Schema = Schema::Int(1, 65535);
const PRIORITY: (&str, Schema) = ("priority", Schema::Int(0, 1000));

pub(super) static LABELS: Object = Object::of(&[
    ("matchLabels", Schema::Texts),
    ("matchExpressions", Schema::List(&list(Schema::Object(&REQUIREMENT), 0, usize::MAX))),
]);
static REQUIREMENT: Object =
    Object::of(&[("key", TEXT), ("operator", TEXT), ("values", Schema::List(&list(TEXT, 0, usize::MAX)))])
        .needs(&["key", "operator"]);

const NAMESPACES: (&str, Schema) = ("namespaces", Schema::Object(&LABELS));
const PODS: (&str, Schema) = ("pods", Schema::Object(&POD_PEER));
static POD_PEER: Object =
    Object::of(&[("namespaceSelector", Schema::Object(&LABELS)), ("podSelector", Schema::Object(&LABELS))])
        .needs(&["podSelector"]);
static ADMIN_POD_PEER: Object =
    Object::of(&[("namespaceSelector", Schema::Object(&LABELS)), ("podSelector", Schema::Object(&LABELS))])
        .needs(&["namespaceSelector", "podSelector"]);
const ADMIN_PODS: (&str, Schema) = ("pods", Schema::Object(&ADMIN_POD_PEER));

const NETWORKS: (&str, Schema) = (
    "networks",
    Schema::List(&set(Schema::Text(&[Text::Most(43), Text::Rule(is_cidr, "Invalid CIDR format provided")]), 1, 25)),
);
const NODES: (&str, Schema) = ("nodes", Schema::Object(&LABELS));
const DOMAIN: &str = r"^(\*\.)?([a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$";
const DOMAINS: (&str, Schema) =
    ("domainNames", Schema::List(&set(Schema::Text(&[Text::Pattern(DOMAIN, is_domain)]), 1, 25)));

static SUBJECT: Object = Object::of(&[NAMESPACES, PODS]).one_field();
static INGRESS_PEER: Object = Object::of(&[NAMESPACES, PODS]).one_field();
static EGRESS_PEER: Object = Object::of(&[NAMESPACES, PODS, NETWORKS, NODES, DOMAINS]).one_field();

static CLUSTER_POLICY: Object =
    Object::of(&[VERSION, KIND, META, STATUS, ("spec", Schema::Object(&CLUSTER_SPEC))]).needs(&["spec"]);
static CLUSTER_SPEC: Object = Object::of(&[
    ("tier", Schema::Text(&[Text::Enum(&["Admin", "Baseline"])])),
    PRIORITY,
    ("subject", Schema::Object(&SUBJECT)),
    ("ingress", Schema::List(&list(Schema::Object(&CLUSTER_INGRESS), 0, 25))),
    ("egress", Schema::List(&list(Schema::Object(&CLUSTER_EGRESS), 0, 25))),
])
.needs(&["tier", "priority", "subject"]);

const CLUSTER_ACTION: (&str, Schema) = ("action", Schema::Text(&[Text::Enum(&["Accept", "Deny", "Pass"])]));
const PROTOCOLS: (&str, Schema) = ("protocols", Schema::List(&list(Schema::Object(&PROTOCOL), 1, 25)));
static CLUSTER_INGRESS: Object = Object::of(&[
    RULE_NAME,
    CLUSTER_ACTION,
    ("from", Schema::List(&list(Schema::Object(&INGRESS_PEER), 1, 25))),
    PROTOCOLS,
])
.needs(&["action", "from"]);
static CLUSTER_EGRESS: Object = Object::of(&[
    RULE_NAME,
    CLUSTER_ACTION,
    ("to", Schema::List(&list(Schema::Object(&EGRESS_PEER), 1, 25))),
    PROTOCOLS,
])
.needs(&["action", "to"])
.ruled(&[no_names_of_networks]);

static PROTOCOL: Object = Object::of(&[
    ("tcp", Schema::Object(&TRANSPORT)),
    ("udp", Schema::Object(&TRANSPORT)),
    ("sctp", Schema::Object(&TRANSPORT)),
    ("destinationNamedPort", TEXT),
])
.one_field();
static TRANSPORT: Object = Object { least: 1, ..Object::of(&[("destinationPort", Schema::Object(&DESTINATION))]) };
static DESTINATION: Object = Object::of(&[("number", PORT), ("range", Schema::Object(&RANGE))]).one_field();
static RANGE: Object = Object::of(&[("start", PORT), ("end", PORT)]).needs(&["start", "end"]).ruled(&[ascending]);

static ADMIN_POLICY: Object =
    Object::of(&[VERSION, KIND, META, STATUS, ("spec", Schema::Object(&ADMIN_SPEC))]).needs(&["metadata", "spec"]);
static ADMIN_SPEC: Object = Object::of(&[
    PRIORITY,
    ("subject", Schema::Object(&ADMIN_SUBJECT)),
    ("ingress", Schema::List(&list(Schema::Object(&ADMIN_INGRESS), 0, 100))),
    ("egress", Schema::List(&list(Schema::Object(&ADMIN_EGRESS), 0, 100))),
])
.needs(&["priority", "subject"]);
static ADMIN_SUBJECT: Object = Object::of(&[NAMESPACES, ADMIN_PODS]).one_field();
const ADMIN_ACTION: (&str, Schema) = ("action", Schema::Text(&[Text::Enum(&["Allow", "Deny", "Pass"])]));
const PORTS: (&str, Schema) = ("ports", Schema::List(&list(Schema::Object(&ADMIN_PORT), 0, 100)));
const FROM: (&str, Schema) = ("from", Schema::List(&list(Schema::Object(&ADMIN_SUBJECT), 1, 100)));
static ADMIN_INGRESS: Object = Object::of(&[RULE_NAME, ADMIN_ACTION, FROM, PORTS]).needs(&["action", "from"]);
static ADMIN_EGRESS: Object = Object::of(&[
    RULE_NAME,
    ADMIN_ACTION,
    ("to", Schema::List(&list(Schema::Object(&ADMIN_EGRESS_PEER), 1, 100))),
    PORTS,
])
.needs(&["action", "to"])
.ruled(&[no_names_of_networks]);
static ADMIN_EGRESS_PEER: Object = Object::of(&[NAMESPACES, ADMIN_PODS, NETWORKS, NODES, DOMAINS]).one_field();
static ADMIN_PORT: Object = Object::of(&[
    ("portNumber", Schema::Object(&PORT_NUMBER)),
    ("namedPort", TEXT),
    ("portRange", Schema::Object(&PORT_RANGE)),
])
.one_field();
// The protocol is TCP where none is written.
static PORT_NUMBER: Object = Object::of(&[("protocol", TEXT), ("port", PORT)]).needs(&["port"]);
static PORT_RANGE: Object =
    Object::of(&[("protocol", TEXT), ("start", PORT), ("end", PORT)]).needs(&["start", "end"]).ruled(&[ascending]);

static BASELINE_POLICY: Object = Object::of(&[VERSION, KIND, META, STATUS, ("spec", Schema::Object(&BASELINE_SPEC))])
    .needs(&["metadata", "spec"])
    .ruled(&[only_default]);
static BASELINE_SPEC: Object = Object::of(&[
    ("subject", Schema::Object(&ADMIN_SUBJECT)),
    ("ingress", Schema::List(&list(Schema::Object(&BASELINE_INGRESS), 0, 100))),
    ("egress", Schema::List(&list(Schema::Object(&BASELINE_EGRESS), 0, 100))),
])
.needs(&["subject"]);
const BASELINE_ACTION: (&str, Schema) = ("action", Schema::Text(&[Text::Enum(&["Allow", "Deny"])]));
static BASELINE_INGRESS: Object = Object::of(&[RULE_NAME, BASELINE_ACTION, FROM, PORTS]).needs(&["action", "from"]);
static BASELINE_EGRESS: Object = Object::of(&[
    RULE_NAME,
    BASELINE_ACTION,
    ("to", Schema::List(&list(Schema::Object(&BASELINE_EGRESS_PEER), 1, 100))),
    PORTS,
])
.needs(&["action", "to"])
.ruled(&[no_names_of_networks]);
static BASELINE_EGRESS_PEER: Object = Object::of(&[NAMESPACES, ADMIN_PODS, NETWORKS, NODES]).one_field();

fn ascending(range: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let of = |field| member(range, field).and_then(Value::as_i64);
    if of("start") >= of("end") {
        causes.push(Cause::invalid_text(path, "Start port must be less than End port"));
    }
}

fn no_names_of_networks(rule: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let cluster = member(rule, "protocols").is_some();
    let named = items(rule, "protocols").iter().any(|p| member(p, "destinationNamedPort").is_some())
        || items(rule, "ports").iter().any(|p| member(p, "namedPort").is_some());
    let others: &[&str] = if cluster { &["networks", "nodes", "domainNames"] } else { &["networks", "nodes"] };
    if named && items(rule, "to").iter().any(|peer| others.iter().any(|f| member(peer, f).is_some())) {
        let others = others.join("/");
        let text = format!("{others} peer cannot be set with namedPorts since there are no namedPorts for {others}");
        causes.push(Cause::invalid_text(path, &text));
    }
}

fn only_default(policy: &Value<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if member(policy, "metadata").is_some_and(|m| text(m, "name") != "default") {
        let says =
            "Only one baseline admin network policy with metadata.name=\"default\" can be created in the cluster";
        causes.push(Cause::invalid_text(path, says));
    }
}

/// CEL's `isCIDR`: strict in its numbers, host bits are allowed.
fn is_cidr(text: &str) -> bool {
    sloppy_cidr(text).is_some_and(|cidr| !cidr.leading_zeros && !cidr.is_mapped())
}

/// The pattern of the definition, with the letters that `A-z` admits beyond those that were meant.
fn is_domain(text: &str) -> bool {
    let text = text.strip_prefix("*.").unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    let first = |c: u8| c.is_ascii_digit() || (b'A'..=b'z').contains(&c);
    let is_label = |label: &str| match *label.as_bytes() {
        [] => false,
        [one] => first(one),
        [one, ref inner @ .., last] => {
            let inner_is_fine = inner.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
            first(one) && inner_is_fine && last.is_ascii_alphanumeric()
        }
    };
    text.contains('.') && text.split('.').all(is_label)
}
