//! A namespace behind a router: one routed veth pair, without a subnet, without ARP.

use std::{io, net::IpAddr, time::Duration};

use ipnet::IpNet;
use tortie_netlink::route::{Batch, Route, Routes, Veth};

use crate::{
    address::{GATEWAY_V4, GATEWAY_V6, ROUTER_MAC},
    error::LabError,
    netns::{Netns, sysctl},
};

/// Name of the link inside.
pub(crate) const INSIDE: &str = "eth0";
/// Index of the link inside. Not the next free one: where tunnel modules are loaded, every namespace is born with links.
const INSIDE_INDEX: u32 = 100;
/// First index of the router's links, apart from those that a namespace is born with.
pub(crate) const FIRST_INDEX: u32 = 1000;
/// Links come up in microseconds; this bounds a kernel that does not bring them up at all.
const UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a namespace forwards packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Forwards: the wire and nodes.
    Router,
    /// Does not: pods and outside hosts.
    Host,
}

/// A namespace to be attached to a router.
#[derive(Clone, Debug)]
pub(crate) struct Attachment<'a> {
    /// Name of the router's end.
    pub(crate) link: &'a str,
    /// Index of the router's end.
    pub(crate) index: u32,
    /// Hardware address inside.
    pub(crate) mac: [u8; 6],
    /// What is attached.
    pub(crate) inside: &'a Netns,
    /// Addresses of `eth0` inside, the preferred one of a family first.
    pub(crate) addresses: &'a [IpAddr],
    /// Ranges that the router reaches through it.
    pub(crate) behind: &'a [IpNet],
}

/// Prepares the namespace of the calling thread, before it has links.
pub(crate) fn prepare(kind: Kind) -> Result<(), LabError> {
    let forward = if kind == Kind::Router { "1" } else { "0" };
    let settings: &[(&str, &str)] = &[
        // IPv4 settings are inherited from the machine (net.core.devconf_inherit_init_net), so none is left to chance.
        ("ipv4/ip_forward", forward),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        ("ipv6/conf/all/disable_ipv6", "0"),
        ("ipv6/conf/default/disable_ipv6", "0"),
        ("ipv6/conf/all/forwarding", forward),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        // A refusal that is rate-limited away would look like a drop.
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv6/icmp/ratelimit", "0"),
        // ICMP sockets for the programs that people run in pods. Only mapped groups can be named: root alone.
        ("ipv4/ping_group_range", "0 0"),
    ];
    for (name, value) in settings {
        sysctl(name, value).map_err(|source| LabError::Sysctl { name: (*name).to_owned(), source })?;
    }
    let mut batch = Batch::new();
    batch.set_up(1, true);
    Routes::open()?.commit(batch)?;
    Ok(())
}

/// Attaches namespaces to the router and waits until packets pass. `sources` are the router's own addresses, from which
/// it speaks to what is attached. `inside` runs in each attached namespace once it has its addresses.
pub(crate) fn attach<T: Send>(
    router: &Netns,
    sources: &[IpAddr],
    attachments: &[Attachment<'_>],
    inside: impl Fn(usize) -> Result<T, LabError> + Send,
) -> Result<Vec<T>, LabError> {
    if attachments.is_empty() {
        return Ok(Vec::new());
    }
    let mut batch = Batch::new();
    for attachment in attachments {
        outer(&mut batch, attachment, sources);
    }
    let mut outside = router.run(Routes::open)??;
    outside.commit(batch)?;
    let visits = attachments.iter().enumerate().map(|(n, a)| (a.inside, (n, a)));
    let made = Netns::visit(visits, move |(n, attachment)| {
        Routes::open()?.commit(inner(attachment))?;
        inside(n)
    })?;
    let indices: Vec<u32> = attachments.iter().map(|a| a.index).collect();
    router.run(|| outside.wait_operational(&indices, UP_TIMEOUT))??;
    Ok(made)
}

fn outer(batch: &mut Batch, attachment: &Attachment<'_>, sources: &[IpAddr]) {
    use std::os::fd::AsFd as _;
    batch.add_veth(&Veth {
        name: attachment.link,
        index: attachment.index,
        mac: ROUTER_MAC,
        peer_name: INSIDE,
        peer_index: INSIDE_INDEX,
        peer_mac: attachment.mac,
        peer_namespace: attachment.inside.as_fd(),
    });
    if sources.iter().any(IpAddr::is_ipv6) {
        batch.no_link_local(attachment.index);
    }
    batch.set_up(attachment.index, true);
    reach(batch, attachment, sources);
}

/// How the router reaches what is attached.
fn reach(batch: &mut Batch, attachment: &Attachment<'_>, sources: &[IpAddr]) {
    let source_for = |to: IpAddr| sources.iter().copied().find(|s| s.is_ipv4() == to.is_ipv4());
    for address in attachment.addresses {
        batch.set_neighbour(attachment.index, *address, attachment.mac);
        batch.replace_route(&Route { source: source_for(*address), ..Route::host(*address, attachment.index) });
    }
    for range in attachment.behind {
        let via = attachment.addresses.iter().copied().find(|a| a.is_ipv4() == range.addr().is_ipv4());
        let Some(gateway) = via else { continue };
        batch.replace_route(&range_route(*range, gateway, attachment.index));
    }
}

/// A range behind a gateway on one of the router's links.
pub(crate) fn range_route(range: IpNet, gateway: IpAddr, index: u32) -> Route {
    Route { destination: range.network(), prefix: range.prefix_len(), gateway: Some(gateway), index, source: None }
}

fn inner(attachment: &Attachment<'_>) -> Batch {
    let mut batch = Batch::new();
    let v6 = attachment.addresses.iter().any(IpAddr::is_ipv6);
    if v6 {
        batch.no_link_local(INSIDE_INDEX);
    }
    batch.set_up(INSIDE_INDEX, true);
    for address in attachment.addresses {
        batch.add_address(INSIDE_INDEX, *address, if address.is_ipv4() { 32 } else { 128 });
    }
    for gateway in [IpAddr::V4(GATEWAY_V4), IpAddr::V6(GATEWAY_V6)] {
        let Some(first) = attachment.addresses.iter().copied().find(|a| a.is_ipv4() == gateway.is_ipv4()) else {
            continue;
        };
        batch.set_neighbour(INSIDE_INDEX, gateway, ROUTER_MAC);
        batch.replace_route(&Route { source: Some(first), ..Route::default_via(gateway, INSIDE_INDEX) });
    }
    batch
}

/// Takes the router's end of a veth pair down, or up again with the routes that the kernel forgot meanwhile.
pub(crate) fn set_link(
    router: &Netns,
    sources: &[IpAddr],
    attachment: &Attachment<'_>,
    up: bool,
) -> Result<(), LabError> {
    let mut batch = Batch::new();
    batch.set_up(attachment.index, up);
    if up {
        reach(&mut batch, attachment, sources);
    }
    router.run(|| -> Result<(), LabError> {
        let mut routes = Routes::open()?;
        routes.commit(batch)?;
        if up {
            routes.wait_operational(&[attachment.index], UP_TIMEOUT)?;
        }
        Ok(())
    })?
}

/// An error of a system call on a socket.
pub(crate) fn socket_error(operation: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> LabError {
    let operation = operation.into();
    move |errno| LabError::Socket { operation, source: io::Error::from(errno) }
}
