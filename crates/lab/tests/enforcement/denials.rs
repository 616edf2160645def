//! A dropped packet names what dropped it.

use tortie_lab::Sandbox;

use crate::stage::Stage;
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] =
    &[("a drop names the end, the generation and the policies that the engine names", named)];

const PODS: &str = "
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: one, labels: {app: one}}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: two, labels: {app: two}}, spec: {nodeName: node-1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: three, labels: {app: three}}, spec: {nodeName: node-2, containers: [{name: c}]}}
";

fn named(sandbox: &Sandbox) -> Result {
    let policies = "
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: a, name: deny}, spec: {podSelector: {}, policyTypes: [Ingress]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: b, name: out}
spec: {podSelector: {matchLabels: {app: three}}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}
";
    let mut stage = Stage::new(sandbox, &format!("{PODS}\n---\n{policies}"))?;
    stage.denied("a/one", "a/two", "TCP/80 UDP/80 ping")?;
    stage.denied("b/three", "a/two", "TCP/80 UDP/80 ping")?;
    stage.denied("b/three", "internet", "TCP/81 UDP/80 ping")?;
    stage.allowed("b/three", "internet", "TCP/80")?;
    stage.allowed("a/one", "b/three", "TCP/80 UDP/80 ping")
}
