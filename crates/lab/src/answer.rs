//! What a pod, node or outside host answers on.
//!
//! One listener a port where ports are declared. Where none are, one TCP and one UDP listener take every port by a
//! redirect inside the host's own namespace, where no policy looks: the node still sees the port that was asked for.
//! A program that people run there themselves keeps its ports if its socket is there when the connection comes in.
//! Where the kernel has no SCTP sockets, raw ones take the place of its listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt},
};
use tortie_model::Protocol;
use tortie_ruleset::{
    BaseChain, Chain, ChainKind, CmpOp, Expr, Family, FibResult, Hook, MetaKey, NatKind, PayloadBase, Policy, Reg,
    Rule, Table, Verdict,
};

use crate::{
    attachment::socket_error,
    error::LabError,
    raw, sctp,
    server::{Doorbell, Listener, Speaks, Transport},
    table::{self, NFPROTO_IPV4, NFPROTO_IPV6, R0, of_protocol, protocol_number, to_port},
};

/// Name of the table that redirects every port.
pub const ANSWER_TABLE: &str = "tortie-lab-answer";
/// Where redirected connections arrive: above the ports that the kernel gives to outgoing connections.
pub const CATCH_ALL_PORT: u16 = 64_999;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Ports that something answers on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Every TCP, UDP and SCTP port.
    Everywhere,
    /// These ports alone.
    On(Vec<(Protocol, u16)>),
}

/// Opens the listeners of a host in the namespace of the calling thread, and redirects to them if need be. With `dns`,
/// port 53 speaks DNS.
pub(crate) fn open(name: &str, addresses: &[IpAddr], answers: &Answers, dns: bool) -> Result<Vec<Listener>, LabError> {
    const DNS: [(Protocol, u16); 2] = [(Protocol::Udp, 53), (Protocol::Tcp, 53)];
    let mut listeners = Vec::new();
    let mut ports: Vec<(Protocol, u16)> = Vec::new();
    match answers {
        Answers::Everywhere => {
            let by_socket = |p: &Protocol| *p != Protocol::Sctp || sctp::has_sockets();
            let (redirected, by_hand): (Vec<_>, Vec<_>) = Protocol::ALL.into_iter().partition(by_socket);
            table::create(&redirect_table(&redirected, if dns { &DNS } else { &[] }))?;
            for protocol in redirected {
                listeners.extend(listener(name, addresses, protocol, CATCH_ALL_PORT, Speaks::Name)?);
            }
            if !by_hand.is_empty() {
                listeners.extend(doorbells(name, addresses, None)?);
            }
        }
        Answers::On(declared) => ports.clone_from(declared),
    }
    if dns {
        ports.extend(DNS);
    }
    ports.sort_unstable();
    ports.dedup();
    for (protocol, port) in ports {
        let speaks = if dns && port == 53 && protocol != Protocol::Sctp { Speaks::Dns } else { Speaks::Name };
        listeners.extend(listener(name, addresses, protocol, port, speaks)?);
    }
    Ok(listeners)
}

/// Listeners on a port: streams on all addresses at once, datagrams on each, as a socket bound to all of them could
/// answer from another than it was asked on. SCTP is streams, or by hand where the kernel has no sockets for it.
pub(crate) fn listener(
    name: &str,
    addresses: &[IpAddr],
    protocol: Protocol,
    port: u16,
    speaks: Speaks,
) -> Result<Vec<Listener>, LabError> {
    if protocol == Protocol::Sctp && !sctp::has_sockets() {
        return doorbells(name, addresses, Some(port));
    }
    let (kind, number, transport) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP, Transport::Stream),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP, Transport::Datagram),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP, Transport::Stream),
    };
    let addresses: Vec<IpAddr> = match transport {
        Transport::Stream => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        _ => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .into_iter()
            .chain(addresses.iter().copied())
            .collect(),
    };
    let mut listeners = Vec::new();
    for address in addresses {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match socket_with(family, kind, flags, Some(number)) {
            Ok(socket) => socket,
            // No IPv6.
            Err(Errno::AFNOSUPPORT) => continue,
            Err(e) => return Err(socket_error(format!("{name}: open a {protocol} socket"))(e)),
        };
        let at = SocketAddr::new(address, port);
        bound(&socket, at, transport).map_err(socket_error(format!("{name}: listen on {protocol} {at}")))?;
        listeners.push(Listener { socket, transport, speaks });
    }
    Ok(listeners)
}

