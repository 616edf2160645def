//! `tortie explain`: whether a packet gets through, and which policy, rule and line decides.

pub(crate) mod batch;
pub(crate) mod edit;
mod end;
mod excerpt;
pub(crate) mod flow;
pub(crate) mod json;
mod port;
mod region;
mod staged;
mod tiers;
mod words;

use std::fs::File;
use std::io::{self, BufReader, BufWriter};

use crate::arguments::{Explain, Format};
use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::{input, terminal};
use tortie_analysis::backend::Backend;
use tortie_analysis::snapshot::Snapshot;
use tortie_model::{Pod, Service, canonical};
use tortie_policy::PodKey;

use end::{End, Named, common_families};
use flow::Flow;
use port::Asked;

pub(crate) fn run(arguments: &Explain) -> Result<Outcome, Failure> {
    if let Some(path) = &arguments.batch {
        return bulk(arguments, path);
    }
    let (Some(from), Some(to)) = (&arguments.from, &arguments.to) else {
        return Err(Failure::message("FROM and TO are missing"));
    };
    let asked = match &arguments.port {
        None => Asked::Everything,
        Some(text) => Asked::read(text).map_err(Failure::message)?,
    };
    let (snapshot, previewed) = if arguments.staged {
        let (snapshot, previewed) = input::staged(&arguments.manifests, arguments.replicas)?;
        (snapshot, Some(previewed))
    } else {
        (input::cluster(&arguments.manifests, arguments.replicas)?, None)
    };
    let namespace = &arguments.manifests.namespace;
    let name = |text: &str| Named::read(&snapshot, text, namespace).map_err(Failure::message);
    let (from, to) = (name(from)?, name(to)?);
    let now = flows(&snapshot, &from, &to, &asked)?;
    let then = match &previewed {
        Some(previewed) => Some((previewed, flows(previewed, &from, &to, &asked)?)),
        None => None,
    };
    let out = during("looking for the smallest change", || match arguments.output {
        Format::Text => {
            let text = flow::text(&snapshot, &now);
            match &then {
                Some((previewed, then)) => text + &staged::text((&snapshot, &now), (previewed, then)),
                None => text,
            }
        }
        Format::Json => {
            staged::lines((&snapshot, &now), then.as_ref().map(|(previewed, then)| (*previewed, &then[..])))
        }
    });
    terminal::print(&out)?;
    Ok(Outcome::Fine)
}

/// Who is behind a Service: the pods that it selects, or the pods and addresses that its EndpointSlices name.
fn behind(snapshot: &Snapshot, service: &Service) -> Result<Vec<End>, Failure> {
    let pod = |pod: &Pod| snapshot.index.pod(&PodKey::of(pod)).cloned().map(End::Pod);
    let backends = snapshot.backends();
    let ends: Vec<End> = if service.selector.is_some() {
        backends.pods(service).into_iter().filter_map(pod).collect()
    } else {
        let mut found: Vec<Backend<'_>> = Vec::new();
        for backend in service.ports.iter().flat_map(|port| backends.of(service, port)) {
            let same = |other: &&Backend<'_>| match (other, &backend) {
                (Backend::Pod(a, _), Backend::Pod(b, _)) => PodKey::of(a) == PodKey::of(b),
                (Backend::Address(a, _), Backend::Address(b, _)) => a == b,
                _ => false,
            };
            if !found.iter().any(|other| same(&other)) {
                found.push(backend);
            }
        }
        let end = |backend: Backend<'_>| match backend {
            Backend::Pod(one, _) => pod(one),
            Backend::Address(ip, _) => Some(End::Address(ip)),
        };
        found.into_iter().filter_map(end).collect()
    };
    if !ends.is_empty() {
        return Ok(ends);
    }
    let meta = &service.meta;
    let why = match (&service.external_name, &service.selector) {
        (Some(name), _) => format!("it is a name for {name}, which is outside: give one of its addresses"),
        (None, None) => "it has no selector, and no EndpointSlice of it is in the input".to_owned(),
        (None, Some(_)) => "no ready pod matches its selector".to_owned(),
    };
    Err(Failure::Message(format!("nothing is behind Service {}/{}: {why}", meta.namespace, meta.name)))
}

