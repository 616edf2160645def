//! Named ports, ranges of ports, blocks of addresses.

use tortie_lab::Sandbox;
use tortie_model::Family;

use crate::stage::{HERE, Stage, THERE, closed, pod, policy};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("one name is another number on another pod", named_ports),
    ("ranges of ports include both ends and nothing beyond", ranges),
    ("an exception is an exception of its own peer alone", exceptions),
];

fn named_ports(sandbox: &Sandbox) -> Result {
    let ports = |http: u16, other: u16| {
        format!(
            "{{name: http, containerPort: {http}}}, {{containerPort: {other}}}, {{containerPort: 53, protocol: UDP}}"
        )
    };
    let objects = [
        pod("a/client", HERE, "", ""),
        pod("b/near", HERE, "app: web", &ports(8080, 9090)),
        pod("b/far", THERE, "app: web", &ports(9090, 8080)),
        pod("b/nameless", THERE, "app: web", "{containerPort: 8080}, {containerPort: 9090}"),
        // The name alone is not enough: the protocol counts.
        pod("b/datagrams", HERE, "app: web", "{name: http, protocol: UDP, containerPort: 8080}, {containerPort: 8080}"),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    let all = "podSelector: {}";
    for by in [
        policy("b/in", &format!("{all}, ingress: [{{ports: [{{port: http}}]}}]")),
        policy("a/out", &format!("{all}, policyTypes: [Egress], egress: [{{ports: [{{port: http}}]}}]")),
    ] {
        stage.apply(&by)?;
        stage.allowed("a/client", "b/near", "TCP/8080")?;
        stage.denied("a/client", "b/near", "TCP/9090 UDP/53 ping")?;
        stage.allowed("a/client", "b/far", "TCP/9090")?;
        stage.denied("a/client", "b/far", "TCP/8080 UDP/53 ping")?;
        stage.denied("a/client", "b/nameless", "TCP/8080 TCP/9090")?;
        stage.denied("a/client", "b/datagrams", "TCP/8080 UDP/8080")?;
        if by.contains("egress") {
            stage.denied("a/client", "internet", "TCP/8080 TCP/9090 TCP/80")?;
            stage.delete(&["NetworkPolicy/a/out"])?;
        } else {
            // Whoever the peer is, the name is looked up on the selected pod.
            stage.allowed("internet", "b/far", "TCP/9090")?;
            stage.denied("internet", "b/far", "TCP/8080")?;
            stage.delete(&["NetworkPolicy/b/in"])?;
        }
    }
    Ok(())
}

fn ranges(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/client", HERE, "", ""), pod("b/near", HERE, "", ""), pod("b/far", THERE, "", "")];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    // A short one, a long one, one that meets the end of the numbers, and one within another's.
    let ports = "{port: 8000, endPort: 8010}, {port: 9000, endPort: 9999}, {port: 65000, endPort: 65535}, \
                 {protocol: UDP, port: 1, endPort: 100}, {protocol: UDP, port: 50, endPort: 60}";
    for (name, spec) in [
        ("b/in", format!("podSelector: {{}}, ingress: [{{ports: [{ports}]}}]")),
        ("a/out", format!("podSelector: {{}}, policyTypes: [Egress], egress: [{{ports: [{ports}]}}]")),
    ] {
        stage.apply(&policy(name, &spec))?;
        for to in ["b/near", "b/far"] {
            let tcp = "TCP/8000 TCP/8005 TCP/8010 TCP/9000 TCP/9500 TCP/9999 TCP/65000 TCP/65535";
            stage.allowed("a/client", to, tcp)?;
            stage.allowed("a/client", to, "UDP/1 UDP/49 UDP/55 UDP/61 UDP/100")?;
            stage.denied("a/client", to, "TCP/7999 TCP/8011 TCP/8999 TCP/10000 TCP/64999 TCP/1 TCP/100")?;
            stage.denied("a/client", to, "UDP/101 UDP/8000 UDP/9000 UDP/65535 ping")?;
        }
        stage.delete(&[&format!("NetworkPolicy/{name}")])?;
    }
    Ok(())
}

fn exceptions(sandbox: &Sandbox) -> Result {
    let objects = [
        pod("a/one", HERE, "", ""),
        pod("a/two", HERE, "", ""),
        pod("a/three", THERE, "app: three", ""),
        pod("b/server", THERE, "", ""),
        closed("b"),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    let every = "TCP/80 UDP/80 ping";
    let mut except = Vec::new();
    for who in ["a/two", "a/three", "internet"] {
        except.push((stage.address(who, Family::V4)?, stage.address(who, Family::V6)?));
    }
    let list =
        |of: fn(&(std::net::IpAddr, std::net::IpAddr)) -> String| except.iter().map(of).collect::<Vec<_>>().join(", ");
    let (v4, v6) = (list(|(v4, _)| format!("{v4}/32")), list(|(_, v6)| format!("'{v6}/128'")));
    let blocks =
        format!("{{ipBlock: {{cidr: 0.0.0.0/0, except: [{v4}]}}}}, {{ipBlock: {{cidr: '::/0', except: [{v6}]}}}}");
    stage.apply(&policy("b/all-but", &format!("podSelector: {{}}, ingress: [{{from: [{blocks}]}}]")))?;
    stage.allowed("a/one", "b/server", every)?;
    stage.allowed("node/node-1", "b/server", every)?;
    for who in ["a/two", "a/three", "internet"] {
        stage.denied(who, "b/server", every)?;
    }
    // Another peer allows what the first one's exception left out: by labels, and by a block inside of it.
    let (inside4, inside6) = except[2];
    let others = format!(
        "{{ipBlock: {{cidr: {inside4}/32}}}}, {{ipBlock: {{cidr: '{inside6}/128'}}}}, \
         {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: three}}}}}}"
    );
    stage.apply(&policy("b/all-but", &format!("podSelector: {{}}, ingress: [{{from: [{blocks}, {others}]}}]")))?;
    for who in ["a/one", "a/three", "internet"] {
        stage.allowed(who, "b/server", every)?;
    }
    stage.denied("a/two", "b/server", every)?;
    Ok(())
}
