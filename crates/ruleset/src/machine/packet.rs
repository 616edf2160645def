//! A packet as the machine sees it.

use std::net::IpAddr;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, at most fifteen bytes.
    pub name: String,
    /// Its index.
    pub index: u32,
}

impl Interface {
    /// The name in sixteen bytes, padded with zeros.
    pub(crate) fn padded_name(&self) -> Vec<u8> {
        let mut name = self.name.as_bytes().to_vec();
        name.resize(16, 0);
        name
    }
}

/// What connection tracking knows of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// State bit: one of the constants of this type.
    pub state: u32,
    /// Connection mark.
    pub mark: u32,
    /// Whether the packet goes against the direction in which the connection was opened.
    pub reply: bool,
}

impl Connection {
    /// Bit of a packet that belongs to no connection and cannot open one.
    pub const INVALID: u32 = 1;
    /// Bit of a packet of a connection that was answered.
    pub const ESTABLISHED: u32 = 2;
    /// Bit of a packet that another connection explains, such as an ICMP error.
    pub const RELATED: u32 = 4;
    /// Bit of a packet that opens a connection, or of one not answered yet.
    pub const NEW: u32 = 8;
    /// Bit of a packet that is exempt from tracking.
    pub const UNTRACKED: u32 = 64;

    /// A packet that opens a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: Self::NEW, mark: 0, reply: false }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

/// A packet at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The interface that it came in by; `None` at the output hook.
    pub input: Option<Interface>,
    /// The interface that it goes out by; `None` at the input hook.
    pub output: Option<Interface>,
    /// The IP header.
    pub network: Vec<u8>,
    /// Transport protocol number.
    pub protocol: u8,
    /// The transport header, as much as there is of it.
    pub transport: Vec<u8>,
    /// Packet mark.
    pub mark: u32,
    /// What connection tracking says.
    pub connection: Connection,
}

impl Packet {
    /// A packet between two addresses that opens a connection, without interfaces.
    ///
    /// # Panics
    /// When the addresses are of different families.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8, transport: Vec<u8>) -> Self {
        let network = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = vec![0; 12];
                header[0] = 0x45;
                header[9] = protocol;
                header.extend_from_slice(&source.octets());
                header.extend_from_slice(&destination.octets());
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut header = vec![0; 8];
                header[0] = 0x60;
                header[6] = protocol;
                header.extend_from_slice(&source.octets());
                header.extend_from_slice(&destination.octets());
                header
            }
            _ => panic!("{source} and {destination} are of different families"),
        };
        let connection = Connection::new();
        Self { input: None, output: None, network, protocol, transport, mark: 0, connection }
    }

    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub(crate) fn nfproto(&self) -> u8 {
        if self.network.first().is_some_and(|b| b >> 4 == 6) { 10 } else { 2 }
    }
}
