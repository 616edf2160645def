//! CIDR blocks as Go reads them (`netutils.ParseCIDRSloppy`) and as Kubernetes judges them since strict validation of
//! addresses (`IsValidCIDRForLegacyField`).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A block as Go's sloppy parser reads it: leading zeros are decimal, host bits are kept aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SloppyCidr {
    /// The address as written.
    pub(crate) address: SloppyAddress,
    /// The prefix length.
    pub(crate) prefix: u8,
    /// Whether a number in it starts with a zero that means nothing.
    pub(crate) leading_zeros: bool,
}

/// An address of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SloppyAddress {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl SloppyCidr {
    /// The block without host bits.
    pub(crate) fn network(&self) -> IpNet {
        match self.address {
            SloppyAddress::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                let net = Ipv4Addr::from(u32::from(a) & mask);
                Ipv4Net::new(net, self.prefix).map_or_else(|_| IpNet::default(), IpNet::V4)
            }
            SloppyAddress::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                let net = Ipv6Addr::from(u128::from(a) & mask);
                Ipv6Net::new(net, self.prefix).map_or_else(|_| IpNet::default(), IpNet::V6)
            }
        }
    }

    /// Whether it is an IPv4 address in the clothes of an IPv6 one.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.address, SloppyAddress::V6(a) if a.to_ipv4_mapped().is_some())
    }

    /// What is wrong with it, if anything: one text at most.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.leading_zeros {
            return Some("must not have leading 0s in IP or prefix length");
        }
        match (self.address, self.network()) {
            (SloppyAddress::V6(a), _) if a.to_ipv4_mapped().is_some() => {
                Some("must not have an IPv4-mapped IPv6 address")
            }
            (SloppyAddress::V4(a), IpNet::V4(n)) if a != n.addr() => {
                Some("must not have bits set beyond the prefix length")
            }
            (SloppyAddress::V6(a), IpNet::V6(n)) if a != n.addr() => {
                Some("must not have bits set beyond the prefix length")
            }
            _ => None,
        }
    }

    /// Go's `IPNet.Contains` of the other block's address, and a longer mask: what `except` must be of its `cidr`.
    /// Go takes an IPv4-mapped address for the IPv4 address that it holds, and compares the masks as they are written.
    pub(crate) fn strictly_contains(&self, other: &Self) -> bool {
        self.prefix < other.prefix && self.contains_network_of(other)
    }

    fn contains_network_of(&self, other: &Self) -> bool {
        let four = |net: IpNet| match net {
            IpNet::V4(n) => Ok(n.addr()),
            IpNet::V6(n) => n.addr().to_ipv4_mapped().ok_or(n.addr()),
        };
        match (four(self.network()), four(other.network())) {
            (Ok(net), Ok(address)) => {
                let bits = if matches!(self.address, SloppyAddress::V4(_)) {
                    u32::from(self.prefix)
                } else {
                    // The mask's last four bytes are what Go keeps of it.
                    u32::from(self.prefix.saturating_sub(96))
                };
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                u32::from(net) & mask == u32::from(address) & mask
            }
            (Err(net), Err(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(net) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

/// Reads a block; `None` is `must be a valid CIDR value`.
pub(crate) fn sloppy_cidr(text: &str) -> Option<SloppyCidr> {
    let (address, prefix) = text.split_once('/')?;
    let mut leading_zeros = false;
    let address = if address.contains(':') {
        SloppyAddress::V6(ipv6(address, &mut leading_zeros)?)
    } else {
        SloppyAddress::V4(ipv4(address, &mut leading_zeros)?)
    };
    let bits = if matches!(address, SloppyAddress::V4(_)) { 32 } else { 128 };
    let value = decimal(prefix, bits)?;
    // netip.ParsePrefix takes "0" alone.
    leading_zeros |= prefix.len() > 1 && prefix.starts_with('0');
    Some(SloppyCidr { address, prefix: u8::try_from(value).ok()?, leading_zeros })
}

fn decimal(text: &str, most: u32) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = text.bytes().fold(0_u32, |n, b| n.saturating_mul(10).saturating_add(u32::from(b - b'0')));
    (value <= most).then_some(value)
}

fn ipv4(text: &str, leading_zeros: &mut bool) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        *octet = u8::try_from(decimal(part, 255)?).ok()?;
        *leading_zeros |= part.len() > 1 && part.starts_with('0');
    }
    parts.next().is_none().then(|| octets.into())
}

fn ipv6(text: &str, leading_zeros: &mut bool) -> Option<Ipv6Addr> {
    // Groups may have leading zeros in every reading; only an embedded IPv4 address can have meaningless ones.
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (head, tail) = text.rsplit_once(':')?;
    let four = tail.contains('.').then(|| ipv4(tail, leading_zeros)).flatten()?;
    format!("{head}:{four}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<&'static str> {
        sloppy_cidr(text).map_or(Some("invalid"), |c| c.fault())
    }

    #[test]
    fn blocks_are_judged_as_kubernetes_does() {
        for (text, expected) in [
            ("10.0.0.0/8", None),
            ("2001:0db8::/32", None),
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("10.0.0.1/8", Some("must not have bits set beyond the prefix length")),
            ("010.0.0.1/8", Some("must not have leading 0s in IP or prefix length")),
            ("10.0.0.0/08", Some("must not have leading 0s in IP or prefix length")),
            ("::ffff:10.0.0.0/104", Some("must not have an IPv4-mapped IPv6 address")),
            ("::ffff:010.0.0.0/104", Some("must not have leading 0s in IP or prefix length")),
            ("10.0.0.0", Some("invalid")),
            ("10.0.0.0/33", Some("invalid")),
            ("10.0.0.0/-1", Some("invalid")),
            ("10.0.0.0/+8", Some("invalid")),
            ("10.0.0.0/", Some("invalid")),
            ("10.0.0/8", Some("invalid")),
            ("10.0.0.0/8 ", Some("invalid")),
            ("fe80::1%eth0/64", Some("invalid")),
            ("/8", Some("invalid")),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn except_is_a_strict_subset() {
        let within =
            |outer: &str, inner: &str| sloppy_cidr(outer).unwrap().strictly_contains(&sloppy_cidr(inner).unwrap());
        assert!(within("10.0.0.0/8", "10.1.0.0/16"));
        assert!(!within("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!within("10.0.0.0/8", "10.0.0.0/7"));
        assert!(!within("::/0", "10.1.0.0/16"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.0.0/112"), "Go reads the mapped address as IPv4");
        assert!(!within("::ffff:10.0.0.0/104", "10.1.0.0/16"), "the masks are compared as written");
        assert!(within("0.0.0.0/0", "10.1.0.0/16"));
    }
}
