//! Addresses and blocks of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family of a block.
    #[must_use]
    pub const fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// The block of all its addresses.
    #[must_use]
    pub const fn whole(self) -> IpNet {
        match self {
            Self::V4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
            Self::V6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
        }
    }

    /// As Kubernetes writes it: `IPv4` or `IPv6`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address as the kernel sees it on the wire: an IPv4-mapped IPv6 address is the IPv4 address.
#[must_use]
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// `ipBlock`: the addresses of `cidr` that lie in none of `except`.
///
/// Host bits are masked off, as the API server's own warning says they will be understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpBlock {
    cidr: IpNet,
    except: Vec<IpNet>,
}

impl IpBlock {
    /// The block `cidr` less `except`; exceptions of the other family or outside the block take nothing away.
    #[must_use]
    pub fn new(cidr: IpNet, except: impl IntoIterator<Item = IpNet>) -> Self {
        let mut except: Vec<IpNet> = except.into_iter().map(|e| e.trunc()).collect();
        except.sort_unstable();
        except.dedup();
        Self { cidr: cidr.trunc(), except }
    }

    /// The block, without host bits.
    #[must_use]
    pub const fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// What is taken away, sorted.
    #[must_use]
    pub fn except(&self) -> &[IpNet] {
        &self.except
    }

    /// Whether an address belongs to it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.cidr.contains(&ip) && !self.except.iter().any(|e| e.contains(&ip))
    }

    /// Its family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of_net(&self.cidr)
    }
}

impl std::fmt::Display for IpBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cidr)?;
        for (i, e) in self.except.iter().enumerate() {
            write!(f, "{}{e}", if i == 0 { " except " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_masked_and_exceptions_subtract() {
        let b = IpBlock::new("10.0.0.5/8".parse().unwrap(), ["10.1.2.3/16".parse().unwrap()]);
        assert_eq!(b.cidr().to_string(), "10.0.0.0/8");
        assert!(b.contains("10.2.0.1".parse().unwrap()));
        assert!(!b.contains("10.1.255.255".parse().unwrap()));
        assert!(!b.contains("11.0.0.1".parse().unwrap()));
        assert_eq!(b.to_string(), "10.0.0.0/8 except 10.1.0.0/16");
    }

    #[test]
    fn all_of_ipv4_holds_no_ipv6_address() {
        let b = IpBlock::new("0.0.0.0/0".parse().unwrap(), []);
        assert!(!b.contains("2001:db8::1".parse().unwrap()));
        assert_eq!(canonical("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
