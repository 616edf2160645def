//! The Go types of the kinds that tortie reads: NetworkPolicy completely, of the others what is read.

use tortie_model::Kind;

use super::entry;
use super::schema::{INT32, INT64, LABELS, Shape, Struct, TEXT, TEXTS};

/// The struct of a kind.
pub(super) fn of(kind: Kind) -> &'static Struct {
    match kind {
        Kind::NetworkPolicy => &NETWORK_POLICY,
        Kind::Namespace => &NAMESPACE,
        Kind::Node => &NODE,
        Kind::Pod => &POD,
        Kind::Service => &SERVICE,
        Kind::Deployment
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::ReplicaSet
        | Kind::ReplicationController
        | Kind::Job => &WORKLOAD,
        Kind::EndpointSlice => &ENDPOINT_SLICE,
        Kind::Ingress => &entry::INGRESS,
        Kind::Gateway => &entry::GATEWAY,
        Kind::HTTPRoute => &entry::HTTP_ROUTE,
        Kind::ReferenceGrant => &entry::REFERENCE_GRANT,
        Kind::CronJob => &CRON_JOB,
        // Those of custom resources have definitions of their own.
        Kind::ServiceAccount
        | Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::Tier
        | Kind::NetworkSet
        | Kind::GlobalNetworkSet
        | Kind::Profile
        | Kind::HostEndpoint
        | Kind::ClusterNetworkPolicy
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy => &super::schema::META_ONLY,
    }
}

pub(super) const META: Shape = Shape::Struct(&OBJECT_META);

static OBJECT_META: Struct = Struct {
    name: "ObjectMeta",
    go_type: "v1.ObjectMeta",
    fields: &[
        ("name", TEXT),
        ("generateName", TEXT),
        ("namespace", TEXT),
        ("selfLink", TEXT),
        ("uid", Shape::Text("types.UID")),
        ("resourceVersion", TEXT),
        ("generation", INT64),
        ("creationTimestamp", Shape::Time),
        ("deletionTimestamp", Shape::Time),
        ("deletionGracePeriodSeconds", INT64),
        ("labels", LABELS),
        ("annotations", LABELS),
        ("ownerReferences", Shape::List("[]v1.OwnerReference", &Shape::Struct(&OWNER))),
        ("finalizers", TEXTS),
        ("managedFields", Shape::List("[]v1.ManagedFieldsEntry", &Shape::Struct(&MANAGED))),
    ],
};

static OWNER: Struct = Struct {
    name: "OwnerReference",
    go_type: "v1.OwnerReference",
    fields: &[
        ("apiVersion", TEXT),
        ("kind", TEXT),
        ("name", TEXT),
        ("uid", Shape::Text("types.UID")),
        ("controller", Shape::Bool),
        ("blockOwnerDeletion", Shape::Bool),
    ],
};

static MANAGED: Struct = Struct {
    name: "ManagedFieldsEntry",
    go_type: "v1.ManagedFieldsEntry",
    fields: &[
        ("manager", TEXT),
        ("operation", Shape::Text("v1.ManagedFieldsOperationType")),
        ("apiVersion", TEXT),
        ("time", Shape::Time),
        ("fieldsType", TEXT),
        ("fieldsV1", Shape::Any),
        ("subresource", TEXT),
    ],
};

pub(super) const VERSION: (&str, Shape) = ("apiVersion", TEXT);
pub(super) const KIND: (&str, Shape) = ("kind", TEXT);

static NETWORK_POLICY: Struct = Struct {
    name: "NetworkPolicy",
    go_type: "v1.NetworkPolicy",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&NETWORK_POLICY_SPEC))],
};

static NETWORK_POLICY_SPEC: Struct = Struct {
    name: "NetworkPolicySpec",
    go_type: "v1.NetworkPolicySpec",
    fields: &[
        ("podSelector", SELECTOR),
        ("ingress", Shape::List("[]v1.NetworkPolicyIngressRule", &Shape::Struct(&INGRESS))),
        ("egress", Shape::List("[]v1.NetworkPolicyEgressRule", &Shape::Struct(&EGRESS))),
        ("policyTypes", Shape::List("[]v1.PolicyType", &Shape::Text("v1.PolicyType"))),
    ],
};

static INGRESS: Struct = Struct {
    name: "NetworkPolicyIngressRule",
    go_type: "v1.NetworkPolicyIngressRule",
    fields: &[("ports", PORTS), ("from", PEERS)],
};

static EGRESS: Struct = Struct {
    name: "NetworkPolicyEgressRule",
    go_type: "v1.NetworkPolicyEgressRule",
    fields: &[("ports", PORTS), ("to", PEERS)],
};

const PORTS: Shape = Shape::List("[]v1.NetworkPolicyPort", &Shape::Struct(&POLICY_PORT));
const PEERS: Shape = Shape::List("[]v1.NetworkPolicyPeer", &Shape::Struct(&PEER));

