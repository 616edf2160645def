//! More of what upstream leaves open: options of denial, translated addresses, pods that come and go.

use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use tortie_lab::Sandbox;
use tortie_model::{Family, IpBlock, LabelSelector, Meta, NetworkPolicy, PeerRule, PolicyPeer};
use tortie_node::NodeOptions;
use tortie_plan::nft::{Denial, Options};
use tortie_policy::{fail_closed, network_policy};

use crate::stage::{HERE, PATIENCE, Stage, THERE, closed, pod, policy, service, until};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("what is denied is answered where that is asked for", rejected),
    ("connections go on where nothing is to be revoked", not_revoked),
    ("policy sees the destination behind a Service, and the client before it", translated),
    ("a block with host bits is its network", host_bits),
    ("a policy that cannot be understood closes its namespace", not_understood),
    ("a pod that terminates is enforced, at each of its addresses", terminating),
    ("a new pod is closed until its policies are in force", newcomer),
];

const EVERY: &str = "TCP/80 UDP/80 ping";

fn rejected(sandbox: &Sandbox) -> Result {
    let objects =
        [pod("a/client", HERE, "", ""), pod("b/near", HERE, "", ""), pod("b/far", THERE, "", ""), closed("b")];
    let lowering = Options { deny: Denial::Reject, ..Options::default() };
    let stage = Stage::with(sandbox, &objects.concat(), NodeOptions { lowering, ..NodeOptions::default() })?;
    for (to, family) in ["b/near", "b/far"].into_iter().flat_map(|to| Family::ALL.map(|f| (to, f))) {
        let (from, at) = (stage.address("a/client", family)?, stage.address(to, family)?);
        let client = stage.netns("a/client")?;
        let refused = client.run(|| TcpStream::connect_timeout(&(at, 80).into(), PATIENCE))?;
        assert_eq!(refused.err().map(|e| e.kind()), Some(std::io::ErrorKind::ConnectionRefused), "{to} {family}");
        let datagrams = client.run(|| UdpSocket::bind((from, 0)))??;
        datagrams.connect((at, 80))?;
        datagrams.set_read_timeout(Some(PATIENCE))?;
        datagrams.send(b"hello")?;
        let told = datagrams.recv(&mut [0; 16]).err().and_then(|e| e.raw_os_error());
        // "Administratively prohibited": no route to the host in IPv4, permission denied in IPv6.
        assert_eq!(told, Some(if family == Family::V4 { 113 } else { 13 }), "{to} {family}");
    }
    Ok(())
}

fn not_revoked(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/client", HERE, "", ""), pod("b/near", HERE, "", ""), pod("b/far", THERE, "", "")];
    let mut stage = Stage::with(sandbox, &objects.concat(), NodeOptions { revoke: false, ..NodeOptions::default() })?;
    let mut open = Vec::new();
    for (to, family) in ["b/near", "b/far"].into_iter().flat_map(|to| Family::ALL.map(|f| (to, f))) {
        let (from, at) = (stage.address("a/client", family)?, stage.address(to, family)?);
        let server = stage.netns(to)?.run(|| UdpSocket::bind((at, 7000)))??;
        let client = stage.netns("a/client")?.run(|| UdpSocket::bind((from, 0)))??;
        client.connect((at, 7000))?;
        server.connect(client.local_addr()?)?;
        open.push((client, server));
    }
    let talk = |(client, server): &(UdpSocket, UdpSocket)| -> Result {
        for (one, other) in [(client, server), (server, client)] {
            one.send(b"hello")?;
            other.set_read_timeout(Some(PATIENCE))?;
            other.recv(&mut [0; 16])?;
        }
        Ok(())
    };
    open.iter().try_for_each(talk)?;
    stage.apply(&closed("b"))?;
    stage.denied("a/client", "b/near", EVERY)?;
    stage.denied("a/client", "b/far", EVERY)?;
    open.iter().try_for_each(talk)
}

