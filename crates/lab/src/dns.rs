//! The cluster's DNS: a pure function from a question and a [`Zone`] to an answer.
//!
//! Names follow the Kubernetes DNS specification (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>):
//! `SERVICE.NAMESPACE.svc.DOMAIN`, `HOSTNAME.SERVICE.NAMESPACE.svc.DOMAIN` for headless services, and
//! `A-B-C-D.NAMESPACE.pod.DOMAIN`. Names of hosts outside come from a table; every other name does not exist.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};

/// Seconds for which an answer may be kept: the lab's objects change under the reader's eyes.
const TTL: u32 = 1;
/// Largest answer on UDP without EDNS (RFC 1035, 4.2.1).
const PLAIN_UDP: usize = 512;
/// `CNAME`s followed before giving up.
const MAX_ALIASES: usize = 8;

/// What the DNS knows. The caller keeps it up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The cluster's domain, without dots at its ends.
    pub domain: String,
    /// Services by namespace and name.
    pub services: BTreeMap<(String, String), ServiceRecord>,
    /// Namespaces that exist: names of pods are answered in these alone.
    pub namespaces: Vec<String>,
    /// Hosts outside, by full name in lower case without a dot at its end.
    pub outside: BTreeMap<String, Vec<IpAddr>>,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            services: BTreeMap::new(),
            namespaces: Vec::new(),
            outside: BTreeMap::new(),
        }
    }
}

/// What a service's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRecord {
    /// Its ClusterIPs.
    Cluster(Vec<IpAddr>),
    /// The addresses of its ready pods, each with the host name under which it can be asked for alone.
    Headless(Vec<(Option<String>, IpAddr)>),
    /// `ExternalName`: another name.
    External(String),
}

/// What a question travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// UDP: long answers are truncated.
    Datagram,
    /// TCP.
    Stream,
}

enum Found {
    Addresses(Vec<IpAddr>),
    Alias(String),
    Nothing,
}

impl Zone {
    fn find(&self, name: &str) -> Found {
        let suffix = name.strip_suffix(&self.domain).map(|n| n.strip_suffix('.').unwrap_or(n));
        let Some(inside) = suffix.filter(|i| i.len() < name.len() - self.domain.len() || i.is_empty()) else {
            return match self.outside.get(name) {
                Some(addresses) => Found::Addresses(addresses.clone()),
                None => Found::Nothing,
            };
        };
        let labels: Vec<&str> = inside.split('.').collect();
        match labels.as_slice() {
            [service, namespace, "svc"] => match self.service(namespace, service) {
                Some(ServiceRecord::Cluster(addresses)) => Found::Addresses(addresses.clone()),
                Some(ServiceRecord::Headless(pods)) => Found::Addresses(pods.iter().map(|(_, a)| *a).collect()),
                Some(ServiceRecord::External(alias)) => Found::Alias(alias.clone()),
                None => Found::Nothing,
            },
            [host, service, namespace, "svc"] => match self.service(namespace, service) {
                Some(ServiceRecord::Headless(pods)) => {
                    let own: Vec<IpAddr> =
                        pods.iter().filter(|(name, _)| name.as_deref() == Some(*host)).map(|(_, a)| *a).collect();
                    if own.is_empty() { Found::Nothing } else { Found::Addresses(own) }
                }
                _ => Found::Nothing,
            },
            [dashed, namespace, "pod"] if self.namespaces.iter().any(|n| n == namespace) => match undashed(dashed) {
                Some(address) => Found::Addresses(vec![address]),
                None => Found::Nothing,
            },
            _ => Found::Nothing,
        }
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&ServiceRecord> {
        self.services.get(&(namespace.to_owned(), name.to_owned()))
    }
}

/// The address in a pod's name: dashes for dots, or for colons.
fn undashed(label: &str) -> Option<IpAddr> {
    if let Ok(v4) = label.replace('-', ".").parse::<Ipv4Addr>() {
        return Some(v4.into());
    }
    label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

/// Answers one query.
///
/// `NXDOMAIN` for names that do not exist, an empty answer for names without an address of the family asked for,
/// `NOTIMP` for anything but queries, `FORMERR` for a query without exactly one question.
#[must_use]
pub fn answer(query: &Message, zone: &Zone) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    reply.add_queries(query.queries.iter().cloned());
    if query.metadata.op_code != OpCode::Query || query.metadata.message_type != MessageType::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
        return reply;
    }
    let [question] = query.queries.as_slice() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return reply;
    };
    if question.query_class() != DNSClass::IN {
        reply.metadata.response_code = ResponseCode::Refused;
        return reply;
    }
    let mut owner = question.name().clone();
    for _ in 0..MAX_ALIASES {
        match zone.find(&plain(&owner)) {
            Found::Nothing => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                return reply;
            }
            Found::Alias(target) => {
                let Ok(target) = Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) else {
                    reply.metadata.response_code = ResponseCode::ServFail;
                    return reply;
                };
                reply.add_answer(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(target.clone()))));
                if question.query_type() == RecordType::CNAME {
                    return reply;
                }
                owner = target;
            }
            Found::Addresses(addresses) => {
                for address in addresses {
                    let data = match (address, question.query_type()) {
                        (IpAddr::V4(a), RecordType::A | RecordType::ANY) => RData::A(A(a)),
                        (IpAddr::V6(a), RecordType::AAAA | RecordType::ANY) => RData::AAAA(AAAA(a)),
                        _ => continue,
                    };
                    reply.add_answer(Record::from_rdata(owner.clone(), TTL, data));
                }
                return reply;
            }
        }
    }
    reply.metadata.response_code = ResponseCode::ServFail;
    reply
}

fn plain(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

/// Answers a message as received; `None` for what is not DNS at all.
#[must_use]
pub fn answer_bytes(request: &[u8], zone: &Zone, carrier: Carrier) -> Option<Vec<u8>> {
    let Ok(query) = Message::from_vec(request) else {
        let id = u16::from_be_bytes(*request.first_chunk()?);
        return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok();
    };
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let reply = answer(&query, zone);
    let bytes = reply.to_vec().ok()?;
    let limit = match carrier {
        Carrier::Stream => usize::from(u16::MAX),
        Carrier::Datagram => query.edns.as_ref().map_or(PLAIN_UDP, |e| usize::from(e.max_payload()).max(PLAIN_UDP)),
    };
    if bytes.len() <= limit {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}
