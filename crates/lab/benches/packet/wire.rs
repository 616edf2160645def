//! A node between three pods and a link to everywhere else.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use tortie_lab::netns::{Netns, NetnsError};
use tortie_model::Family;
use tortie_netlink::nft::{Batch as Rules, Op, TableFlags};
use tortie_netlink::route::{Batch, Route, Routes, Veth};
use tortie_netlink::{Error, Protocol, Socket};
use tortie_node::{Change, Node, NodeOptions};
use tortie_plan::{NodeFacts, PodInterface};
use tortie_policy::{Delta, Index, PodKey};
use tortie_ruleset::{Chain, CtKey, Expr, Reg, Rule, Table};

use crate::Result;
use crate::policies::{PORT, Role, address};

const PREFIX: &str = "tor";
const UPLINK: u32 = 100;

/// A node with what is attached to it.
#[derive(Debug)]
pub(crate) struct Wire {
    node: Netns,
    pods: Vec<Netns>,
    /// Sends from addresses of pods on other nodes.
    pub(crate) elsewhere: Netns,
    /// Where datagrams arrive, by family.
    sinks: Vec<(Family, UdpSocket)>,
    conntrack: Socket,
    enforcer: Option<Node>,
}

const fn index(role: Role) -> u32 {
    10 + role.number() as u32
}

fn interface(role: Role) -> PodInterface {
    PodInterface { name: format!("{PREFIX}{}", role.number()).into(), index: index(role) }
}

const fn mac(end: u8, link: u8) -> [u8; 6] {
    [2, 0, 0, 0, end, link]
}

fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([169, 254, 1, 1]),
        Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
    }
}

