//! Cases from their files to packets: the practicals, the same ones told differently, and clusters of other shapes.
//!
//! This program enters the sandbox before it has threads. Where user namespaces are denied the tests fail, unless
//! `TORTIE_ALLOW_SKIP=1`.

mod calico;
mod conformance;
mod cyclonus;
mod example;
mod fault;
mod ground;
mod inverted;
mod losses;
mod packets;
mod random;
mod request;
mod retold;
mod seen;
mod shop;
mod small;
mod yaml;

use std::process::ExitCode;

use example::Example;
use libtest_mimic::{Arguments, Failed, Trial, run};
use tortie_lab::Sandbox;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What all tests share.
struct World {
    sandbox: Sandbox,
    plain: Example,
    hardened: Example,
    calico: Example,
    three_apis: Example,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Mostly they wait, for the kernel's own grace times.
    arguments.test_threads.get_or_insert(4);
    if arguments.list {
        return run(&arguments, trials(None)).exit_code();
    }
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
    let read = || -> Result<_> {
        Ok([
            Example::read("three-namespaces")?,
            Example::read("three-namespaces-hardened")?,
            Example::read("three-namespaces-calico")?,
            Example::read("three-apis")?,
        ])
    };
    let [plain, hardened, calico, three_apis] = match read() {
        Ok(examples) => examples,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let world: &'static World = Box::leak(Box::new(World { sandbox, plain, hardened, calico, three_apis }));
    run(&arguments, trials(Some(world))).exit_code()
}

type Test = fn(&World) -> Result;

fn trials(world: Option<&'static World>) -> Vec<Trial> {
    let tests: [(&str, Test); 26] = [
        ("every step of the practical holds", |w| example::holds(w, &w.plain)),
        ("every step of the hardened practical holds", |w| example::holds(w, &w.hardened)),
        ("every step of the practical of Calico holds", |w| example::holds(w, &w.calico)),
        ("every step of three APIs on one pod holds", |w| example::all_steps(w, &w.three_apis, 8, 550)),
        ("each expectation inverted fails in its cell alone", inverted::each_cell),
        ("each line inverted fails in its cells alone, with packets", |w| inverted::each_line(w, &w.plain)),
        ("each line of the hardened one inverted fails, with packets", |w| inverted::each_line(w, &w.hardened)),
        ("other names and ports, same result", retold::renamed),
        ("documents shuffled in one file, same result", retold::shuffled),
        ("as JSON, same result", retold::json),
        ("a link down is a lost packet, not a denied one", fault::link),
        ("a folder without a case is surveyed, and all agree", shop::surveyed),
        ("services, named ports, ranges, outside hosts and nodes", shop::asked),
        ("a running lab sends SCTP by request", request::sctp),
        ("records that nobody read in time are told as lost", losses::told),
        ("a step says how many records were lost in it", losses::counted),
        ("IPv4 alone", ground::ipv4_alone),
        ("IPv6 alone", ground::ipv6_alone),
        ("three nodes", ground::three_nodes),
        ("every case of the conformance suite", conformance::every_case),
        ("every step of Cyclonus", cyclonus::every_step),
        ("a sample of the verdicts of Calico", calico::sample),
        ("random clusters and policies", random::clusters),
        ("random clusters of three APIs", random::three_apis),
        ("small clusters and policies, drawn from all of them", small::networkpolicies),
        ("small clusters and tiers, drawn from all of them", small::tiers),
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
