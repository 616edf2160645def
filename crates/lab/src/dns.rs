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
        let before = name.strip_suffix(self.domain.as_str());
        let Some(inside) = before.and_then(|b| b.strip_suffix('.')).or(before.filter(|b| b.is_empty())) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    fn zone() -> Zone {
        let at = |a: &str| a.parse::<IpAddr>().expect("address");
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        Zone {
            services: BTreeMap::from([
                (key("kube-system", "kube-dns"), ServiceRecord::Cluster(vec![at("10.96.0.10"), at("fd00:10:96::a")])),
                (
                    key("prod", "db"),
                    ServiceRecord::Headless(vec![
                        (Some("db-0".to_owned()), at("10.244.1.5")),
                        (None, at("10.244.2.6")),
                    ]),
                ),
                (key("prod", "shop"), ServiceRecord::External("www.example.com".to_owned())),
                (key("prod", "loop"), ServiceRecord::External("loop.prod.svc.cluster.local".to_owned())),
            ]),
            namespaces: vec!["prod".to_owned()],
            outside: BTreeMap::from([("www.example.com".to_owned(), vec![at("198.51.100.7")])]),
            ..Zone::default()
        }
    }

    /// Response code, and the answers as text.
    fn ask(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(format!("{name}.")).expect("name"), kind));
        let reply = answer(&query, &zone());
        assert_eq!(reply.metadata.id, query.metadata.id);
        assert_eq!(reply.queries, query.queries);
        let mut answers: Vec<String> = reply.answers.iter().map(|r| r.data.to_string()).collect();
        answers.sort();
        (reply.metadata.response_code, answers)
    }

    fn found(name: &str) -> Vec<String> {
        let (code, answers) = ask(name, RecordType::A);
        assert_eq!(code, ResponseCode::NoError, "{name}");
        answers
    }

    #[test]
    fn services_by_kind() {
        assert_eq!(found("kube-dns.kube-system.svc.cluster.local"), ["10.96.0.10"]);
        assert_eq!(found("KUBE-DNS.kube-system.SVC.cluster.local"), ["10.96.0.10"]);
        let (_, v6) = ask("kube-dns.kube-system.svc.cluster.local", RecordType::AAAA);
        assert_eq!(v6, ["fd00:10:96::a"]);
        assert_eq!(found("db.prod.svc.cluster.local"), ["10.244.1.5", "10.244.2.6"]);
        assert_eq!(found("db-0.db.prod.svc.cluster.local"), ["10.244.1.5"]);
        assert_eq!(found("shop.prod.svc.cluster.local"), ["198.51.100.7", "www.example.com."]);
    }

    #[test]
    fn pods_and_hosts_outside() {
        assert_eq!(found("10-244-1-5.prod.pod.cluster.local"), ["10.244.1.5"]);
        let (_, v6) = ask("fd00-10-244-1--5.prod.pod.cluster.local", RecordType::AAAA);
        assert_eq!(v6, ["fd00:10:244:1::5"]);
        assert_eq!(found("www.example.com"), ["198.51.100.7"]);
    }

    #[test]
    fn a_name_without_an_address_of_the_family_exists_all_the_same() {
        assert_eq!(ask("www.example.com", RecordType::AAAA), (ResponseCode::NoError, vec![]));
        assert_eq!(ask("db.prod.svc.cluster.local", RecordType::SRV), (ResponseCode::NoError, vec![]));
    }

    #[test]
    fn what_does_not_exist() {
        for name in [
            "kube-dns.kube-system.svc",
            "kube-dns.kube-system.svc.prod.svc.cluster.local",
            "kube-dns.prod.svc.cluster.local",
            "db-1.db.prod.svc.cluster.local",
            "10-244-1-5.nowhere.pod.cluster.local",
            "one.prod.pod.cluster.local",
            "example.com",
            "cluster.local",
            "notcluster.local",
            "kube-dns.kube-system.svc.evilcluster.local",
        ] {
            assert_eq!(ask(name, RecordType::A), (ResponseCode::NXDomain, vec![]), "{name}");
        }
        assert_eq!(ask("loop.prod.svc.cluster.local", RecordType::A).0, ResponseCode::ServFail);
    }

    #[test]
    fn bytes_that_are_no_query() {
        assert_eq!(answer_bytes(b"x", &zone(), Carrier::Datagram), None);
        let reply = answer_bytes(&[0x12, 0x34, 0, 0, 0, 9], &zone(), Carrier::Datagram).expect("it has an id");
        let reply = Message::from_vec(&reply).expect("DNS");
        assert_eq!((reply.metadata.id, reply.metadata.response_code), (0x1234, ResponseCode::FormErr));
        let response = Message::response(7, OpCode::Query).to_vec().expect("encodes");
        assert_eq!(answer_bytes(&response, &zone(), Carrier::Datagram), None, "no answers to answers");
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_truncated() {
        let mut zone = zone();
        let many = (0..100).map(|n| (None, IpAddr::from([10, 244, 3, n]))).collect();
        zone.services.insert(("prod".to_owned(), "many".to_owned()), ServiceRecord::Headless(many));
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii("many.prod.svc.cluster.local.").expect("name"), RecordType::A));
        let bytes = query.to_vec().expect("encodes");
        let short = answer_bytes(&bytes, &zone, Carrier::Datagram).expect("answer");
        assert!(short.len() <= PLAIN_UDP);
        assert!(Message::from_vec(&short).expect("DNS").metadata.truncation);
        let long = Message::from_vec(&answer_bytes(&bytes, &zone, Carrier::Stream).expect("answer")).expect("DNS");
        assert_eq!((long.answers.len(), long.metadata.truncation), (100, false));
    }
}
