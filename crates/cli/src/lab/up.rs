//! `tortie lab up`.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use tortie_lab::control::{Listener, background};
use tortie_lab::sandbox::Sandbox;
use tortie_lab::session::{NodeOptions, Session};
use tortie_manifest::case::{ClusterSpec, OutsideHost};
use tortie_manifest::{Disk, Expansion, LoadOptions, Store, load};

use super::STAND_INS;
use super::arguments::Up;
use super::change::say_tried_out;
use crate::failure::{Failure, Outcome};
use crate::input::say_all;
use crate::progress::during;
use crate::terminal::{self, STRONG, styled};

/// A host beyond the cluster that every lab has.
fn internet() -> OutsideHost {
    let addresses = ["198.51.100.7", "2001:db8:7::7"].map(|a| a.parse::<IpAddr>().expect("a literal address"));
    OutsideHost { name: "internet".into(), addresses: addresses.into(), dns: vec!["www.example.com".into()] }
}

pub(crate) fn run(arguments: &Up) -> Result<Outcome, Failure> {
    if arguments.detach {
        return detach(arguments);
    }
    if arguments.in_background {
        background::leave_session().map_err(Failure::message)?;
    }
    // Bound first: abstract names belong to a network namespace, and the sandbox has another.
    let listener = Listener::bind(&arguments.which.name).map_err(Failure::message)?;
    let store = read(arguments)?;
    let spec = ClusterSpec {
        nodes: arguments.nodes,
        replicas: arguments.replicas,
        outside: vec![internet()],
        ..ClusterSpec::default()
    };
    let mut options = NodeOptions::default();
    options.dataplane.own = !arguments.unprotected;
    let sandbox = Sandbox::enter().map_err(|refusal| super::refused(&refusal))?;
    let name = listener.name();
    let session = during("starting pods and nodes", || Session::start_with(&sandbox, name, spec, store, options));
    let mut session = session.map_err(Failure::Message)?;
    let (nodes, pods) = session.size();
    terminal::say(STAND_INS);
    terminal::say(format_args!("lab {} is up: {nodes} nodes, {pods} pods", styled(STRONG, listener.name())));
    if let Some(dry_run) = session.tried_out() {
        say_tried_out(&dry_run);
    }
    if arguments.in_background {
        background::announce().map_err(Failure::message)?;
    } else {
        terminal::say("try `tortie lab status` in another terminal; Ctrl-C ends it");
    }
    let goodbye = listener.serve(|request| session.answer(request)).map_err(Failure::message)?;
    drop(session);
    goodbye.say();
    Ok(Outcome::Fine)
}

fn read(arguments: &Up) -> Result<Store, Failure> {
    let mut store = Store::new(Expansion { replicas: arguments.replicas, nodes: Vec::new() });
    if arguments.files.is_empty() {
        return Ok(store);
    }
    let loaded = load(&Disk, &arguments.files, &LoadOptions { namespace: arguments.namespace.as_str().into() });
    say_all(loaded.diagnostics.iter().chain(&loaded.notes));
    if loaded.has_untrusted_policy() {
        return Err(Failure::Untrusted("a policy cannot be trusted as it is written, so nothing was started"));
    }
    store.apply(&loaded.objects);
    say_all(&store.state().notes());
    Ok(store)
}

/// Starts the same command again without `--detach`, and waits until its lab is up.
fn detach(arguments: &Up) -> Result<Outcome, Failure> {
    let program = std::env::current_exe().map_err(Failure::message)?;
    let mut command = Command::new(program);
    command.args(["lab", "up", "--in-background", "--name", &arguments.which.name]);
    command.args(["--namespace", &arguments.namespace, "--nodes", &arguments.nodes.to_string()]);
    command.args(["--replicas", &arguments.replicas.to_string()]);
    for file in &arguments.files {
        command.args(["-f", file]);
    }
    if arguments.unprotected {
        command.arg("--unprotected");
    }
    if !arguments.files.iter().any(|f| f == "-") {
        command.stdin(Stdio::null());
    }
    if background::start(&mut command).map_err(Failure::message)? {
        terminal::say("end it with `tortie lab down`");
        Ok(Outcome::Fine)
    } else {
        Err(Failure::Message(format!("lab {} did not come up", arguments.which.name)))
    }
}
