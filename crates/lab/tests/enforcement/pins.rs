//! What upstream leaves open: who is asked at all, and what ports mean for packets that have none.

use std::net::{IpAddr, UdpSocket};

use tortie_lab::Sandbox;
use tortie_model::{Direction, Family};
use tortie_node::Cause;
use tortie_plan::nft::ChainMeaning;

use crate::raw::Body;
use crate::stage::{HERE, PATIENCE, Stage, THERE, closed, pod, policy, service};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a pod reaches itself, and itself through its Service, whatever is denied", itself),
    ("a node reaches its own pods, and other nodes are addresses", nodes_to_pods),
    ("egress policy counts towards nodes, the pod's own included", pods_to_nodes),
    ("echo and other protocols need a rule without ports", without_ports),
    ("errors of an allowed flow come back", errors),
    ("neighbour discovery passes where all is denied", discovery),
    ("answers pass, whatever is denied to those who give them", answers),
    ("fragments share the fate of the whole", fragments),
    ("an address without a pod is closed in both directions", unprogrammed),
    ("a pod that has finished has no address", finished),
    ("pods in their node's network are nodes", host_network),
];

const EVERY: &str = "TCP/80 UDP/80 ping";

fn itself(sandbox: &Sandbox) -> Result {
    let ports = "ports: [{name: t, port: 80}, {name: u, protocol: UDP, port: 80}]";
    let objects = [
        pod("a/one", HERE, "app: one", ""),
        pod("a/two", HERE, "app: two", ""),
        service("a/self", &format!("selector: {{app: one}}, {ports}")),
        closed("a"),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    stage.allowed("a/one", "a/one", EVERY)?;
    stage.allowed("a/one", "a/self", "TCP/80 UDP/80")?;
    stage.denied("a/two", "a/one", EVERY)?;
    stage.denied("a/two", "a/self", "TCP/80 UDP/80")?;
    Ok(())
}

fn nodes_to_pods(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/near", HERE, "", ""), pod("a/far", THERE, "", ""), closed("a")];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    let before = stage.counted(ChainMeaning::FromNode)?;
    stage.allowed("node/node-1", "a/near", EVERY)?;
    stage.allowed("node/node-2", "a/far", EVERY)?;
    assert!(stage.counted(ChainMeaning::FromNode)? >= before + 12, "they are counted: 2 pods, 3 probes, 2 families");
    stage.denied("node/node-2", "a/near", EVERY)?;
    stage.denied("node/node-1", "a/far", EVERY)?;
    let everybody = "podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]";
    stage.apply(&policy("a/pods", everybody))?;
    stage.denied("node/node-2", "a/near", EVERY)?;
    let (v4, v6) = (stage.address("node/node-2", Family::V4)?, stage.address("node/node-2", Family::V6)?);
    let from = format!("from: [{{ipBlock: {{cidr: {v4}/32}}}}, {{ipBlock: {{cidr: '{v6}/128'}}}}]");
    stage.apply(&policy("a/node-2", &format!("podSelector: {{}}, ingress: [{{{from}}}]")))?;
    stage.allowed("node/node-2", "a/near", EVERY)?;
    stage.denied("node/node-1", "a/far", EVERY)?;
    stage.denied("internet", "a/near", EVERY)?;
    Ok(())
}

fn pods_to_nodes(sandbox: &Sandbox) -> Result {
    let mut stage = Stage::new(sandbox, &[pod("a/free", HERE, "", ""), pod("b/bound", HERE, "", "")].concat())?;
    let probes = "TCP/10250 UDP/10250 ping";
    let nodes = ["node/node-1", "node/node-2"];
    for node in nodes {
        stage.allowed("b/bound", node, probes)?;
    }
    stage.apply(&closed("b"))?;
    for node in nodes {
        let drops = stage.denied("b/bound", node, probes)?;
        let egress = |c: &Cause| matches!(c, Cause::Policy { direction: Direction::Egress, .. });
        assert!(drops.iter().all(|d| egress(&d.cause) && &*d.node == HERE), "{drops:?}");
        stage.allowed("a/free", node, probes)?;
    }
    let (v4, v6) = (stage.address(nodes[0], Family::V4)?, stage.address(nodes[0], Family::V6)?);
    let to =
        format!("to: [{{ipBlock: {{cidr: {v4}/32}}}}, {{ipBlock: {{cidr: '{v6}/128'}}}}], ports: [{{port: 10250}}]");
    stage.apply(&policy("b/kubelet", &format!("podSelector: {{}}, policyTypes: [Egress], egress: [{{{to}}}]")))?;
    stage.allowed("b/bound", nodes[0], "TCP/10250")?;
    stage.denied("b/bound", nodes[0], "TCP/443 UDP/10250 ping")?;
    stage.denied("b/bound", nodes[1], "TCP/10250")?;
    Ok(())
}

fn without_ports(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/client", HERE, "", ""), pod("b/near", HERE, "", ""), pod("b/far", THERE, "", "")];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    // GRE, and a number for experiments.
    let others = [47, 253].map(|protocol| Body::Other { protocol, data: b"\0\0\x08\0 not a port".to_vec() });
    for direction in ["ingress", "egress"] {
        let (namespace, types) = if direction == "ingress" { ("b", "Ingress") } else { ("a", "Egress") };
        let name = format!("{namespace}/policy");
        let rule =
            |rule: &str| policy(&name, &format!("podSelector: {{}}, policyTypes: [{types}], {direction}: [{rule}]"));
        for (to, family) in ["b/near", "b/far"].into_iter().flat_map(|to| Family::ALL.map(|f| (to, f))) {
            stage.apply(&rule("{}"))?;
            for other in &others {
                stage.arrives("a/client", to, family, other)?;
            }
            stage.apply(&rule("{ports: [{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]}"))?;
            for other in &others {
                stage.is_denied("a/client", to, family, other)?;
            }
        }
        for to in ["b/near", "b/far"] {
            stage.apply(&rule("{}"))?;
            stage.allowed("a/client", to, EVERY)?;
            stage.apply(&rule("{ports: [{protocol: TCP}]}"))?;
            stage.allowed("a/client", to, "TCP/80 TCP/1 TCP/65535")?;
            stage.denied("a/client", to, "UDP/80 UDP/53 ping")?;
            stage.apply(&rule("{ports: [{protocol: TCP}, {protocol: UDP}]}"))?;
            stage.allowed("a/client", to, "TCP/80 UDP/80")?;
            stage.denied("a/client", to, "ping")?;
        }
        stage.delete(&[&format!("NetworkPolicy/{name}")])?;
    }
    Ok(())
}

fn errors(sandbox: &Sandbox) -> Result {
    let knock = "ports: [{protocol: UDP, port: 9}, {protocol: TCP, port: 9}]";
    let objects = [
        pod("a/client", HERE, "", ""),
        pod("b/near", HERE, "", "{containerPort: 80}"),
        pod("b/far", THERE, "", "{containerPort: 80}"),
        closed("a"),
        closed("b"),
        policy("a/knock", &format!("podSelector: {{}}, policyTypes: [Egress], egress: [{{{knock}}}]")),
        policy("b/knock", &format!("podSelector: {{}}, ingress: [{{{knock}}}]")),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    for to in ["b/near", "b/far"] {
        for (question, sighting) in stage.sent("a/client", to, "UDP/9 TCP/9")? {
            let what = format!("{to} {} {}: {}", question.probe, question.family, sighting.detail);
            assert!(sighting.detail.contains("nothing listens"), "{what}");
        }
        // The server's errors pass because of the client's packets alone.
        stage.denied(to, "a/client", "UDP/9 ping")?;
        stage.denied("a/client", to, "UDP/10 TCP/10")?;
    }
    // An error about a packet that nobody sent is no answer.
    for family in Family::ALL {
        let (from, to) = (stage.address("b/far", family)?, stage.address("a/client", family)?);
        let unasked = Body::Udp { from: 4711, to: 4712, data: b"never sent".to_vec() };
        let quoted = crate::raw::packet(to, from, &unasked);
        let kind = if family == Family::V4 { 3 } else { 1 };
        let error = Body::Icmp { kind, data: [&[0, 0, 0, 0], &quoted[..]].concat() };
        let denial = stage.is_dropped("b/far", from, to, &error)?;
        assert_ne!(denial.cause, Cause::Spoofed, "it has the pod's own address");
    }
    Ok(())
}

fn discovery(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/one", HERE, "", ""), closed("a")];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    // Multicast listener queries to neighbour redirects, and the newer listener report.
    for kind in (130..=137).chain([143]) {
        let data = [b"\0\0\0\0".to_vec(), vec![0xfe; 16], b"who has that?".to_vec()].concat();
        stage.arrives("a/one", "node/node-1", Family::V6, &Body::Icmp { kind, data })?;
    }
    for kind in [128, 129, 138, 144, 200] {
        let (from, to) = (stage.address("a/one", Family::V6)?, stage.address("node/node-1", Family::V6)?);
        stage.is_dropped("a/one", from, to, &Body::Icmp { kind, data: b"no discovery".to_vec() })?;
    }
    stage.denied("a/one", "node/node-1", "ping")?;
    Ok(())
}

fn answers(sandbox: &Sandbox) -> Result {
    let objects = [
        pod("a/client", HERE, "", ""),
        pod("b/near", HERE, "", ""),
        pod("b/far", THERE, "", ""),
        closed("a"),
        closed("b"),
        policy("a/ask", "podSelector: {}, policyTypes: [Egress], egress: [{}]"),
        policy("b/listen", "podSelector: {}, ingress: [{}]"),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    for to in ["b/near", "b/far"] {
        stage.allowed("a/client", to, EVERY)?;
        stage.denied(to, "a/client", EVERY)?;
    }
    stage.allowed("a/client", "internet", EVERY)?;
    stage.allowed("internet", "b/far", EVERY)
}

fn fragments(sandbox: &Sandbox) -> Result {
    let allow = "podSelector: {}, ingress: [{ports: [{protocol: UDP, port: 7000}]}]";
    let objects =
        [pod("a/client", HERE, "", ""), pod("b/near", HERE, "", ""), pod("b/far", THERE, "", ""), policy("b/p", allow)];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    // More than two packets of any usual size.
    let large = vec![7; 5000];
    for (to, family) in ["b/near", "b/far"].into_iter().flat_map(|to| Family::ALL.map(|f| (to, f))) {
        let (from, at) = (stage.address("a/client", family)?, stage.address(to, family)?);
        let open = |port| -> Result<UdpSocket> { Ok(stage.netns(to)?.run(|| UdpSocket::bind((at, port)))??) };
        let (allowed, denied) = (open(7000)?, open(7001)?);
        let client = stage.netns("a/client")?.run(|| UdpSocket::bind((from, 0)))??;
        let body = Body::Udp { from: client.local_addr()?.port(), to: 7001, data: Vec::new() };
        let drops = stage.cluster.watch_drops(body.flow(from, at));
        let before = stage.denied_packets(Direction::Ingress)?;
        client.send_to(&large, (at, 7001))?;
        let denial = drops.next(PATIENCE).ok_or("no drop was seen of fragments")?;
        assert!(matches!(denial.cause, Cause::Policy { direction: Direction::Ingress, .. }), "{denial:?}");
        client.send_to(&large, (at, 7000))?;
        allowed.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = vec![0; 1 << 16];
        assert_eq!(allowed.recv(&mut bytes)?, large.len());
        denied.set_nonblocking(true)?;
        assert!(denied.recv(&mut bytes).is_err(), "the denied datagram was sent before");
        assert_eq!(stage.denied_packets(Direction::Ingress)? - before, 1, "one decision for all fragments");
    }
    Ok(())
}

fn unprogrammed(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/near", HERE, "", ""), pod("a/second", HERE, "", ""), pod("a/far", THERE, "", "")];
    let stage = Stage::new(sandbox, &objects.concat())?;
    for family in Family::ALL {
        let empty: IpAddr = match family {
            Family::V4 => "10.244.1.200".parse()?,
            Family::V6 => "fd00:10:244:1::200".parse()?,
        };
        let near = stage.address("a/near", family)?;
        for (number, body) in (0..).zip([
            Body::Udp { from: 9000, to: 7000, data: b"hello".to_vec() },
            Body::Tcp { from: 9000, to: 7000, flags: crate::raw::SYN, seq: 1, ack: 0, data: Vec::new() },
            Body::Echo { id: 9000, data: Vec::new() },
        ]) {
            for from in ["a/near", "a/far", "internet"] {
                let denial = stage.is_dropped(from, stage.address(from, family)?, empty, &body)?;
                assert_eq!((&denial.cause, &*denial.node), (&Cause::Unprogrammed, HERE), "{number} to it from {from}");
            }
            // A packet from outside that claims to be from it, or from a pod that this node has behind a link of its own.
            for source in [empty, near] {
                let to = if source == near { stage.address("a/second", family)? } else { near };
                let denial = stage.is_dropped("internet", source, to, &body)?;
                assert_eq!((&denial.cause, &*denial.node), (&Cause::Unprogrammed, HERE), "{number} from it");
            }
        }
    }
    Ok(())
}

fn finished(sandbox: &Sandbox) -> Result {
    let mut stage = Stage::new(sandbox, &[pod("a/one", HERE, "", ""), pod("a/job", THERE, "", "")].concat())?;
    stage.allowed("a/one", "a/job", EVERY)?;
    let was = Family::ALL.map(|family| (family, stage.address("a/job", family)));
    let done = pod("a/job", THERE, "", "") + "status: {phase: Succeeded}\n";
    stage.apply(&done)?;
    for (family, address) in was {
        let body = Body::Udp { from: 9000, to: 80, data: Vec::new() };
        let denial = stage.is_dropped("a/one", stage.address("a/one", family)?, address?, &body)?;
        assert_eq!((&denial.cause, &*denial.node), (&Cause::Unprogrammed, THERE));
    }
    Ok(())
}

fn host_network(sandbox: &Sandbox) -> Result {
    let agent = "---
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: agent, labels: {app: agent}}
spec: {nodeName: node-2, hostNetwork: true, containers: [{name: c, ports: [{containerPort: 9099}]}]}
";
    let objects = [
        agent.to_owned(),
        pod("a/one", HERE, "app: one", ""),
        closed("a"),
        policy("a/friends", "podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: agent}}}]}]"),
        pod("b/two", HERE, "", ""),
        policy("b/agents", "podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]"),
        pod("c/free", HERE, "", ""),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    // Not selected: all is denied in its namespace, and it is reached. Not matched: it is allowed to others, and is not.
    stage.allowed("c/free", "a/agent", "TCP/9099 ping")?;
    stage.allowed("a/agent", "c/free", EVERY)?;
    stage.denied("a/agent", "a/one", EVERY)?;
    stage.denied("b/two", "a/agent", "TCP/9099 ping")?;
    Ok(())
}
