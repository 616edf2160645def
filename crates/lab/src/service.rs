//! Services: a ClusterIP is translated to one of its ready pods on the node where the connection starts.
//!
//! [`service_table`] is a pure function to a table of its own, so policy, in another table, sees the address after
//! translation, as with kube-proxy. Backends are taken in turn, which makes the lab repeatable. A pod that reaches
//! itself through its Service gets its node's address as source on the way back in, as it would not answer itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tortie_model::Protocol;
use tortie_ruleset::{
    BaseChain, Chain, ChainKind, CmpOp, CtKey, Data, DataType, Element, Expr, Family, Hook, KeyType, MapKind, MapSpec,
    MetaKey, NatKind, PayloadBase, Policy, Reg, Rule, Table, Verdict,
};

use crate::{
    address::Families,
    error::LabError,
    table::{NFPROTO_IPV4, NFPROTO_IPV6, R0, protocol_number},
    topology::Topology,
};

/// Name of the table.
pub const SERVICE_TABLE: &str = "tortie-lab-services";

/// A Service with a ClusterIP, resolved: headless and `ExternalName` Services are the DNS's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its ClusterIPs, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// The ready pods that it selects.
    pub backends: Vec<Backend>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the ClusterIP.
    pub port: u16,
    /// Port of the pods.
    pub target: Target,
}

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This port of every pod.
    Number(u16),
    /// The port that each pod gives this name; a pod without it is no backend of the port.
    Name(String),
    /// These ports of these addresses, and no others: those of EndpointSlices that somebody wrote.
    Told(Vec<(IpAddr, u16)>),
}

/// A ready pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// `namespace/name`.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its named ports.
    pub ports: BTreeMap<(String, Protocol), u16>,
}

impl Service {
    /// Where connections to a port of the Service end, in one address family.
    #[must_use]
    pub fn endpoints(&self, port: &ServicePort, v4: bool) -> Vec<(IpAddr, u16)> {
        let target = |backend: &Backend| match &port.target {
            Target::Number(number) => Some(*number),
            Target::Name(name) => backend.ports.get(&(name.clone(), port.protocol)).copied(),
            Target::Told(_) => None,
        };
        if let Target::Told(ends) = &port.target {
            return ends.iter().filter(|(address, _)| address.is_ipv4() == v4).copied().collect();
        }
        self.backends
            .iter()
            .filter_map(|b| {
                let address = b.addresses.iter().find(|a| a.is_ipv4() == v4)?;
                Some((*address, target(b)?))
            })
            .collect()
    }
}

/// What the two families differ in.
struct Layout {
    v4: bool,
    family: u8,
    key: KeyType,
    source: u32,
    destination: u32,
    len: u32,
    suffix: &'static str,
    /// After the address and the protocol in the key; and after the address in a backend.
    proto: Reg,
    port: Reg,
    backend_port: Reg,
}

const V4: Layout = Layout {
    v4: true,
    family: NFPROTO_IPV4,
    key: KeyType::Ipv4,
    source: 12,
    destination: 16,
    len: 4,
    suffix: "4",
    proto: Reg::new(1),
    port: Reg::new(2),
    backend_port: Reg::new(1),
};
const V6: Layout = Layout {
    v4: false,
    family: NFPROTO_IPV6,
    key: KeyType::Ipv6,
    source: 8,
    destination: 24,
    len: 16,
    suffix: "6",
    proto: Reg::new(4),
    port: Reg::new(5),
    backend_port: Reg::new(4),
};

impl Layout {
    fn is_family(&self) -> [Expr; 2] {
        [Expr::Meta { key: MetaKey::NfProto, dreg: R0 }, Expr::Cmp { sreg: R0, op: CmpOp::Eq, data: vec![self.family] }]
    }

    fn load(&self, offset: u32, dreg: Reg) -> Expr {
        Expr::Payload { base: PayloadBase::Network, offset, len: self.len, dreg }
    }
}

/// The table that makes Services work on a node. The same on every node.
#[must_use]
pub fn service_table(services: &[Service]) -> Table {
    let mut table =
        Table { family: Family::Inet, name: SERVICE_TABLE.to_owned(), maps: BTreeMap::new(), chains: [].into() };
    let mut dispatch_rules = Vec::new();
    let mut hairpin_rules = Vec::new();
    for layout in [V4, V6] {
        dispatch_rules.push(dispatch(&mut table, &layout, services));
        hairpin_rules.push(hairpin(&mut table, &layout, services));
    }
    let base = |hook, priority| Some(BaseChain { kind: ChainKind::Nat, hook, priority, policy: Policy::Accept });
    let chains = [
        ("prerouting", base(Hook::Prerouting, DSTNAT), dispatch_rules.clone()),
        ("output", base(Hook::Output, DSTNAT), dispatch_rules),
        ("postrouting", base(Hook::Postrouting, SRCNAT), hairpin_rules),
    ];
    for (name, base, rules) in chains {
        table.chains.insert(name.to_owned(), Chain { base, rules }.into());
    }
    table
}

