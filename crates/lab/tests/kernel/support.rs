//! What the tests have in common.

use std::{error::Error, net::IpAddr};

use tortie_lab::{
    NodeSpec, Place, PodSpec, Sandbox, Topology,
    address::Families,
    probe::{Outcome, Probe, ProbeSpec, Prober},
};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What all tests share.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) outside: crate::outside::Outside,
}

/// Two nodes, no pods.
pub(crate) fn two_nodes(sandbox: &Sandbox, families: Families) -> Result<Topology> {
    let mut topology = Topology::new(sandbox, families)?;
    topology.add_nodes(&[NodeSpec::numbered("node-1", 1, families), NodeSpec::numbered("node-2", 2, families)])?;
    Ok(topology)
}

/// Two nodes, tool pods `a/one` and `a/two` on the first, `b/three` on the second.
pub(crate) fn three_pods(sandbox: &Sandbox, families: Families) -> Result<Topology> {
    let mut topology = two_nodes(sandbox, families)?;
    topology.add_pods(&[
        PodSpec::tool("a", "one", "node-1"),
        PodSpec::tool("a", "two", "node-1"),
        PodSpec::tool("b", "three", "node-2"),
    ])?;
    Ok(topology)
}

/// The address of a place in one family.
pub(crate) fn address(topology: &Topology, place: &Place, v4: bool) -> Result<IpAddr> {
    let endpoint = topology.endpoint(place).ok_or("no such place")?;
    Ok(*endpoint.addresses.iter().find(|a| a.is_ipv4() == v4).ok_or("no address of that family")?)
}

/// Sends one probe to a place and expects its name.
pub(crate) fn probe(
    topology: &Topology,
    prober: &Prober,
    from: &Place,
    to: &Place,
    v4: bool,
    probe: Probe,
) -> Result<Outcome> {
    let destination = address(topology, to, v4)?;
    probe_address(topology, prober, from, destination, Some(&to.to_string()), probe)
}

/// Sends one probe to an address.
pub(crate) fn probe_address(
    topology: &Topology,
    prober: &Prober,
    from: &Place,
    destination: IpAddr,
    expect: Option<&str>,
    probe: Probe,
) -> Result<Outcome> {
    let source = address(topology, from, destination.is_ipv4())?;
    let netns = topology.endpoint(from).ok_or("no such place")?.netns;
    let spec = ProbeSpec::new(source, destination, probe, expect);
    Ok(prober.run(netns, vec![spec])?.swap_remove(0))
}

/// Fails unless the right one answered.
pub(crate) fn answered(outcome: &Outcome, what: &str) -> Result {
    match outcome {
        Outcome::Answered { .. } => Ok(()),
        other => Err(format!("{what}: {other:?}").into()),
    }
}
