//! A cell of a case as packets: who sends from which address to which, and who may answer.

use std::net::IpAddr;
use std::sync::Arc;

use tortie_manifest::case::{Cell, Endpoint, Probe, Via};
use tortie_model::{Family, Protocol, Traffic};
use tortie_policy::{FlowVerdict, Index, PodKey, Side};

use crate::staging::{DNS_NAME, DNS_NAMESPACE, Staged, StagedService};

/// One probe of one family.
#[derive(Clone, Debug)]
pub struct Question {
    /// IP version.
    pub family: Family,
    /// Who sends.
    pub from: Endpoint,
    /// Its address.
    pub source: IpAddr,
    /// Who is reached; `None` for a name to be resolved.
    pub to: Option<Endpoint>,
    /// The address that packets are sent to: that of a Service, before translation, where one is asked.
    pub destination: IpAddr,
    /// What is sent.
    pub probe: Probe,
    /// The port that it is sent to; 0 for a ping.
    pub port: u16,
    /// The port that it is sent from; `None` where that does not matter.
    pub source_port: Option<u16>,
    /// How the destination is addressed.
    pub via: Via,
    /// Who may answer, and what its packets are behind the translation. Never empty.
    pub answerers: Vec<Answerer>,
}

/// Somebody who answers.
#[derive(Clone, Debug)]
pub struct Answerer {
    /// The name that it answers with.
    pub name: String,
    /// What policy knows of it.
    pub side: Side,
    /// What arrives.
    pub traffic: Traffic,
}

impl Question {
    /// What the engine says of what one of those who may answer is sent.
    #[must_use]
    pub fn verdict(&self, index: &Index, answerer: &Answerer) -> FlowVerdict {
        let (from, to) = (sender(index, self), &answerer.side);
        if self.is_translated() {
            index.verdict_by_service(&from, to, answerer.traffic)
        } else {
            index.verdict(&from, to, answerer.traffic)
        }
    }

    /// Whether its packets never leave the pod that sends them: they are for its own address.
    #[must_use]
    pub fn stays_within(&self, index: &Index, answerer: &Answerer) -> bool {
        !self.is_translated() && sender(index, self).is_same_pod(&answerer.side)
    }

    /// Whether it is sent to a Service.
    fn is_translated(&self) -> bool {
        self.via == Via::Service || matches!(self.probe, Probe::Dns(_))
    }
}

/// Why a cell cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// An end has no address of the family, and the cell is not asked for it.
    #[error("{0} has no {1} address")]
    NoAddress(String, Family),
    /// An end is not there.
    #[error("{0} is not in the cluster")]
    Missing(String),
    /// The destination has no port of that name.
    #[error("{endpoint} has no {protocol} port named `{name}`")]
    NoNamedPort {
        /// The destination.
        endpoint: String,
        /// The protocol.
        protocol: Protocol,
        /// The name.
        name: Arc<str>,
    },
    /// The Service has no such port.
    #[error("Service/{0} has no port {1}/{2}")]
    NoServicePort(PodKey, Protocol, u16),
    /// Nothing is behind the Service.
    #[error("Service/{0} has no ready pods behind it")]
    NoBackends(PodKey),
    /// A Service's address takes only the protocols of its ports.
    #[error("a Service's address cannot be pinged: only its ports are translated")]
    ServicePing,
}

/// One end: what policy knows of it, and the name that it answers with.
struct End {
    side: Side,
    ip: IpAddr,
    name: String,
}

/// Turns a cell into packets of a family.
///
/// # Errors
/// [`QuestionError`]; of these, [`QuestionError::NoAddress`] means that the family does not apply.
pub fn question(staged: &Staged, index: &Index, cell: &Cell, family: Family) -> Result<Question, QuestionError> {
    let from = end(staged, index, &cell.from, family)?;
    let (destination, port, answerers) = match (&cell.to, &cell.probe) {
        (_, Probe::Dns(_)) => {
            let dns = Endpoint::Service { namespace: DNS_NAMESPACE.into(), name: DNS_NAME.into() };
            through_service(staged, index, &dns, Protocol::Udp, 53, family)?
        }
        (None, _) => return Err(QuestionError::Missing("the destination".to_owned())),
        (Some(to @ Endpoint::Service { .. }), Probe::Port(protocol, port)) => {
            through_service(staged, index, to, *protocol, *port, family)?
        }
        (Some(Endpoint::Service { .. }), Probe::Ping) => return Err(QuestionError::ServicePing),
        (Some(to), probe) => {
            let end = end(staged, index, to, family)?;
            let traffic = match probe {
                Probe::Ping | Probe::Dns(_) => Traffic::echo_request(family),
                Probe::Port(protocol, port) => Traffic::port(*protocol, *port),
                Probe::Named(protocol, name) => {
                    let number = end.side.pod().and_then(|pod| pod.named_port(name, *protocol));
                    let missing = || QuestionError::NoNamedPort {
                        endpoint: to.to_string(),
                        protocol: *protocol,
                        name: name.clone(),
                    };
                    Traffic::port(*protocol, number.ok_or_else(missing)?)
                }
            };
            let port = if traffic.protocol.transport().is_some() { traffic.detail } else { 0 };
            (end.ip, port, vec![Answerer { name: end.name, side: end.side, traffic }])
        }
    };
    Ok(Question {
        family,
        from: cell.from.clone(),
        source: from.ip,
        to: cell.to.clone(),
        destination,
        probe: cell.probe.clone(),
        port,
        source_port: None,
        via: cell.via,
        answerers,
    })
}