fn translated(sandbox: &Sandbox) -> Result {
    let ports = "ports: [{name: t, port: 80, targetPort: 8080}, {name: u, protocol: UDP, port: 80, targetPort: 8080}]";
    let objects = [
        pod("a/client", HERE, "role: client", ""),
        pod("b/server", THERE, "app: web", ""),
        service("b/web", &format!("selector: {{app: web}}, {ports}")),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    let both = |port: u16| format!("ports: [{{port: {port}}}, {{protocol: UDP, port: {port}}}]");
    let client = "{namespaceSelector: {}, podSelector: {matchLabels: {role: client}}}";
    // The ports of the Service, and then those behind it.
    for (port, passes) in [(80, false), (8080, true)] {
        for (name, spec) in [
            ("a/out", format!("podSelector: {{}}, policyTypes: [Egress], egress: [{{{}}}]", both(port))),
            ("b/in", format!("podSelector: {{}}, ingress: [{{from: [{client}], {}}}]", both(port))),
        ] {
            stage.apply(&policy(name, &spec))?;
            if passes {
                stage.allowed("a/client", "b/web", "TCP/80 UDP/80")?;
            } else {
                stage.denied("a/client", "b/web", "TCP/80 UDP/80")?;
            }
            stage.delete(&[&format!("NetworkPolicy/{name}")])?;
        }
    }
    let block = |ip: IpAddr| format!("{{ipBlock: {{cidr: '{ip}/{}'}}}}", if ip.is_ipv4() { 32 } else { 128 });
    for (to, passes) in [("the Service", false), ("the pod", true)] {
        let mut blocks = Vec::new();
        for family in Family::ALL {
            let ip = if passes { stage.address("b/server", family)? } else { stage.cluster_ip("b/web", family)? };
            blocks.push(block(ip));
        }
        let spec = format!("podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{}]}}]", blocks.join(", "));
        stage.apply(&policy("a/out", &spec))?;
        let done = if passes {
            stage.allowed("a/client", "b/web", "TCP/80 UDP/80")
        } else {
            stage.denied("a/client", "b/web", "TCP/80 UDP/80").map(drop)
        };
        done.map_err(|e| format!("egress to the address of {to}: {e}"))?;
    }
    Ok(())
}

fn host_bits(sandbox: &Sandbox) -> Result {
    let mut stage = Stage::new(
        sandbox,
        &[pod("a/here", HERE, "", ""), pod("a/there", THERE, "", ""), pod("b/server", THERE, "", "")].concat(),
    )?;
    // The API server refuses it today; older ones stored it.
    let peers = ["10.244.1.99/24", "fd00:10:244:1::99/64"]
        .map(|cidr| Ok(PolicyPeer::IpBlock(IpBlock::new(cidr.parse()?, []))))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let stored = network_policy(&NetworkPolicy {
        meta: Meta { namespace: "b".into(), name: "in".into(), ..Meta::default() },
        pod_selector: LabelSelector::default(),
        ingress: Some(vec![PeerRule { peers, ports: Vec::new() }]),
        egress: None,
    });
    stage.add_stored(stored)?;
    stage.allowed("a/here", "b/server", EVERY)?;
    stage.denied("a/there", "b/server", EVERY)?;
    Ok(())
}

fn not_understood(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/one", HERE, "", ""), pod("a/two", THERE, "", ""), pod("b/three", THERE, "", "")];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    stage.add_stored(fail_closed("a", "broken"))?;
    for (from, to) in [("a/one", "a/two"), ("b/three", "a/one"), ("a/two", "b/three"), ("internet", "a/one")] {
        stage.denied(from, to, EVERY)?;
    }
    stage.allowed("b/three", "internet", EVERY)
}

fn terminating(sandbox: &Sandbox) -> Result {
    let ends = "{apiVersion: v1, kind: Pod, metadata: {namespace: b, name: ends, \
         deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30}, \
         spec: {nodeName: node-2, containers: [{name: c}]}, status: {phase: Running, \
         podIPs: [{ip: 10.244.2.80}, {ip: 'fd00:10:244:2::80'}, {ip: 10.244.2.81}, {ip: 'fd00:10:244:2::81'}]}}\n";
    let objects = [pod("a/client", HERE, "", ""), ["---\n", ends].concat()];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    let addresses = ["10.244.2.80", "fd00:10:244:2::80", "10.244.2.81", "fd00:10:244:2::81"];
    for address in addresses {
        stage.allowed("a/client", address, EVERY)?;
    }
    stage.apply(&closed("b"))?;
    for address in addresses {
        stage.denied("a/client", address, EVERY)?;
    }
    stage.denied("b/ends", "a/client", EVERY)?;
    Ok(())
}

/// Asks an address from before the pod is there until after it is gone. It answers on every port, if it can.
fn newcomer(sandbox: &Sandbox) -> Result {
    let new = pod("b/new", THERE, "", "") + "status: {podIPs: [{ip: 10.244.2.90}, {ip: 'fd00:10:244:2::90'}]}\n";
    let mut stage = Stage::new(sandbox, &[pod("a/client", HERE, "", ""), closed("b")].concat())?;
    let mut sockets = Vec::new();
    for (family, to) in Family::ALL.into_iter().zip(["10.244.2.90", "fd00:10:244:2::90"]) {
        let from = stage.address("a/client", family)?;
        let socket = stage.netns("a/client")?.run(|| UdpSocket::bind((from, 0)))??;
        socket.connect((to.parse::<IpAddr>()?, 80))?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    // Errors of earlier datagrams may be told at any call.
    let ask = || {
        sockets.iter().for_each(|s| drop(s.send(b"who are you?")));
        sockets.iter().filter(|s| s.recv(&mut [0; 256]).is_ok()).count()
    };
    let stop = AtomicBool::new(false);
    let (asked, answers) = std::thread::scope(|scope| -> Result<(usize, usize)> {
        let asking = scope.spawn(|| {
            let (mut asked, mut answers) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                (asked, answers) = (asked + 1, answers + ask());
            }
            (asked, answers)
        });
        let done = (0..10).try_for_each(|_| -> Result {
            stage.apply(&new)?;
            stage.denied("a/client", "b/new", "UDP/80")?;
            stage.delete(&["Pod/b/new"])
        });
        stop.store(true, Ordering::Relaxed);
        let counts = asking.join().map_err(|_| "the asking thread ended early")?;
        done.map(|()| counts)
    })?;
    assert!(asked >= 1000, "it was hardly asked: {asked}");
    assert_eq!(answers, 0, "of {asked}");
    // The same questions are answered where no policy stands against it.
    stage.change(&["NetworkPolicy/b/closed"], &new)?;
    until("a new pod that is open answers", || Ok(ask() > 0))
}
