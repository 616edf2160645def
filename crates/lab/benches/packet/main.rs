//! What enforcement adds to the way of a packet through a node.
//!
//! Every variant is a node of its own between pods, all in one process: one thread sends in one pod and receives in
//! another, so that everything on the way happens inline. Variants take turns in short chunks; the ratio is of medians
//! against the same path with connection tracking and no table of ours, and a second such path shows the noise.
//!
//! `cargo bench -p tortie-lab --bench packet [-- --rounds N --policies 10,100 --calico 1000]`; needs no root.

mod policies;
mod tiers;
mod traffic;
mod wire;

use std::collections::BTreeMap;
use std::process::ExitCode;

use tortie_lab::Sandbox;
use tortie_model::Family;
use traffic::{Driver, FAR, Kind};
use wire::Wire;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Packets of a turn; connections are a tenth.
pub(crate) const CHUNK: u32 = 400;

struct Options {
    rounds: usize,
    /// NetworkPolicies in each direction.
    policies: Vec<u32>,
    /// Calico's policies in each direction, in three tiers.
    calico: u32,
}

impl Options {
    fn from_args() -> Result<Self> {
        let mut options = Self { rounds: 60, policies: vec![10, 100, 1000, 10_000], calico: 1000 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--policies" => {
                    options.policies = value()?.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
                }
                "--calico" => options.calico = value()?.parse()?,
                // What cargo passes to every bench.
                "--bench" => {}
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        Ok(options)
    }
}

/// A path that packets take.
struct Variant {
    name: String,
    wire: Wire,
    drivers: Vec<(Kind, Family, Driver)>,
}

impl Variant {
    fn new(name: String, wire: Wire, kinds: &[Kind]) -> Result<Self> {
        let mut drivers = Vec::new();
        for kind in kinds {
            for family in Family::ALL {
                drivers.push((*kind, family, Driver::new(&wire, *kind, family)?));
            }
        }
        Ok(Self { name, wire, drivers })
    }
}

/// Nanoseconds a packet, for each kind, family and variant, of every round.
type Samples = BTreeMap<(Kind, &'static str, String), Vec<f64>>;

fn measure(variants: &mut [Variant], rounds: usize, samples: &mut Samples) -> Result {
    // The first round warms up.
    for round in 0..=rounds {
        for at in 0..variants[0].drivers.len() {
            for variant in &mut *variants {
                let (kind, family, driver) = &mut variant.drivers[at];
                let count = if *kind == Kind::Tcp { CHUNK / 10 } else { CHUNK };
                let took = driver.send(count)?;
                variant.wire.forget()?;
                if round > 0 {
                    let family = if *family == Family::V4 { "IPv4" } else { "IPv6" };
                    let sample = took.as_secs_f64() * 1e9 / f64::from(count);
                    samples.entry((*kind, family, variant.name.clone())).or_default().push(sample);
                }
            }
        }
    }
    Ok(())
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of the ratios within each round: what slows the whole machine for a moment cancels out.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(&of.iter().zip(to).map(|(a, b)| a / b).collect::<Vec<_>>())
}

fn report(samples: &Samples) {
    println!("| packets | family | baseline, ns | variant | ns | ratio |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for ((kind, family, name), own) in samples {
        let base = &samples[&(*kind, *family, BASELINE.to_owned())];
        if name != BASELINE {
            let (kind, before, now) = (kind.about(), median(base), median(own));
            println!("| {kind} | {family} | {before:.0} | {name} | {now:.0} | {:.3} |", ratio(own, base));
        }
    }
}

const BASELINE: &str = " tracked only";

fn run(options: &Options) -> Result {
    let kinds = [Kind::Established, Kind::NewIngress, Kind::NewBoth, Kind::Tcp];
    let mut variants = vec![
        Variant::new(BASELINE.to_owned(), Wire::new()?, &kinds)?,
        Variant::new(" tracked only, again".to_owned(), Wire::new()?, &kinds)?,
    ];
    for policies in &options.policies {
        let mut wire = Wire::new()?;
        let took = wire.enforce(policies::cluster(*policies, 0))?;
        eprintln!("{policies} policies in each direction: in force after {took:.1?}");
        variants.push(Variant::new(format!("{policies:>6} policies"), wire, &kinds)?);
    }
    // The same policies once more, in front of themselves.
    let mut wire = Wire::new()?;
    wire.enforce(policies::cluster(100, 0))?;
    wire.try_out(policies::cluster(100, 0))?;
    variants.push(Variant::new("   100 policies, and 100 tried out".to_owned(), wire, &kinds)?);
    let mut wire = Wire::new()?;
    let took = wire.enforce(tiers::cluster(options.calico))?;
    eprintln!("{} policies in three tiers in each direction: in force after {took:.1?}", options.calico);
    variants.push(Variant::new(format!("{:>6} in three tiers", options.calico), wire, &kinds)?);
    let mut samples = Samples::new();
    measure(&mut variants, options.rounds, &mut samples)?;
    drop(variants);

    let mut wire = Wire::new()?;
    let took = wire.enforce(policies::cluster(100, FAR))?;
    eprintln!("{FAR} pods: in force after {took:.1?}");
    let mut variants = [
        Variant::new(BASELINE.to_owned(), Wire::new()?, &[Kind::Cold])?,
        Variant::new(" tracked only, again".to_owned(), Wire::new()?, &[Kind::Cold])?,
        Variant::new("   100 policies".to_owned(), wire, &[Kind::Cold])?,
    ];
    measure(&mut variants, options.rounds, &mut samples)?;
    report(&samples);
    Ok(())
}

fn main() -> ExitCode {
    let entered = Options::from_args().and_then(|o| Ok((o, Sandbox::enter()?)));
    let outcome = entered.and_then(|(options, _sandbox)| run(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