fn setting(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Attaches a namespace that has `addresses` inside, or none of its own and every address behind it.
fn attach(node: &Netns, inside: &Netns, name: &str, index: u32, number: u8, addresses: &[IpAddr]) -> Result {
    let (own, far) = (mac(0, number), mac(1, number));
    node.run(|| -> std::result::Result<(), Error> {
        let mut batch = Batch::new();
        batch.add_veth(&Veth {
            name,
            index,
            mac: own,
            peer_name: "eth0",
            peer_index: 2,
            peer_mac: far,
            peer_namespace: inside.as_fd(),
        });
        batch.set_up(index, true);
        let mut routes = Routes::open()?;
        routes.commit(batch)
    })??;
    inside.run(|| -> std::result::Result<(), Error> {
        let mut batch = Batch::new();
        batch.set_up(2, true);
        for address in addresses {
            batch.add_address(2, *address, if address.is_ipv4() { 32 } else { 128 });
        }
        for family in Family::ALL {
            batch.set_neighbour(2, gateway(family), own);
            batch.replace_route(&Route::host(gateway(family), 2));
            batch.replace_route(&Route::default_via(gateway(family), 2));
        }
        Routes::open()?.commit(batch)
    })??;
    node.run(|| -> std::result::Result<(), Error> {
        let mut batch = Batch::new();
        for address in addresses {
            batch.set_neighbour(index, *address, far);
            batch.replace_route(&Route::host(*address, index));
        }
        let mut routes = Routes::open()?;
        routes.commit(batch)?;
        routes.wait_operational(&[index], Duration::from_secs(10))
    })??;
    Ok(())
}

/// Connection tracking, and nothing else: a rule that no packet meets asks for it.
fn tracked() -> Table {
    let state = Expr::Ct { key: CtKey::State, dreg: Reg::new(0) };
    let chain = Chain { base: None, rules: vec![Rule { exprs: vec![state], comment: None }] };
    Table {
        family: tortie_ruleset::Family::Inet,
        name: "tracked".to_owned(),
        maps: std::collections::BTreeMap::new(),
        chains: [("unused".to_owned(), chain.into())].into(),
    }
}

impl Wire {
    /// A node that tracks connections and enforces nothing.
    pub(crate) fn new() -> Result<Self> {
        let prepare = |n: usize| -> std::result::Result<(), NetnsError> {
            let forward = if n == 0 { "1" } else { "0" };
            setting("ipv4/ip_forward", forward);
            setting("ipv6/conf/all/forwarding", forward);
            setting("ipv4/conf/all/rp_filter", "0");
            setting("ipv4/conf/default/rp_filter", "0");
            setting("ipv6/conf/default/accept_dad", "0");
            Ok(())
        };
        let mut made = Netns::create(5, prepare)?;
        let elsewhere = made.pop().ok_or("five")?;
        let pods = made.split_off(1);
        let node = made.pop().ok_or("one")?;
        for (role, pod) in Role::ALL.into_iter().zip(&pods) {
            let addresses = Family::ALL.map(|f| role.address(f));
            attach(&node, pod, &interface(role).name, index(role), role.number(), &addresses)?;
        }
        attach(&node, &elsewhere, "up0", UPLINK, 9, &Family::ALL.map(|f| address(f, 0x0a7f_0001)))?;
        let conntrack = node.run(|| -> std::result::Result<Socket, Error> {
            let mut socket = Socket::open(Protocol::Netfilter)?;
            Rules::of(&Op::create(&tracked(), TableFlags::NONE))?.commit(&mut socket, None)?;
            Ok(socket)
        })??;
        let sinks =
            pods[usize::from(Role::Server.number()) - 1].run(|| -> std::io::Result<Vec<(Family, UdpSocket)>> {
                let open = |family| {
                    let sink = UdpSocket::bind((Role::Server.address(family), PORT))?;
                    sink.set_nonblocking(true)?;
                    Ok((family, sink))
                };
                Family::ALL.into_iter().map(open).collect()
            })??;
        Ok(Self { node, pods, elsewhere, sinks, conntrack, enforcer: None })
    }

    /// Puts a cluster's policies in force.
    pub(crate) fn enforce(&mut self, deltas: Vec<Delta>) -> Result<Duration> {
        let key = |role: Role| PodKey::new("ns", role.name());
        let facts = NodeFacts {
            name: "here".into(),
            interface_prefix: PREFIX.into(),
            pod_ranges: vec!["10.64.1.0/24".parse()?, "fd00::a40:100/120".parse()?],
            interfaces: std::collections::BTreeMap::new(),
        };
        let attached = Role::ALL.map(|role| (key(role), interface(role))).into();
        let started = Instant::now();
        let enforcer = self.node.run(|| -> Result<Node> {
            let mut node = Node::open(facts, NodeOptions::default())?;
            node.update(Change { deltas, attached, ..Change::default() }, Instant::now())?;
            while let Some(due) = node.tick(Instant::now())? {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Ok(node)
        })??;
        self.enforcer = Some(enforcer);
        Ok(started.elapsed())
    }

    /// Tries out a cluster's policies in front of those that are in force.
    pub(crate) fn try_out(&mut self, deltas: Vec<Delta>) -> Result {
        let Self { node, enforcer, .. } = self;
        let enforcer = enforcer.as_mut().ok_or("something is in force")?;
        node.run(|| -> Result {
            enforcer.try_out(&Index::of(deltas), Instant::now())?;
            while let Some(due) = enforcer.tick(Instant::now())? {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            enforcer.trial_failure().map_or(Ok(()), |error| Err(error.into()))
        })?
    }

    pub(crate) fn pod(&self, role: Role) -> &Netns {
        &self.pods[usize::from(role.number()) - 1]
    }

    /// Where datagrams arrive that are sent to the server.
    pub(crate) fn sink(&self, family: Family) -> Result<UdpSocket> {
        let (_, sink) = self.sinks.iter().find(|(f, _)| *f == family).ok_or("a sink for each family")?;
        Ok(sink.try_clone()?)
    }

    /// Forgets all connections.
    pub(crate) fn forget(&mut self) -> Result {
        /// `IPCTNL_MSG_CT_DELETE` of the conntrack subsystem; without a tuple it deletes everything.
        const DELETE: u16 = 1 << 8 | 2;
        self.conntrack.request(DELETE, 0, &[0; 4], || "forget all connections".to_owned())?;
        Ok(())
    }
}
