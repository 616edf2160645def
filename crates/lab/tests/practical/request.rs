//! A lab to play with, asked by request as `tortie lab probe` does.

use tortie_lab::control::{Probed, Reply, Request};
use tortie_lab::session::Session;
use tortie_manifest::case::ClusterSpec;
use tortie_manifest::{Expansion, LoadOptions, Memory, Store, load};

use crate::{Result, World};

const SIGNAL: &str = "
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: signal, labels: {app: signal}}
spec:
  containers:
  - {name: c, ports: [{protocol: SCTP, containerPort: 80}, {protocol: SCTP, containerPort: 81}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: client}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: a, name: by-name}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: signal}
  ports: [{protocol: SCTP, port: 2905, targetPort: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: a, name: eighty}
spec: {podSelector: {}, ingress: [{ports: [{protocol: SCTP, port: 80}, {protocol: SCTP, port: 82}]}]}
";

pub(crate) fn sctp(world: &World) -> Result {
    let loaded = load(&Memory::new([("signal.yaml", SIGNAL)]), &["signal.yaml"], &LoadOptions::default());
    let mut store = Store::new(Expansion::default());
    store.apply(&loaded.objects);
    let mut session = Session::start(&world.sandbox, "request", ClusterSpec::default(), store)?;
    let mut ask = |to: &str, probe: &str| -> Result<Vec<Probed>> {
        let request = Request::Probe { from: "a/client".to_owned(), to: to.to_owned(), probe: probe.to_owned() };
        match session.answer(request) {
            Reply::Probed(probed) => Ok(probed),
            other => Err(format!("{to} {probe}: {other:?}").into()),
        }
    };
    let denied = "node node-2: ingress is isolated by NetworkPolicy/a/eighty, and no rule allows it; signal.yaml:";
    let nobody = "it got there, but nothing listens on that port";
    for (to, probe, kernel, engine, detail) in [
        ("a/signal", "SCTP/80", "allow", "allow", "a/signal answered"),
        ("a/by-name", "SCTP/2905", "allow", "allow", "a/signal answered"),
        ("a/signal", "SCTP/81", "deny", "deny", denied),
        ("a/signal", "SCTP/82", "lost", "allow", nobody),
    ] {
        let probed = ask(to, probe)?;
        let families: Vec<&str> = probed.iter().map(|p| p.family.as_str()).collect();
        assert_eq!(families, ["IPv4", "IPv6"], "{to} {probe}");
        for p in &probed {
            assert_eq!((p.kernel.as_str(), p.engine.as_str()), (kernel, engine), "{to} {probe}: {p:?}");
            assert!(p.detail.starts_with(detail), "{to} {probe}: {p:?}");
        }
    }
    Ok(())
}