/// `NF_IP_PRI_NAT_DST` and `NF_IP_PRI_NAT_SRC`.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;

/// A rule that sends each ClusterIP, protocol and port to its chain, and these chains.
fn dispatch(table: &mut Table, layout: &Layout, services: &[Service]) -> Rule {
    let map = format!("services{}", layout.suffix);
    let mut elements = BTreeMap::new();
    for service in services {
        let Some(cluster) = service.addresses.iter().find(|a| a.is_ipv4() == layout.v4) else { continue };
        for port in &service.ports {
            let endpoints = service.endpoints(port, layout.v4);
            if endpoints.is_empty() {
                continue;
            }
            let chain = format!("service{}-{}", layout.suffix, elements.len());
            let key = concat(&[&octets(*cluster), &[protocol_number(port.protocol)], &port.port.to_be_bytes()]);
            // Of two Services that claim the same address and port, the first has it.
            if elements.contains_key(&key) {
                continue;
            }
            let comment = format!("{}/{} {} {}", service.namespace, service.name, port.protocol, port.port);
            choose(table, layout, &chain, comment, &endpoints);
            elements.insert(key, Data::Verdict(Verdict::Goto(chain)));
        }
    }
    let spec = MapSpec {
        key: vec![layout.key, KeyType::Proto, KeyType::Port],
        data: Some(DataType::Verdict),
        kind: MapKind::Hash,
        size: None,
        counter: false,
        timeout: false,
    };
    let elements = elements.into_iter().map(|(key, data)| Element::entry(key, data)).collect();
    table.maps.insert(map.clone(), (spec, elements));
    let mut exprs = layout.is_family().to_vec();
    exprs.extend([
        layout.load(layout.destination, R0),
        Expr::Meta { key: MetaKey::L4Proto, dreg: layout.proto },
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: layout.port },
        Expr::Lookup { map, sreg: R0, dreg: None, verdict: true, invert: false },
    ]);
    Rule { exprs, comment: None }
}

/// The chain that takes one endpoint after the other.
fn choose(table: &mut Table, layout: &Layout, chain: &str, comment: String, endpoints: &[(IpAddr, u16)]) {
    let modulus = u32::try_from(endpoints.len()).expect("fewer endpoints than addresses");
    let elements = (0..modulus)
        .zip(endpoints)
        .map(|(n, (address, port))| {
            let backend = concat(&[&octets(*address), &port.to_be_bytes()]);
            Element::entry(n.to_ne_bytes().to_vec(), Data::Value(backend))
        })
        .collect();
    let spec = MapSpec {
        key: vec![KeyType::Mark],
        data: Some(DataType::Value {
            len: layout.len + 4,
            // nft's type of a concatenation: six bits a field.
            nft_type: layout.key.nft_type() << 6 | KeyType::Port.nft_type(),
        }),
        kind: MapKind::Hash,
        size: None,
        counter: false,
        timeout: false,
    };
    table.maps.insert(chain.to_owned(), (spec, elements));
    let exprs = vec![
        Expr::Numgen { random: false, modulus, offset: 0, dreg: R0 },
        Expr::Lookup { map: chain.to_owned(), sreg: R0, dreg: Some(R0), verdict: false, invert: false },
        Expr::Nat { kind: NatKind::Dnat, family: layout.family, addr: R0, port: Some(layout.backend_port) },
    ];
    let rule = Rule { exprs, comment: Some(comment) };
    table.chains.insert(chain.to_owned(), Chain { base: None, rules: vec![rule] }.into());
}

