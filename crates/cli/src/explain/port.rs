//! PORT: which packets are asked about.

use std::sync::Arc;

use tortie_model::{Family, Protocol, Service, ServicePort, TargetPort, Traffic};

use super::end::End;

/// Which packets are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All.
    Everything,
    /// An echo request.
    Ping,
    /// A port by number.
    Port(Protocol, u16),
    /// A port by its name on the destination.
    Named(Protocol, Arc<str>),
}

/// Text that is no port, or a port that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    #[error("`{0}` is no port: write 80, 53/UDP, http (a port's name), http/TCP or ping; ports go from 1 to 65535")]
    Shape(String),
    #[error("`{0}` is no protocol with ports: TCP, UDP or SCTP")]
    Protocol(String),
    #[error("{0} declares no {1} port named `{2}`")]
    NoName(String, Protocol, Arc<str>),
    #[error("{0} is no pod: a port's name means nothing there")]
    NotAPod(String),
    #[error("Service {0}/{1} has no port {2}; it has {3}")]
    NoServicePort(Arc<str>, Arc<str>, String, String),
}

impl Asked {
    /// Reads `80`, `80/UDP`, `UDP/80`, `http`, `http/TCP` or `ping`. The protocol is TCP where none is written.
    pub(crate) fn read(text: &str) -> Result<Self, PortError> {
        if text.eq_ignore_ascii_case("ping") || text.eq_ignore_ascii_case("icmp") {
            return Ok(Self::Ping);
        }
        let (port, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((a, b)) => match (protocol(a), protocol(b)) {
                (_, Some(protocol)) => (a, protocol),
                (Some(protocol), None) => (b, protocol),
                (None, None) => return Err(PortError::Protocol(b.to_owned())),
            },
        };
        let shape = || PortError::Shape(text.to_owned());
        if port.bytes().all(|b| b.is_ascii_digit()) {
            let number = port.parse().ok().filter(|n| *n > 0).ok_or_else(shape)?;
            return Ok(Self::Port(protocol, number));
        }
        let is_name = (1..=15).contains(&port.len())
            && !port.starts_with('-')
            && port.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if is_name { Ok(Self::Named(protocol, port.into())) } else { Err(shape()) }
    }

    /// The packet at a destination; `None` when everything is asked about.
    pub(crate) fn traffic(&self, to: &End, family: Option<Family>) -> Result<Option<Traffic>, PortError> {
        Ok(match self {
            Self::Everything => None,
            Self::Ping => Some(Traffic::echo_request(family.unwrap_or(Family::V4))),
            Self::Port(protocol, port) => Some(Traffic::port(*protocol, *port)),
            Self::Named(protocol, name) => {
                let End::Pod(pod) = to else { return Err(PortError::NotAPod(to.name())) };
                let number = pod.named_port(name, *protocol);
                let missing = || PortError::NoName(pod.key(), *protocol, name.clone());
                Some(Traffic::port(*protocol, number.ok_or_else(missing)?))
            }
        })
    }

    /// The ports of a Service that are asked about: all of them when everything is. A ClusterIP takes nothing else, no ping
    /// either.
    pub(crate) fn of_service<'s>(&self, service: &'s Service) -> Result<Vec<&'s ServicePort>, PortError> {
        let wanted = |p: &&ServicePort| match self {
            Self::Everything => true,
            Self::Ping => false,
            Self::Port(protocol, port) => p.protocol == *protocol && p.port == *port,
            Self::Named(protocol, name) => p.protocol == *protocol && p.name == *name,
        };
        let found: Vec<_> = service.ports.iter().filter(wanted).collect();
        if found.is_empty() {
            let list: Vec<String> = service.ports.iter().map(|p| format!("{}/{}", p.port, p.protocol)).collect();
            let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            let meta = &service.meta;
            return Err(PortError::NoServicePort(meta.namespace.clone(), meta.name.clone(), self.to_string(), list));
        }
        Ok(found)
    }

    /// What a port of a Service asks of the pods that it selects.
    pub(crate) fn target(port: &ServicePort) -> Self {
        match &port.target {
            TargetPort::Number(number) => Self::Port(port.protocol, *number),
            TargetPort::Name(name) => Self::Named(port.protocol, name.clone()),
        }
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    text.to_ascii_uppercase().parse().ok()
}

/// As cases write it: `TCP/80`, `ping`.
impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Ping => f.write_str("ping"),
            Self::Port(protocol, port) => write!(f, "{protocol}/{port}"),
            Self::Named(protocol, name) => write!(f, "{protocol}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_both_orders() {
        for (text, shown) in
            [("80", "TCP/80"), ("53/UDP", "UDP/53"), ("udp/53", "UDP/53"), ("http", "TCP/http"), ("ping", "ping")]
        {
            assert_eq!(Asked::read(text).unwrap().to_string(), shown);
        }
        for text in ["70000", "0", "-1", "", "80/ICMP", "HTTP", "80/TCP/x", "a.b"] {
            assert!(Asked::read(text).is_err(), "{text}");
        }
    }
}
