//! Changes to links, addresses, routes and neighbours.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use crate::{
    EncodeError,
    message::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST},
    wire::Writer,
};

use super::object::{Route, family, octets};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFF_UP: u32 = 1;
const AF_INET6: u16 = 10;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;

/// Longest name of a link, in bytes (`IFNAMSIZ` less the zero).
const NAME_MAX: usize = 15;

/// A pair of virtual Ethernet links, one end here, one end in another network namespace.
///
/// Indices are chosen by the caller, so that what refers to the links can be in the same batch.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// Name of this end, at most 15 bytes.
    pub name: &'a str,
    /// Index of this end; free in this namespace.
    pub index: u32,
    /// Hardware address of this end.
    pub mac: [u8; 6],
    /// Name of the other end.
    pub peer_name: &'a str,
    /// Index of the other end; free in its namespace.
    pub peer_index: u32,
    /// Hardware address of the other end.
    pub peer_mac: [u8; 6],
    /// Namespace of the other end.
    pub peer_namespace: BorrowedFd<'a>,
}

/// One message, without its sequence number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
    /// In words, for errors.
    pub(super) operation: String,
}

/// Changes to be sent together with [`super::Routes::commit`].
///
/// Holds descriptor numbers of namespaces: commit it while these are open.
#[derive(Debug, Default)]
pub struct Batch {
    requests: Vec<Request>,
    error: Option<EncodeError>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn finish(self) -> Result<Vec<Request>, EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.requests),
        }
    }

    fn push(&mut self, kind: u16, flags: u16, writer: Writer, operation: String) {
        match writer.finish() {
            Ok(body) => self.requests.push(Request { kind, flags: flags | NLM_F_REQUEST, body, operation }),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }

    /// Creates a veth pair. Both ends are down.
    pub fn add_veth(&mut self, veth: &Veth<'_>) {
        let (kind, flags) = (RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        let mut w = Writer::new();
        w.attributes(&link_header(veth.index, 0, 0));
        link_name(&mut w, veth.name);
        w.bytes(IFLA_ADDRESS, &veth.mac);
        w.nest(IFLA_LINKINFO, |w| {
            w.text(IFLA_INFO_KIND, "veth");
            w.nest(IFLA_INFO_DATA, |w| {
                w.nest(VETH_INFO_PEER, |w| {
                    w.attributes(&link_header(veth.peer_index, 0, 0));
                    link_name(w, veth.peer_name);
                    w.bytes(IFLA_ADDRESS, &veth.peer_mac);
                    let fd = veth.peer_namespace.as_raw_fd();
                    w.bytes(IFLA_NET_NS_FD, &fd.to_ne_bytes());
                });
            });
        });
        self.push(kind, flags, w, format!("add veth pair {} (index {}) and {}", veth.name, veth.index, veth.peer_name));
    }

    /// Stops the kernel from making an IPv6 link-local address for a link (`addr_gen_mode none`). To be given before
    /// the link is up.
    pub fn no_link_local(&mut self, index: u32) {
        let (kind, flags) = (RTM_SETLINK, 0);
        let mut w = Writer::new();
        w.attributes(&link_header(index, 0, 0));
        w.nest(IFLA_AF_SPEC, |w| {
            w.nest(AF_INET6, |w| {
                w.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
            });
        });
        self.push(kind, flags, w, format!("turn automatic link-local addresses of link {index} off"));
    }

    /// Sets a link up or down.
    pub fn set_up(&mut self, index: u32, up: bool) {
        let (kind, flags) = (RTM_SETLINK, 0);
        let mut w = Writer::new();
        w.attributes(&link_header(index, if up { IFF_UP } else { 0 }, IFF_UP));
        self.push(kind, flags, w, format!("set link {index} {}", if up { "up" } else { "down" }));
    }

    /// Deletes a link; for a veth, both ends.
    pub fn delete_link(&mut self, index: u32) {
        let (kind, flags) = (RTM_DELLINK, 0);
        let mut w = Writer::new();
        w.attributes(&link_header(index, 0, 0));
        self.push(kind, flags, w, format!("delete link {index}"));
    }

    /// Adds an address; an IPv6 address without duplicate detection, which would take a second.
    ///
    /// The kernel makes the local route of an IPv6 address later, from a work queue (`addrconf_dad_work`), and drops
    /// what comes in before; so the same route is added here, with a higher metric.
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix: u8) {
        let scope = match address {
            IpAddr::V6(a) if a.is_unicast_link_local() => SCOPE_LINK,
            _ => SCOPE_UNIVERSE,
        };
        let (kind, flags) = (RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        let mut w = Writer::new();
        let mut header = [family(address), prefix, 0, scope, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        w.attributes(&header);
        let bytes = octets(address);
        w.bytes(IFA_LOCAL, &bytes);
        w.bytes(IFA_ADDRESS, &bytes);
        if address.is_ipv6() {
            w.bytes(IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
        }
        self.push(kind, flags, w, format!("add address {address}/{prefix} to link {index}"));
        if address.is_ipv6() {
            let mut w = Writer::new();
            Route::host(address, index).write_local(&mut w);
            self.push(RTM_NEWROUTE, NLM_F_CREATE, w, format!("add local route {address} to link {index}"));
        }
    }

    /// Adds a route to the main table, or replaces the one to the same destination.
    pub fn replace_route(&mut self, route: &Route) {
        let (kind, flags) = (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
        let mut w = Writer::new();
        route.write(&mut w);
        self.push(kind, flags, w, format!("set route {route}"));
    }

    /// Deletes a route of the main table.
    pub fn delete_route(&mut self, route: &Route) {
        let (kind, flags) = (RTM_DELROUTE, 0);
        let mut w = Writer::new();
        route.write(&mut w);
        self.push(kind, flags, w, format!("delete route {route}"));
    }

    /// Says once and for all which hardware address a neighbour has: no ARP, no neighbour discovery.
    pub fn set_neighbour(&mut self, index: u32, address: IpAddr, mac: [u8; 6]) {
        let (kind, flags) = (RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
        let mut w = Writer::new();
        let mut header = [0; 12];
        header[0] = family(address);
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
        w.attributes(&header);
        w.bytes(NDA_DST, &octets(address));
        w.bytes(NDA_LLADDR, &mac);
        self.push(kind, flags, w, format!("set neighbour {address} of link {index}"));
    }
}

fn link_name(w: &mut Writer, name: &str) {
    if name.len() > NAME_MAX {
        return w.fail(EncodeError::TextTooLong { what: "name of a link", text: name.to_owned(), limit: NAME_MAX });
    }
    w.text(IFLA_IFNAME, name);
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_name_that_the_kernel_would_refuse_is_an_error_before_anything_is_sent() {
        let here = std::io::stdin();
        let mut batch = Batch::new();
        batch.add_veth(&Veth {
            name: "sixteen-bytes-xx",
            index: 10,
            mac: [2; 6],
            peer_name: "eth0",
            peer_index: 2,
            peer_mac: [4; 6],
            peer_namespace: here.as_fd(),
        });
        assert_eq!(
            batch.finish(),
            Err(EncodeError::TextTooLong { what: "name of a link", text: "sixteen-bytes-xx".to_owned(), limit: 15 })
        );
    }

    #[test]
    fn an_ipv6_address_skips_duplicate_detection_and_link_local_ones_have_link_scope() {
        let mut batch = Batch::new();
        batch.add_address(7, "fe80::1".parse().expect("address"), 64);
        let requests = batch.finish().expect("fits");
        assert_eq!(requests[0].operation, "add address fe80::1/64 to link 7");
        let body = &requests[0].body;
        assert_eq!(body[..8], [10, 64, 0, 253, 7, 0, 0, 0]);
        assert!(body.ends_with(&[8, 0, 8, 0, 2, 0, 0, 0]), "{body:?}");
    }
}