static POLICY_PORT: Struct = Struct {
    name: "NetworkPolicyPort",
    go_type: "v1.NetworkPolicyPort",
    fields: &[("protocol", PROTOCOL), ("port", Shape::IntOrString), ("endPort", INT32)],
};

const PROTOCOL: Shape = Shape::Text("v1.Protocol");

static PEER: Struct = Struct {
    name: "NetworkPolicyPeer",
    go_type: "v1.NetworkPolicyPeer",
    fields: &[("podSelector", SELECTOR), ("namespaceSelector", SELECTOR), ("ipBlock", Shape::Struct(&IP_BLOCK))],
};

static IP_BLOCK: Struct =
    Struct { name: "IPBlock", go_type: "v1.IPBlock", fields: &[("cidr", TEXT), ("except", TEXTS)] };

pub(super) const SELECTOR: Shape = Shape::Struct(&LABEL_SELECTOR);

static LABEL_SELECTOR: Struct = Struct {
    name: "LabelSelector",
    go_type: "v1.LabelSelector",
    fields: &[
        ("matchLabels", LABELS),
        ("matchExpressions", Shape::List("[]v1.LabelSelectorRequirement", &Shape::Struct(&REQUIREMENT))),
    ],
};

static REQUIREMENT: Struct = Struct {
    name: "LabelSelectorRequirement",
    go_type: "v1.LabelSelectorRequirement",
    fields: &[("key", TEXT), ("operator", Shape::Text("v1.LabelSelectorOperator")), ("values", TEXTS)],
};

static NAMESPACE: Struct =
    Struct { name: "Namespace", go_type: "v1.Namespace", fields: &[VERSION, KIND, ("metadata", META)] };

static NODE: Struct = Struct {
    name: "Node",
    go_type: "v1.Node",
    fields: &[
        VERSION,
        KIND,
        ("metadata", META),
        ("spec", Shape::Struct(&NODE_SPEC)),
        ("status", Shape::Struct(&NODE_STATUS)),
    ],
};

static NODE_SPEC: Struct =
    Struct { name: "NodeSpec", go_type: "v1.NodeSpec", fields: &[("podCIDR", TEXT), ("podCIDRs", TEXTS)] };

static NODE_STATUS: Struct = Struct {
    name: "NodeStatus",
    go_type: "v1.NodeStatus",
    fields: &[("addresses", Shape::List("[]v1.NodeAddress", &Shape::Struct(&NODE_ADDRESS)))],
};

static NODE_ADDRESS: Struct = Struct {
    name: "NodeAddress",
    go_type: "v1.NodeAddress",
    fields: &[("type", Shape::Text("v1.NodeAddressType")), ("address", TEXT)],
};

static POD: Struct = Struct {
    name: "Pod",
    go_type: "v1.Pod",
    fields: &[
        VERSION,
        KIND,
        ("metadata", META),
        ("spec", Shape::Struct(&POD_SPEC)),
        ("status", Shape::Struct(&POD_STATUS)),
    ],
};

static POD_SPEC: Struct = Struct {
    name: "PodSpec",
    go_type: "v1.PodSpec",
    fields: &[
        ("nodeName", TEXT),
        ("hostNetwork", Shape::Bool),
        ("serviceAccountName", TEXT),
        ("serviceAccount", TEXT),
        ("containers", CONTAINERS),
        ("initContainers", CONTAINERS),
    ],
};

const CONTAINERS: Shape = Shape::List("[]v1.Container", &Shape::Struct(&CONTAINER));

static CONTAINER: Struct = Struct {
    name: "Container",
    go_type: "v1.Container",
    fields: &[
        ("name", TEXT),
        ("restartPolicy", Shape::Text("v1.ContainerRestartPolicy")),
        ("ports", Shape::List("[]v1.ContainerPort", &Shape::Struct(&CONTAINER_PORT))),
    ],
};

static CONTAINER_PORT: Struct = Struct {
    name: "ContainerPort",
    go_type: "v1.ContainerPort",
    fields: &[("name", TEXT), ("containerPort", INT32), ("protocol", PROTOCOL)],
};

static POD_STATUS: Struct = Struct {
    name: "PodStatus",
    go_type: "v1.PodStatus",
    fields: &[
        ("phase", Shape::Text("v1.PodPhase")),
        ("podIP", TEXT),
        ("podIPs", Shape::List("[]v1.PodIP", &Shape::Struct(&POD_IP))),
        ("conditions", Shape::List("[]v1.PodCondition", &Shape::Struct(&POD_CONDITION))),
    ],
};

static POD_IP: Struct = Struct { name: "PodIP", go_type: "v1.PodIP", fields: &[("ip", TEXT)] };

static POD_CONDITION: Struct = Struct {
    name: "PodCondition",
    go_type: "v1.PodCondition",
    fields: &[("type", Shape::Text("v1.PodConditionType")), ("status", Shape::Text("v1.ConditionStatus"))],
};

