//! Links, addresses and routes as the kernel tells them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    Error,
    wire::{Attrs, Writer},
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_OPERSTATE: u16 = 16;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTNH_F_ONLINK: u32 = 4;
const RTM_F_CLONED: u32 = 0x200;

/// Operational state of a link (RFC 2863).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperState {
    /// Passes packets.
    Up,
    /// Does not: set down, or its peer is.
    Down,
    /// The driver does not say (loopback).
    Unknown,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index, unique in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it was set up.
    pub up: bool,
    /// Whether it passes packets.
    pub state: OperState,
    /// Hardware address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
}

impl Link {
    /// Reads the body of one message.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let (header, rest) =
            body.split_first_chunk::<16>().ok_or_else(|| Error::malformed("link message shorter than its header"))?;
        let attrs = Attrs::new(rest);
        let flags = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        Ok(Self {
            index: u32::from_ne_bytes([header[4], header[5], header[6], header[7]]),
            name: attrs.need(IFLA_IFNAME, "name of a link")?.text(),
            up: flags & 1 != 0,
            state: match attrs.get(IFLA_OPERSTATE).map(|a| a.u8()).transpose()? {
                Some(6) => OperState::Up,
                None | Some(0) => OperState::Unknown,
                Some(_) => OperState::Down,
            },
            mac: attrs.get(IFLA_ADDRESS).and_then(|a| a.array().ok()),
        })
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
}

impl Address {
    /// Reads the body of one message; `None` for families other than IPv4 and IPv6.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Error> {
        let (header, rest) =
            body.split_first_chunk::<8>().ok_or_else(|| Error::malformed("address message shorter than its header"))?;
        let attrs = Attrs::new(rest);
        // On point-to-point links IFA_ADDRESS is the peer; IPv6 has no IFA_LOCAL otherwise.
        let Some(attr) = attrs.get(IFA_LOCAL).or_else(|| attrs.get(IFA_ADDRESS)) else {
            return Ok(None);
        };
        Ok(address(header[0], attr.value).map(|address| Self {
            index: u32::from_ne_bytes([header[4], header[5], header[6], header[7]]),
            address,
            prefix: header[1],
        }))
    }
}

/// A unicast route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Destination: first address of the prefix; its family is the route's.
    pub destination: IpAddr,
    /// Length of the prefix; 0 is the default route.
    pub prefix: u8,
    /// Next hop; `None` when the destination is on the link itself. It counts as reachable on the link, whatever the
    /// other routes say.
    pub gateway: Option<IpAddr>,
    /// Index of the outgoing link.
    pub index: u32,
    /// Source address of packets that this host originates.
    pub source: Option<IpAddr>,
}

impl Route {
    /// A route to one address.
    #[must_use]
    pub fn host(address: IpAddr, index: u32) -> Self {
        Self {
            destination: address,
            prefix: if address.is_ipv4() { 32 } else { 128 },
            gateway: None,
            index,
            source: None,
        }
    }

    /// The default route of the gateway's family.
    #[must_use]
    pub fn default_via(gateway: IpAddr, index: u32) -> Self {
        Self {
            destination: match gateway {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            },
            prefix: 0,
            gateway: Some(gateway),
            index,
            source: None,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let scope =
            if self.gateway.is_none() && self.destination.is_ipv4() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
        self.write_as(w, RT_TABLE_MAIN, scope, RTN_UNICAST);
    }

    /// As a route to this very host.
    pub(super) fn write_local(&self, w: &mut Writer) {
        self.write_as(w, RT_TABLE_LOCAL, RT_SCOPE_HOST, RTN_LOCAL);
    }

    fn write_as(&self, w: &mut Writer, table: u8, scope: u8, kind: u8) {
        let mut header = [0; 12];
        header[0] = family(self.destination);
        header[1] = self.prefix;
        header[4] = table;
        header[5] = RTPROT_STATIC;
        header[6] = scope;
        header[7] = kind;
        if self.gateway.is_some() {
            header[8..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
        }
        w.attributes(&header);
        if self.prefix > 0 {
            w.bytes(RTA_DST, &octets(self.destination));
        }
        if let Some(gateway) = self.gateway {
            w.bytes(RTA_GATEWAY, &octets(gateway));
        }
        w.bytes(RTA_OIF, &self.index.to_ne_bytes());
        if let Some(source) = self.source {
            w.bytes(RTA_PREFSRC, &octets(source));
        }
    }

    /// Reads the body of one message; `None` for routes that are not unicast, not in the main table, or have several
    /// next hops.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Error> {
        let (header, rest) =
            body.split_first_chunk::<12>().ok_or_else(|| Error::malformed("route message shorter than its header"))?;
        let flags = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        if header[4] != RT_TABLE_MAIN
            || header[7] != RTN_UNICAST
            || header[6] == RT_SCOPE_NOWHERE
            || flags & RTM_F_CLONED != 0
        {
            return Ok(None);
        }
        let attrs = Attrs::new(rest);
        let of = |kind| attrs.get(kind).and_then(|a| address(header[0], a.value));
        let any: IpAddr = match header[0] {
            AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return Ok(None),
        };
        let Some(index) = attrs.get(RTA_OIF).map(|a| a.u32_ne()).transpose()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            destination: of(RTA_DST).unwrap_or(any),
            prefix: header[1],
            gateway: of(RTA_GATEWAY),
            index,
            source: of(RTA_PREFSRC),
        }))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.destination, self.prefix)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " on link {}", self.index)?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        Ok(())
    }
}

pub(super) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_read_as_they_were_written() {
        for route in [
            Route::host("10.1.2.3".parse().expect("address"), 7),
            Route::default_via("fe80::1".parse().expect("address"), 2),
            Route {
                destination: "10.244.1.0".parse().expect("address"),
                prefix: 24,
                gateway: Some("192.168.64.11".parse().expect("address")),
                index: 3,
                source: Some("192.168.64.1".parse().expect("address")),
            },
        ] {
            let mut w = Writer::new();
            route.write(&mut w);
            let body = w.finish().expect("fits");
            assert_eq!(Route::parse(&body).expect("well-formed"), Some(route));
        }
    }

    #[test]
    fn a_truncated_link_is_an_error() {
        assert!(Link::parse(&[0; 12]).is_err());
        assert!(Link::parse(&[0; 16]).is_err(), "a link has a name");
    }
}
