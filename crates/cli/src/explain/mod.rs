//! `tortie explain`: whether a packet gets through, and which policy, rule and line decides.

mod batch;
pub(crate) mod edit;
mod end;
mod excerpt;
mod flow;
mod json;
mod port;
mod region;
mod words;

use std::fs::File;
use std::io::{self, BufReader, BufWriter};

use crate::arguments::{Explain, Format};
use crate::failure::{Failure, Outcome};
use crate::{input, terminal};
use tortie_analysis::snapshot::Snapshot;

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
    let snapshot = input::cluster(&arguments.manifests, arguments.replicas)?;
    let namespace = &arguments.manifests.namespace;
    let name = |text: &str| Named::read(&snapshot, text, namespace).map_err(Failure::message);
    let flows = flows(&snapshot, &name(from)?, &name(to)?, &asked)?;
    let out = match arguments.output {
        Format::Text => flow::text(&snapshot, &flows),
        Format::Json => flows.iter().map(|f| format!("{}\n", f.json(&snapshot))).collect(),
    };
    terminal::print(&out)?;
    Ok(Outcome::Fine)
}

/// Every pair of ends, every family that they have in common, every port that is meant.
fn flows(snapshot: &Snapshot, from: &Named, to: &Named, asked: &Asked) -> Result<Vec<Flow>, Failure> {
    let Named::Ends(senders) = from else {
        return Err(Failure::message("FROM is a Service: a Service sends nothing, name the pods behind it"));
    };
    let (receivers, asked, via): (Vec<End>, Vec<Asked>, _) = match to {
        Named::Ends(ends) => (ends.clone(), vec![asked.clone()], None),
        Named::Service(service) => {
            let meta = &service.meta;
            let backends = snapshot.backends(service).into_iter();
            let keys = backends.map(tortie_policy::PodKey::of);
            let ends: Vec<End> = keys.filter_map(|k| snapshot.index.pod(&k)).cloned().map(End::Pod).collect();
            if ends.is_empty() {
                let why =
                    if service.selector.is_none() { "it has no selector" } else { "no ready pod matches its selector" };
                return Err(Failure::Message(format!(
                    "nothing is behind Service {}/{}: {why}",
                    meta.namespace, meta.name
                )));
            }
            let behind = asked.behind(service).map_err(Failure::message)?;
            (ends, behind, Some(format!("{}/{}", meta.namespace, meta.name)))
        }
    };
    let mut flows = Vec::new();
    let mut strangers = None;
    for from in senders {
        for to in &receivers {
            let families = common_families(snapshot, from, to);
            if families.is_empty() {
                strangers = Some((from.name(), to.name()));
            }
            for family in families {
                for asked in &asked {
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
