//! SCTP under policies: the kernel decides, over both families, to pods and through Services.

use tortie_analysis::observation::Kernel;
use tortie_lab::Sandbox;

use crate::stage::{HERE, Stage, THERE, closed, pod, policy, service};
use crate::{Result, Test};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("SCTP ports are allowed and denied by either end", by_port),
    ("SCTP through a Service is judged by the pod's own port", through_services),
    ("an SCTP answer under another name is lost, not allowed", other_name),
];

const SIGNAL: &str = "{name: sig, protocol: SCTP, containerPort: 9001}, {protocol: SCTP, containerPort: 9005}, \
                      {containerPort: 9001}";

fn by_port(sandbox: &Sandbox) -> Result {
    let objects = [
        pod("a/client", HERE, "", ""),
        pod("b/near", HERE, "", SIGNAL),
        pod("b/far", THERE, "", SIGNAL),
        pod("b/tool", THERE, "", ""),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    stage.allowed("a/client", "b/near", "SCTP/9001 SCTP/9005")?;
    stage.allowed("a/client", "internet", "SCTP/2905")?;
    let all = "podSelector: {}";
    for (kind, ports) in [
        ("a number", "{protocol: SCTP, port: 9001}"),
        ("a name", "{protocol: SCTP, port: sig}"),
        ("a range", "{protocol: SCTP, port: 8999, endPort: 9004}"),
    ] {
        for by in [
            policy("b/in", &format!("{all}, ingress: [{{ports: [{ports}]}}]")),
            policy("a/out", &format!("{all}, policyTypes: [Egress], egress: [{{ports: [{ports}]}}]")),
        ] {
            stage.apply(&by)?;
            for to in ["b/near", "b/far"] {
                stage.allowed("a/client", to, "SCTP/9001").map_err(|e| format!("{kind}: {e}"))?;
                // Neither another port, nor the same of another protocol.
                stage.denied("a/client", to, "SCTP/9005 TCP/9001 UDP/9001 ping")?;
            }
            if kind == "a range" {
                stage.allowed("a/client", "b/tool", "SCTP/8999 SCTP/9004")?;
                stage.denied("a/client", "b/tool", "SCTP/8998 SCTP/9005")?;
            }
            stage.delete(&[if by.contains("egress") { "NetworkPolicy/a/out" } else { "NetworkPolicy/b/in" }])?;
        }
    }
    // All of SCTP, and nothing else.
    stage.apply(&policy("b/in", &format!("{all}, ingress: [{{ports: [{{protocol: SCTP}}]}}]")))?;
    stage.allowed("internet", "b/tool", "SCTP/1 SCTP/65535")?;
    stage.denied("internet", "b/tool", "TCP/1 UDP/1 ping")?;
    stage.denied("internet", "b/near", "TCP/9001")?;
    Ok(())
}

fn through_services(sandbox: &Sandbox) -> Result {
    let to = |name: &str, selector: &str| {
        let ports = "{name: sig, protocol: SCTP, port: 2905, targetPort: sig}, \
                     {name: more, protocol: SCTP, port: 9001, targetPort: 9005}";
        service(name, &format!("selector: {{{selector}}}, ipFamilyPolicy: RequireDualStack, ports: [{ports}]"))
    };
    let objects = [
        pod("a/client", HERE, "app: client", ""),
        pod("a/other", HERE, "", ""),
        pod("b/near", HERE, "app: signal, at: here", SIGNAL),
        pod("b/far", THERE, "app: signal, at: there", SIGNAL),
        to("b/signal", "app: signal"),
        to("b/signal-here", "at: here"),
        to("b/signal-there", "at: there"),
    ];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    // Often enough for each backend.
    for _ in 0..2 {
        stage.allowed("a/client", "b/signal", "SCTP/2905 SCTP/9001")?;
    }
    stage.allowed("b/near", "b/signal-here", "SCTP/2905").map_err(|e| format!("to itself: {e}"))?;
    let from = "from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}]";
    let rule = format!("ingress: [{{{from}, ports: [{{protocol: SCTP, port: 9001}}]}}]");
    stage.apply(&[closed("b"), policy("b/in", &format!("podSelector: {{}}, {rule}"))].concat())?;
    for to in ["b/signal-here", "b/signal-there"] {
        stage.allowed("a/client", to, "SCTP/2905")?;
        // The port that the policy names, but on the Service: behind it is another.
        stage.denied("a/client", to, "SCTP/9001")?;
        stage.denied("a/other", to, "SCTP/2905 SCTP/9001")?;
    }
    Ok(())
}

fn other_name(sandbox: &Sandbox) -> Result {
    let objects = [pod("a/client", HERE, "", ""), pod("b/server", THERE, "", "")];
    let mut stage = Stage::new(sandbox, &objects.concat())?;
    for mut question in stage.questions("a/client", "b/server", "SCTP/80")? {
        question.answerers[0].name = "b/impostor".to_owned();
        let sighting = stage.cluster.observe(&[&question])?.swap_remove(0);
        let Kernel::Lost { why } = &sighting.kernel else { return Err(format!("{sighting:?}").into()) };
        assert_eq!(why, "b/server answered instead of b/impostor");
    }
    Ok(())
}
