//! The lab on the kernel, as an ordinary user or as root.
//!
//! This program enters the sandbox before it has threads; every test then makes a topology of its own in it. Where user
//! namespaces are denied the tests fail, unless `TORTIE_ALLOW_SKIP=1`.

mod boot;
mod faults;
mod names;
mod outside;
mod reach;
mod sctp;
mod services;
mod support;
mod vanish;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial, run};
use outside::Outside;
use support::{Result, World};
use tortie_lab::Sandbox;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == outside::WAIT => return outside::wait(),
        Some(first) if first == outside::ENTER => return outside::enter(arguments),
        Some(first) if first == vanish::HOLD => return vanish::hold(),
        Some(first) if first == vanish::KILL => return vanish::kill(),
        _ => {}
    }
    let arguments = Arguments::from_args();
    if arguments.list {
        return run(&arguments, trials(None)).exit_code();
    }
    let outside = match Outside::start() {
        Ok(outside) => outside,
        Err(e) => {
            eprintln!("cannot start a process outside: {e}");
            return ExitCode::FAILURE;
        }
    };
    let sandbox = match Sandbox::enter() {
        Ok(sandbox) => sandbox,
        Err(refusal) if std::env::var_os("TORTIE_ALLOW_SKIP").is_some_and(|v| v == "1") => {
            eprintln!("skipped: {refusal}");
            return ExitCode::SUCCESS;
        }
        Err(refusal) => {
            eprintln!("{refusal}");
            return ExitCode::FAILURE;
        }
    };
    let world: &'static World = Box::leak(Box::new(World { sandbox, outside }));
    run(&arguments, trials(Some(world))).exit_code()
}

type Test = fn(&World) -> Result;

fn trials(world: Option<&'static World>) -> Vec<Trial> {
    let tests: [(&str, Test); 20] = [
        ("pods reach each other on one node and across nodes", reach::pods),
        ("a probe comes from the port that it is given", reach::given_port),
        ("a pod answers on its declared ports alone", reach::declared_ports),
        ("outside hosts, nodes and pods in a node's network", reach::beyond_pods),
        ("a pod keeps the addresses that it is given", reach::given_addresses),
        ("SCTP is done by sockets where the kernel has them, otherwise by hand", sctp::means),
        ("a node and the pods in its network share out the SCTP ports", sctp::shared_address),
        ("a service reaches all its backends in turn", services::balance),
        ("a service finds named ports and a pod reaches itself through it", services::hairpin),
        ("dns answers pods through the search list", names::search_list_works),
        ("a command in a pod has its network and its resolver", names::command),
        ("a program of the user's own keeps its port", names::own_program),
        ("silence, refusal and a seen drop are told apart", faults::outcomes),
        ("a dropped probe waits until it is told", faults::drops),
        ("a probe is not given up while others are answered", faults::patience),
        ("a link that was down works when it is up again", faults::link),
        ("removed pods leave nothing behind", faults::removal),
        ("two nodes and twelve pods", boot::twelve_pods),
        ("a hundred pods and all their pings", boot::hundred_pods),
        ("nothing is left when the lab is killed", vanish::killed),
    ];
    tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                let world = world.ok_or("only listed")?;
                test(world).map_err(|e| Failed::from(e.to_string()))
            })
        })
        .collect()
}