/// A rule that masquerades translated connections of a backend to itself.
fn hairpin(table: &mut Table, layout: &Layout, services: &[Service]) -> Rule {
    /// `IPS_DST_NAT`.
    const DST_NAT: u32 = 1 << 5;
    let map = format!("hairpin{}", layout.suffix);
    let addresses: BTreeSet<IpAddr> = services
        .iter()
        .flat_map(|s| &s.backends)
        .flat_map(|b| &b.addresses)
        .copied()
        .filter(|a| a.is_ipv4() == layout.v4)
        .collect();
    let elements = addresses.into_iter().map(|a| Element::key(concat(&[&octets(a), &octets(a)]))).collect();
    let spec = MapSpec {
        key: vec![layout.key, layout.key],
        data: None,
        kind: MapKind::Hash,
        size: None,
        counter: false,
        timeout: false,
    };
    table.maps.insert(map.clone(), (spec, elements));
    let mut exprs = layout.is_family().to_vec();
    exprs.extend([
        Expr::Ct { key: CtKey::Status, dreg: R0 },
        Expr::Bitwise { sreg: R0, dreg: R0, mask: DST_NAT.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::Cmp { sreg: R0, op: CmpOp::Neq, data: vec![0; 4] },
        layout.load(layout.source, R0),
        layout.load(layout.destination, layout.proto),
        Expr::Lookup { map, sreg: R0, dreg: None, verdict: false, invert: false },
        Expr::Masquerade,
    ]);
    Rule { exprs, comment: Some("a pod that reaches itself".to_owned()) }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Fields padded to registers.
fn concat(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

impl Topology {
    /// Makes these the Services of the cluster, on every node, in place of those before.
    ///
    /// Connections that exist keep the backend that they have. A node that is made later has no Services until this is
    /// called again.
    ///
    /// # Errors
    /// [`LabError::Family`] for a ClusterIP of a family that the cluster does not have, or what the kernel refused; some
    /// nodes may have the new Services then.
    pub fn set_services(&mut self, services: &[Service]) -> Result<(), LabError> {
        let families: Families = self.families();
        for service in services {
            if let Some(address) = service.addresses.iter().find(|a| !families.have(**a)) {
                let name = format!("Service {}/{}", service.namespace, service.name);
                return Err(LabError::Family { name, address: *address });
            }
        }
        self.replace_table_on_nodes(&service_table(services))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(name: &str, addresses: &[&str], named: Option<u16>) -> Backend {
        Backend {
            name: name.to_owned(),
            addresses: addresses.iter().map(|a| a.parse().expect("address")).collect(),
            ports: named.map(|n| (("http".to_owned(), Protocol::Tcp), n)).into_iter().collect(),
        }
    }

    fn service(ports: Vec<ServicePort>, backends: Vec<Backend>) -> Service {
        Service {
            namespace: "prod".to_owned(),
            name: "web".to_owned(),
            addresses: vec!["10.96.0.20".parse().expect("address")],
            ports,
            backends,
        }
    }

    #[test]
    fn a_named_port_is_each_pods_own() {
        let port = ServicePort { protocol: Protocol::Tcp, port: 80, target: Target::Name("http".to_owned()) };
        let service = service(
            vec![port.clone()],
            vec![
                backend("prod/a", &["10.244.1.2"], Some(8080)),
                backend("prod/b", &["fd00::2", "10.244.2.2"], Some(9090)),
                backend("prod/without", &["10.244.2.3"], None),
            ],
        );
        let want = [("10.244.1.2", 8080), ("10.244.2.2", 9090)].map(|(a, p)| (a.parse().expect("address"), p));
        assert_eq!(service.endpoints(&port, true), want);
        let table = service_table(&[service]);
        assert_eq!(
            table.maps["service4-0"].1,
            [
                Element::entry(0u32.to_ne_bytes().to_vec(), Data::Value(vec![10, 244, 1, 2, 0x1f, 0x90, 0, 0])),
                Element::entry(1u32.to_ne_bytes().to_vec(), Data::Value(vec![10, 244, 2, 2, 0x23, 0x82, 0, 0])),
            ]
        );
        assert!(!table.maps.contains_key("service6-0"), "it has no IPv6 ClusterIP");
    }

    #[test]
    fn a_port_without_endpoints_is_not_translated() {
        let port = ServicePort { protocol: Protocol::Udp, port: 53, target: Target::Number(53) };
        let table = service_table(&[service(vec![port], Vec::new())]);
        assert_eq!(table.maps["services4"].1, []);
        assert_eq!(table.chains.len(), 3);
    }

    #[test]
    fn every_map_that_a_rule_looks_up_exists() {
        let port = |p| ServicePort { protocol: Protocol::Tcp, port: p, target: Target::Number(p) };
        let backends = vec![backend("prod/a", &["10.244.1.2"], None)];
        let twice = service(vec![port(80), port(443)], backends);
        let table = service_table(&[twice.clone(), twice]);
        let lookups = table.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.exprs);
        for expr in lookups {
            if let Expr::Lookup { map, .. } = expr {
                assert!(table.maps.contains_key(map), "{map}");
            }
        }
        assert_eq!(table.maps["services4"].1.len(), 2, "the second of the same address has nothing");
    }
}
