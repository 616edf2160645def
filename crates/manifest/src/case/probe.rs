//! What is sent.

use std::sync::Arc;

use tortie_model::Protocol;

/// One thing that is tried between two endpoints, or by one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// ICMP echo.
    Ping,
    /// A destination port.
    Port(Protocol, u16),
    /// A port by its name on the destination pod.
    Named(Protocol, Arc<str>),
    /// Resolving a name by the cluster's DNS.
    Dns(Arc<str>),
}

/// Text that is no probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// None of the forms.
    #[error(
        "`{0}` is no probe: write ping, TCP/8888, UDP/53, SCTP/80, TCP/http (a port's name), TCP/8000-8004 or dns:NAME"
    )]
    Shape(String),
    /// A protocol without ports.
    #[error("`{0}` has no ports to try: TCP, UDP or SCTP, or ping")]
    Protocol(String),
    /// A number that is no port, or a range that ends before it begins.
    #[error("`{0}` is no port: 1 to 65535, a range in order, or a name")]
    Port(String),
}

impl Probe {
    /// The probes that a text stands for: one, or the two ends of a range.
    ///
    /// # Errors
    /// When it has none of the forms.
    pub fn parse(text: &str) -> Result<Vec<Self>, ProbeError> {
        if text == "ping" {
            return Ok(vec![Self::Ping]);
        }
        let shape = || ProbeError::Shape(text.to_owned());
        if let Some(name) = text.strip_prefix("dns:") {
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            return if is_name { Ok(vec![Self::Dns(name.into())]) } else { Err(shape()) };
        }
        let (protocol, port) = text.split_once('/').ok_or_else(shape)?;
        let protocol: Protocol = protocol.parse().map_err(|_| ProbeError::Protocol(protocol.to_owned()))?;
        let wrong = || ProbeError::Port(port.to_owned());
        let number = |text: &str| text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong);
        if port.starts_with(|c: char| c.is_ascii_digit()) && !port.bytes().any(|b| b.is_ascii_alphabetic()) {
            let Some((first, last)) = port.split_once('-') else {
                return Ok(vec![Self::Port(protocol, number(port)?)]);
            };
            let (first, last) = (number(first)?, number(last)?);
            return match first.cmp(&last) {
                std::cmp::Ordering::Less => Ok(vec![Self::Port(protocol, first), Self::Port(protocol, last)]),
                std::cmp::Ordering::Equal => Ok(vec![Self::Port(protocol, first)]),
                std::cmp::Ordering::Greater => Err(wrong()),
            };
        }
        let is_name = (1..=15).contains(&port.len())
            && port.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && port.bytes().any(|b| b.is_ascii_lowercase());
        if is_name { Ok(vec![Self::Named(protocol, port.into())]) } else { Err(wrong()) }
    }
}

/// As in a case: `ping`, `TCP/8888`, `TCP/http`, `dns:www.example.com`.
impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ping => f.write_str("ping"),
            Self::Port(protocol, port) => write!(f, "{protocol}/{port}"),
            Self::Named(protocol, name) => write!(f, "{protocol}/{name}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("ping", "ping"),
            ("TCP/8888", "TCP/8888"),
            ("SCTP/80", "SCTP/80"),
            ("TCP/http", "TCP/http"),
            ("TCP/8000-8004", "TCP/8000 TCP/8004"),
            ("UDP/5-5", "UDP/5"),
            ("TCP/8080-tcp", "TCP/8080-tcp"),
            ("dns:kube-dns.kube-system.svc", "dns:kube-dns.kube-system.svc"),
        ] {
            let probes = Probe::parse(text).unwrap();
            assert_eq!(probes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), shown);
        }
        for text in
            ["", "TCP", "TCP/", "tcp/80", "TCP/0", "TCP/65536", "TCP/9-8", "TCP/HTTP", "ICMP/8", "dns:", "dns:a b"]
        {
            assert!(Probe::parse(text).is_err(), "{text}");
        }
    }
}