/// What policy knows of the sender of a question.
#[must_use]
pub fn sender(index: &Index, question: &Question) -> Side {
    index.address_side(question.source)
}

fn end(staged: &Staged, index: &Index, endpoint: &Endpoint, family: Family) -> Result<End, QuestionError> {
    let missing = || QuestionError::Missing(endpoint.to_string());
    let without = || QuestionError::NoAddress(endpoint.to_string(), family);
    let side = match endpoint {
        Endpoint::Pod { namespace, name } => {
            let key = PodKey { namespace: namespace.clone(), name: name.clone() };
            index.pod_side(index.pod(&key).ok_or_else(missing)?, Some(family)).ok_or_else(without)?
        }
        Endpoint::Node(name) => index.node_side(index.node(name).ok_or_else(missing)?, family).ok_or_else(without)?,
        Endpoint::Outside(name) => {
            let host = staged.outside.iter().find(|h| *h.name == **name).ok_or_else(missing)?;
            let ip = host.addresses.iter().find(|ip| Family::of(**ip) == family).ok_or_else(without)?;
            index.address_side(*ip)
        }
        Endpoint::Address(ip) if Family::of(*ip) == family => index.address_side(*ip),
        Endpoint::Address(_) => return Err(without()),
        Endpoint::Service { .. } => return Err(missing()),
    };
    let ip = side.ip().ok_or_else(without)?;
    let name = match endpoint {
        // Whoever has the address answers with its own name.
        Endpoint::Address(ip) => answering_name(staged, index, *ip).unwrap_or_else(|| ip.to_string()),
        other => other.to_string(),
    };
    Ok(End { side, ip, name })
}

fn answering_name(staged: &Staged, index: &Index, ip: IpAddr) -> Option<String> {
    let side = index.address_side(ip);
    let outside = || staged.outside.iter().find(|h| h.addresses.contains(&ip)).map(|h| h.name.clone());
    let node = || side.node().map(|n| format!("node/{}", n.meta.name));
    side.pod().map(|p| p.key()).or_else(node).or_else(outside)
}

type Reached = (IpAddr, u16, Vec<Answerer>);

fn through_service(
    staged: &Staged,
    index: &Index,
    service: &Endpoint,
    protocol: Protocol,
    port: u16,
    family: Family,
) -> Result<Reached, QuestionError> {
    let missing = || QuestionError::Missing(service.to_string());
    let Endpoint::Service { namespace, name } = service else { return Err(missing()) };
    let key = PodKey { namespace: namespace.clone(), name: name.clone() };
    let StagedService { service: object, ports, .. } = staged.services.get(&key).ok_or_else(missing)?;
    let without = || QuestionError::NoAddress(format!("Service/{key}"), family);
    let address = object.cluster_ips.iter().find(|ip| Family::of(**ip) == family).ok_or_else(without)?;
    let listed = object.ports.iter().zip(ports).find(|(p, _)| p.protocol == protocol && p.port == port);
    let (_, targets) = listed.ok_or_else(|| QuestionError::NoServicePort(key.clone(), protocol, port))?;
    let mut answerers = Vec::new();
    for target in targets {
        let traffic = Traffic::port(protocol, target.port);
        let pod = target.pod.as_ref().and_then(|key| index.pod(key));
        match (pod, target.addresses.iter().find(|ip| Family::of(**ip) == family)) {
            (Some(pod), _) => {
                let side = index.pod_side(pod, Some(family));
                answerers.extend(side.map(|side| Answerer { name: pod.key(), side, traffic }));
            }
            (None, Some(ip)) => {
                let name = answering_name(staged, index, *ip).unwrap_or_else(|| ip.to_string());
                answerers.push(Answerer { name, side: index.address_side(*ip), traffic });
            }
            (None, None) => {}
        }
    }
    if answerers.is_empty() {
        return Err(QuestionError::NoBackends(key));
    }
    Ok((*address, port, answerers))
}
