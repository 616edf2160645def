//! Raw sockets: what follows the IP header, sent and received as bytes.

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with},
};

/// A raw socket in the namespace of the calling thread, which must have `CAP_NET_RAW` there.
pub(crate) fn open(v4: bool, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, SocketType::RAW, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, Some(protocol))
}

/// What follows the IP header in what such a socket received: with the header for IPv4, without it for IPv6.
pub(crate) fn body(v4: bool, received: &[u8]) -> Option<&[u8]> {
    let header = if v4 { usize::from(received.first()? & 0xf) * 4 } else { 0 };
    received.get(header..)
}
