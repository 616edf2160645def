//! Everything reaches everything where there is no policy.

use libtest_mimic::{Failed, Trial};
use tortie_lab::{
    Place, Sandbox,
    address::Families,
    probe::{Probe, Prober},
};

use crate::support::{Result, answered, probe, three_pods};

pub(crate) fn trials(sandbox: &'static Sandbox) -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Sandbox) -> Result| {
        Trial::test(name, move || test(sandbox).map_err(|e| Failed::from(e.to_string())))
    };
    vec![trial("pods reach each other on one node and across nodes", pods)]
}

fn pods(sandbox: &Sandbox) -> Result {
    for (families, versions) in
        [(Families::Dual, &[true, false][..]), (Families::Ipv4, &[true]), (Families::Ipv6, &[false])]
    {
        let topology = three_pods(sandbox, families)?;
        let prober = Prober::start()?;
        let places: Vec<Place> = topology.places().filter(|p| matches!(p, Place::Pod { .. })).collect();
        assert_eq!(places.len(), 3);
        for from in &places {
            for to in &places {
                for v4 in versions {
                    for what in [Probe::Ping, Probe::Tcp(8888), Probe::Tcp(1), Probe::Udp(53), Probe::Udp(65535)] {
                        let outcome = probe(&topology, &prober, from, to, *v4, what.clone())?;
                        answered(&outcome, &format!("{families:?}: {from} -> {to} {what:?}"))?;
                    }
                }
            }
        }
    }
    Ok(())
}