static SERVICE: Struct = Struct {
    name: "Service",
    go_type: "v1.Service",
    fields: &[
        VERSION,
        KIND,
        ("metadata", META),
        ("spec", Shape::Struct(&SERVICE_SPEC)),
        ("status", Shape::Struct(&SERVICE_STATUS)),
    ],
};

static SERVICE_SPEC: Struct = Struct {
    name: "ServiceSpec",
    go_type: "v1.ServiceSpec",
    fields: &[
        ("selector", LABELS),
        ("clusterIP", TEXT),
        ("clusterIPs", TEXTS),
        ("type", Shape::Text("v1.ServiceType")),
        ("externalName", TEXT),
        ("publishNotReadyAddresses", Shape::Bool),
        ("externalIPs", TEXTS),
        ("loadBalancerSourceRanges", TEXTS),
        ("externalTrafficPolicy", Shape::Text("v1.ServiceExternalTrafficPolicy")),
        ("ports", Shape::List("[]v1.ServicePort", &Shape::Struct(&SERVICE_PORT))),
    ],
};

static SERVICE_PORT: Struct = Struct {
    name: "ServicePort",
    go_type: "v1.ServicePort",
    fields: &[
        ("name", TEXT),
        ("protocol", PROTOCOL),
        ("port", INT32),
        ("targetPort", Shape::IntOrString),
        ("nodePort", INT32),
    ],
};

static SERVICE_STATUS: Struct = Struct {
    name: "ServiceStatus",
    go_type: "v1.ServiceStatus",
    fields: &[("loadBalancer", Shape::Struct(&BALANCER))],
};

static BALANCER: Struct = Struct {
    name: "LoadBalancerStatus",
    go_type: "v1.LoadBalancerStatus",
    fields: &[("ingress", Shape::List("[]v1.LoadBalancerIngress", &Shape::Struct(&BALANCER_INGRESS)))],
};

static BALANCER_INGRESS: Struct =
    Struct { name: "LoadBalancerIngress", go_type: "v1.LoadBalancerIngress", fields: &[("ip", TEXT)] };

static ENDPOINT_SLICE: Struct = Struct {
    name: "EndpointSlice",
    go_type: "v1.EndpointSlice",
    fields: &[
        VERSION,
        KIND,
        ("metadata", META),
        ("addressType", Shape::Text("v1.AddressType")),
        ("endpoints", Shape::List("[]v1.Endpoint", &Shape::Struct(&ENDPOINT))),
        ("ports", Shape::List("[]v1.EndpointPort", &Shape::Struct(&ENDPOINT_PORT))),
    ],
};

static ENDPOINT: Struct = Struct {
    name: "Endpoint",
    go_type: "v1.Endpoint",
    fields: &[
        ("addresses", TEXTS),
        ("conditions", Shape::Struct(&ENDPOINT_CONDITIONS)),
        ("targetRef", Shape::Struct(&OBJECT_REFERENCE)),
    ],
};

static ENDPOINT_CONDITIONS: Struct =
    Struct { name: "EndpointConditions", go_type: "v1.EndpointConditions", fields: &[("ready", Shape::Bool)] };

static OBJECT_REFERENCE: Struct = Struct {
    name: "ObjectReference",
    go_type: "v1.ObjectReference",
    fields: &[("kind", TEXT), ("namespace", TEXT), ("name", TEXT)],
};

static ENDPOINT_PORT: Struct = Struct {
    name: "EndpointPort",
    go_type: "v1.EndpointPort",
    fields: &[("name", TEXT), ("protocol", PROTOCOL), ("port", INT32)],
};

static WORKLOAD: Struct = Struct {
    name: "Workload",
    go_type: "v1.Workload",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&WORKLOAD_SPEC))],
};

static WORKLOAD_SPEC: Struct = Struct {
    name: "WorkloadSpec",
    go_type: "v1.WorkloadSpec",
    fields: &[
        ("replicas", INT32),
        ("parallelism", INT32),
        ("completions", INT32),
        ("suspend", Shape::Bool),
        ("template", Shape::Struct(&TEMPLATE)),
    ],
};

static TEMPLATE: Struct = Struct {
    name: "PodTemplateSpec",
    go_type: "v1.PodTemplateSpec",
    fields: &[("metadata", META), ("spec", Shape::Struct(&POD_SPEC))],
};

static CRON_JOB: Struct = Struct {
    name: "CronJob",
    go_type: "v1.CronJob",
    fields: &[VERSION, KIND, ("metadata", META), ("spec", Shape::Struct(&CRON_JOB_SPEC))],
};

static CRON_JOB_SPEC: Struct = Struct {
    name: "CronJobSpec",
    go_type: "v1.CronJobSpec",
    fields: &[("suspend", Shape::Bool), ("jobTemplate", Shape::Struct(&JOB_TEMPLATE))],
};

static JOB_TEMPLATE: Struct = Struct {
    name: "JobTemplateSpec",
    go_type: "v1.JobTemplateSpec",
    fields: &[("spec", Shape::Struct(&WORKLOAD_SPEC))],
};