/// Who is behind a Service, with what is asked of each: where EndpointSlices tell of ports, those.
fn receivers(snapshot: &Snapshot, service: &Service, asked: &Asked) -> Result<Vec<(End, Vec<Asked>)>, Failure> {
    let ends = behind(snapshot, service)?;
    let ports = asked.of_service(service).map_err(Failure::message)?;
    if service.selector.is_some() {
        let asked: Vec<Asked> = ports.into_iter().map(Asked::target).collect();
        return Ok(ends.into_iter().map(|end| (end, asked.clone())).collect());
    }
    let backends = snapshot.backends();
    let told: Vec<(String, Asked)> = ports
        .into_iter()
        .flat_map(|port| backends.of(service, port).into_iter().map(move |backend| (port.protocol, backend)))
        .map(|(protocol, backend)| match backend {
            Backend::Pod(pod, number) => (pod.key(), Asked::Port(protocol, number)),
            Backend::Address(ip, number) => (canonical(ip).to_string(), Asked::Port(protocol, number)),
        })
        .collect();
    let of = |end: End| {
        let name = end.name();
        let asked: Vec<Asked> = told.iter().filter(|(of, _)| *of == name).map(|(_, asked)| asked.clone()).collect();
        (!asked.is_empty()).then_some((end, asked))
    };
    let found: Vec<(End, Vec<Asked>)> = ends.into_iter().filter_map(of).collect();
    if found.is_empty() {
        let meta = &service.meta;
        let text = format!("no EndpointSlice of Service {}/{} tells of port {asked}", meta.namespace, meta.name);
        return Err(Failure::Message(text));
    }
    Ok(found)
}

/// Every pair of ends, every family that they have in common, every port that is meant.
fn flows(snapshot: &Snapshot, from: &Named, to: &Named, asked: &Asked) -> Result<Vec<Flow>, Failure> {
    // A Service sends nothing; who is behind it does.
    let senders = match from {
        Named::Ends(senders) => senders.clone(),
        Named::Service(service) => behind(snapshot, service)?,
    };
    let (receivers, via): (Vec<(End, Vec<Asked>)>, _) = match to {
        Named::Ends(ends) => (ends.iter().map(|end| (end.clone(), vec![asked.clone()])).collect(), None),
        Named::Service(service) => {
            let meta = &service.meta;
            (receivers(snapshot, service, asked)?, Some(format!("{}/{}", meta.namespace, meta.name)))
        }
    };
    let mut flows = Vec::new();
    let mut strangers = None;
    for from in &senders {
        for (to, asked) in &receivers {
            let families = common_families(snapshot, from, to);
            if families.is_empty() {
                strangers = Some((from.name(), to.name()));
            }
            for family in families {
                for asked in asked {
                    flows.push(Flow::ask(snapshot, from, to, family, asked, via.as_deref()).map_err(Failure::message)?);
                }
            }
        }
    }
    match strangers.filter(|_| flows.is_empty()) {
        Some((a, b)) => Err(Failure::Message(format!("{a} and {b} have no address family in common"))),
        None => Ok(flows),
    }
}

fn bulk(arguments: &Explain, path: &str) -> Result<Outcome, Failure> {
    if path == "-" && arguments.manifests.files.iter().any(|f| f == "-") {
        return Err(Failure::message("standard input cannot be both manifests (-f -) and flows (--batch -)"));
    }
    let snapshot = input::cluster(&arguments.manifests, arguments.replicas)?;
    let mut batch = batch::Batch::new(&snapshot, &arguments.manifests.namespace);
    let output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let tally = if path == "-" {
        batch.run(io::stdin().lock(), output)?
    } else {
        let file = File::open(path).map_err(|e| Failure::Message(format!("cannot read {path}: {e}")))?;
        batch.run(BufReader::new(file), output)?
    };
    if tally.errors > 0 {
        terminal::say(format_args!("{} of {} lines could not be answered: they say why", tally.errors, tally.lines));
    }
    Ok(Outcome::Fine)
}
