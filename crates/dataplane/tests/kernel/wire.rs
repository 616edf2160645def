//! Three pods and two hosts outside around a node, and datagrams between them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tortie_model::Family;
use tortie_netlink::route::{Batch, Route, Routes, Veth};

use crate::cluster::{FRIEND, PORT, SERVER, STRANGER, interface, outside_address, pod_address};
use crate::sandbox::Net;

/// How long a datagram is waited for before the next are sent.
const PATIENCE: Duration = Duration::from_millis(20);

/// The links of the topology: their number is that of the pod, or 0 for the way out.
const LINKS: [u8; 4] = [0, SERVER, FRIEND, STRANGER];

fn mac(end: u8, link: u8) -> [u8; 6] {
    [2, 0, 0, 0, end, link]
}

/// Addresses at the far end of a link.
fn addresses(link: u8) -> Vec<IpAddr> {
    let of =
        |f| if link == 0 { vec![outside_address(1, f), outside_address(2, f)] } else { vec![pod_address(link, f)] };
    Family::ALL.into_iter().flat_map(of).collect()
}

fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([169, 254, 1, 1]),
        Family::V6 => "fe80::1".parse().expect("an address"),
    }
}

fn setting(name: &str) {
    std::fs::write(format!("/proc/sys/net/{name}"), "1").unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Somebody who sends, and whether he should get through.
pub(crate) struct Sender {
    pub(crate) name: String,
    pub(crate) allowed: bool,
    socket: UdpSocket,
    to: SocketAddr,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Datagrams that are not waited for any more. They may still come.
    given_up: u64,
}

/// The topology around the node, which is the namespace of the thread that made it.
pub(crate) struct Wire {
    _namespaces: Vec<Net>,
    receivers: Vec<UdpSocket>,
    pub(crate) senders: Vec<Sender>,
}

impl Wire {
    /// Makes links, routes and sockets.
    pub(crate) fn new() -> Self {
        setting("ipv4/ip_forward");
        setting("ipv6/conf/all/forwarding");
        let mut routes = Routes::open().expect("routes");
        let mut namespaces = Vec::new();
        for link in LINKS {
            let net = Net::new();
            let (name, index) = match link {
                0 => ("up0".to_owned(), 10),
                pod => (interface(pod).name.to_string(), interface(pod).index),
            };
            let mut batch = Batch::new();
            let (peer_namespace, own, far) = (std::os::fd::AsFd::as_fd(&net), mac(0, link), mac(1, link));
            batch.add_veth(&Veth {
                name: &name,
                index,
                mac: own,
                peer_name: "eth0",
                peer_index: 2,
                peer_mac: far,
                peer_namespace,
            });
            batch.set_up(index, true);
            routes.commit(batch).expect("a link");
            net.run(|| {
                let mut batch = Batch::new();
                batch.set_up(2, true);
                for address in addresses(link) {
                    batch.add_address(2, address, if address.is_ipv4() { 32 } else { 128 });
                }
                for family in Family::ALL {
                    batch.set_neighbour(2, gateway(family), own);
                    batch.replace_route(&Route::host(gateway(family), 2));
                    batch.replace_route(&Route::default_via(gateway(family), 2));
                }
                Routes::open().and_then(|mut r| r.commit(batch)).expect("the far end");
            });
            let mut batch = Batch::new();
            for address in addresses(link) {
                batch.set_neighbour(index, address, far);
                batch.replace_route(&Route::host(address, index));
            }
            routes.commit(batch).expect("routes to the far end");
            namespaces.push(net);
        }
        routes.wait_operational(&[10, 11, 12, 13], Duration::from_secs(10)).expect("links come up");
        let receivers = namespaces[1].run(|| {
            Family::ALL.map(|f| {
                let socket = UdpSocket::bind((pod_address(SERVER, f), PORT)).expect("bind");
                socket.set_nonblocking(true).expect("non-blocking");
                socket
            })
        });
        let mut senders = Vec::new();
        for (at, link, host) in [(0, 0, 1), (0, 0, 2), (2, FRIEND, 0), (3, STRANGER, 0)] {
            for family in Family::ALL {
                let from = if link == 0 { outside_address(host, family) } else { pod_address(link, family) };
                let to = SocketAddr::new(pod_address(SERVER, family), PORT);
                let socket = namespaces[at].run(|| UdpSocket::bind((from, 0)).expect("bind"));
                let allowed = host == 1 || link == FRIEND;
                senders.push(Sender { name: from.to_string(), allowed, socket, to, sent: 0, received: 0, given_up: 0 });
            }
        }
        Self { _namespaces: namespaces, receivers: receivers.into(), senders }
    }

    /// Everybody sends `count` datagrams, in turn.
    pub(crate) fn send(&mut self, count: u64) {
        for _ in 0..count {
            for sender in &mut self.senders {
                // A full queue on the way is the kernel's affair, not the policy's: such a datagram does not count.
                if sender.socket.send_to(b"x", sender.to).is_ok() {
                    sender.sent += 1;
                }
            }
            // Nothing may pile up: a queue that overflows on a slow machine would look like a policy that drops.
            let until = Instant::now() + PATIENCE;
            let due = |s: &Sender| s.allowed && s.received + s.given_up < s.sent;
            self.drain();
            while self.senders.iter().any(due) && Instant::now() < until {
                std::thread::yield_now();
                self.drain();
            }
            for sender in self.senders.iter_mut().filter(|s| due(s)) {
                sender.given_up = sender.sent - sender.received;
            }
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 8];
        for receiver in &self.receivers {
            while let Ok((_, from)) = receiver.recv_from(&mut buffer) {
                let is = |s: &&mut Sender| s.socket.local_addr().is_ok_and(|a| a == from);
                if let Some(sender) = self.senders.iter_mut().find(is) {
                    sender.received += 1;
                }
            }
        }
    }

    /// Waits for what is still under way.
    pub(crate) fn settle(&mut self) {
        let until = Instant::now() + Duration::from_secs(2);
        while self.senders.iter().any(|s| s.allowed && s.received < s.sent) && Instant::now() < until {
            self.drain();
            std::thread::yield_now();
        }
        self.drain();
    }

    /// Datagrams that should have arrived and did not, and those that should not have and did.
    pub(crate) fn lost_and_leaked(&self) -> (u64, u64) {
        let lost = self.senders.iter().filter(|s| s.allowed).map(|s| s.sent - s.received).sum();
        let leaked = self.senders.iter().filter(|s| !s.allowed).map(|s| s.received).sum();
        (lost, leaked)
    }
}