/// Raw sockets that answer the handshakes of SCTP, on each address.
fn doorbells(name: &str, addresses: &[IpAddr], port: Option<u16>) -> Result<Vec<Listener>, LabError> {
    let open = |address: &IpAddr| {
        let socket = raw::open(address.is_ipv4(), ipproto::SCTP)?;
        bind(&socket, &SocketAddr::new(*address, 0))?;
        let transport = Transport::Handshake(Doorbell { address: *address, port });
        Ok(Listener { socket, transport, speaks: Speaks::Name })
    };
    let sockets: Result<_, Errno> = addresses.iter().map(open).collect();
    sockets.map_err(socket_error(format!("{name}: answer SCTP by hand")))
}

fn bound(socket: &OwnedFd, at: SocketAddr, transport: Transport) -> Result<(), Errno> {
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(socket, true)?;
    }
    if transport == Transport::Stream {
        sockopt::set_socket_reuseaddr(socket, true)?;
    }
    bind(socket, &at)?;
    if transport == Transport::Stream {
        listen(socket, BACKLOG)?;
    }
    Ok(())
}

/// The table that sends every port of these protocols of a host, but `except`, to [`CATCH_ALL_PORT`].
#[must_use]
pub fn redirect_table(protocols: &[Protocol], except: &[(Protocol, u16)]) -> Table {
    let mut rules = Vec::new();
    for (protocol, port) in except {
        let mut exprs = of_protocol(protocol_number(*protocol)).to_vec();
        exprs.extend(to_port(*port));
        exprs.push(Expr::Verdict(Verdict::Return));
        rules.push(Rule { exprs, comment: None });
    }
    for protocol in protocols {
        for v4 in [true, false] {
            rules.push(Rule { exprs: to_catch_all(*protocol, v4), comment: None });
        }
    }
    // Connections of a host to itself pass the output hook alone; those to others, and to the loopback address, stay as
    // they are.
    let mut from_here: Vec<Rule> = not_redirected().into_iter().map(|exprs| Rule { exprs, comment: None }).collect();
    from_here.extend(rules.iter().cloned());
    let taken = vec![Expr::Socket { dreg: R0 }, Expr::Verdict(Verdict::Return)];
    rules.insert(0, Rule { exprs: taken, comment: Some("a program of one's own listens there".to_owned()) });
    let chain = |hook, rules| {
        let base = Some(BaseChain { kind: ChainKind::Nat, hook, priority: -100, policy: Policy::Accept });
        Arc::new(Chain { base, rules })
    };
    Table {
        family: Family::Inet,
        name: ANSWER_TABLE.to_owned(),
        maps: [].into(),
        chains: [
            ("output".to_owned(), chain(Hook::Output, from_here)),
            ("prerouting".to_owned(), chain(Hook::Prerouting, rules)),
        ]
        .into(),
    }
}

/// Sends packets to the catch-all port of the address that they are for. `redirect` would pick an address by itself, and
/// the answers of a datagram socket would come from another one.
fn to_catch_all(protocol: Protocol, v4: bool) -> Vec<Expr> {
    const PORT: Reg = Reg::new(4);
    let (family, offset, len) = if v4 { (NFPROTO_IPV4, 16, 4) } else { (NFPROTO_IPV6, 24, 16) };
    let mut exprs =
        vec![Expr::Meta { key: MetaKey::NfProto, dreg: R0 }, Expr::Cmp { sreg: R0, op: CmpOp::Eq, data: vec![family] }];
    exprs.extend(of_protocol(protocol_number(protocol)));
    exprs.extend([
        Expr::Payload { base: PayloadBase::Network, offset, len, dreg: R0 },
        Expr::Immediate { dreg: PORT, data: CATCH_ALL_PORT.to_be_bytes().to_vec() },
        Expr::Nat { kind: NatKind::Dnat, family, addr: R0, port: Some(PORT) },
    ]);
    exprs
}

/// What leaves the host, or goes to a loopback address.
fn not_redirected() -> [Vec<Expr>; 3] {
    let done = Expr::Verdict(Verdict::Return);
    let address = |family, offset, address: &[u8]| {
        let len = u32::try_from(address.len()).expect("at most 16 bytes");
        vec![
            Expr::Meta { key: MetaKey::NfProto, dreg: R0 },
            Expr::Cmp { sreg: R0, op: CmpOp::Eq, data: vec![family] },
            Expr::Payload { base: PayloadBase::Network, offset, len, dreg: R0 },
            Expr::Cmp { sreg: R0, op: CmpOp::Eq, data: address.to_vec() },
            done.clone(),
        ]
    };
    [
        vec![
            Expr::Fib { result: FibResult::AddrType, dreg: R0 },
            Expr::Cmp { sreg: R0, op: CmpOp::Neq, data: RTN_LOCAL.to_ne_bytes().to_vec() },
            done.clone(),
        ],
        address(NFPROTO_IPV4, 16, &[127]),
        address(NFPROTO_IPV6, 24, &Ipv6Addr::LOCALHOST.octets()),
    ]
}

/// `RTN_LOCAL`.
const RTN_LOCAL: u32 = 2;
