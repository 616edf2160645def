//! `explain --batch`: flows in bulk, a line of JSON for each.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};
use tortie_model::{Direction, Family, IpProtocol, ObjectRef, Traffic, canonical};
use tortie_policy::{Asked, EPHEMERAL_PORT, FlowVerdict, Half, PodKey, RuleRef, Side};

use super::end::{End, EndError, Named, common_families};
use super::json::decided_by;
use tortie_analysis::snapshot::Snapshot;

/// A line of input. Fields that are not known are refused: a misspelt one would change the question.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Flow {
    /// Who opens the connection: `ns/pod`, `node/NAME`, or an address.
    from: String,
    /// Who is reached.
    to: String,
    /// The protocol by name or number; TCP where nothing else is said.
    #[cfg_attr(test, schemars(schema_with = "any_protocol"))]
    proto: Option<Value>,
    /// The destination port.
    port: Option<u16>,
    /// The source port, which rules of Calico can ask for; one that a client would choose where nothing is said.
    sport: Option<u16>,
    /// An ICMP message; an echo request where ICMP is asked without.
    icmp: Option<Icmp>,
    /// Which address of `from`, where it has several.
    #[serde(rename = "fromIP")]
    from_ip: Option<IpAddr>,
    /// Which address of `to`.
    #[serde(rename = "toIP")]
    to_ip: Option<IpAddr>,
}

/// An ICMP message.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Icmp {
    /// Its type.
    #[serde(rename = "type")]
    kind: u8,
    /// Its code.
    #[serde(default)]
    code: u8,
}

#[cfg(test)]
fn any_protocol(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"anyOf": [
        {"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 255}, {"type": "null"}
    ]})
}

/// A line of output, which `Batch` writes by hand: answers of a hundred thousand flows share their texts.
#[cfg(test)]
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for its schema")]
pub(crate) enum Line {
    /// What the engine says.
    Answer(Box<super::json::VerdictLine>),
    /// Why it cannot be asked.
    Error {
        /// In words.
        error: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error("not a flow: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    End(#[from] EndError),
    #[error("`{0}` is a Service: ask the pods behind it")]
    Service(String),
    #[error("`{0}` is several pods: ask one of them")]
    Several(String),
    #[error("{0} does not have the address {1}")]
    NotItsAddress(String, IpAddr),
    #[error("{0} and {1} have no address family in common")]
    NoFamily(String, String),
    #[error("`{0}` is no protocol: write TCP, UDP, SCTP, ICMP, ICMPv6, or a number from 0 to 255")]
    Protocol(String),
    #[error("{0} needs a port")]
    NoPort(IpProtocol),
}

/// Answers flows; remembers what flows have in common.
pub(crate) struct Batch<'c> {
    snapshot: &'c Snapshot,
    namespace: String,
    isolating: HashMap<ObjectRef, Rc<str>>,
    rules: HashMap<RuleRef, Rc<str>>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) lines: usize,
    pub(crate) errors: usize,
}

impl<'c> Batch<'c> {
    pub(crate) fn new(snapshot: &'c Snapshot, namespace: &str) -> Self {
        Self { snapshot, namespace: namespace.to_owned(), isolating: HashMap::new(), rules: HashMap::new() }
    }

    /// Answers every line of `input`; empty lines are passed over.
    pub(crate) fn run(&mut self, input: impl BufRead, mut output: impl Write) -> std::io::Result<Tally> {
        let mut tally = Tally::default();
        for line in input.split(b'\n') {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            tally.lines += 1;
            match self.answer(&line) {
                Ok(verdict) => self.write(&verdict, &mut output)?,
                Err(error) => {
                    tally.errors += 1;
                    writeln!(output, "{}", json!({"error": error.to_string()}))?;
                }
            }
        }
        output.flush()?;
        Ok(tally)
    }

    fn answer(&self, line: &[u8]) -> Result<FlowVerdict, FlowError> {
        let flow: Flow = serde_json::from_slice(line)?;
        let (from, to) = (self.end(&flow.from)?, self.end(&flow.to)?);
        let protocol = protocol(flow.proto.as_ref())?;
        let forced = flow.from_ip.or(flow.to_ip).map(|ip| Family::of(canonical(ip)));
        let (from_side, to_side) = self.sides(&flow, &from, &to, protocol, forced)?;
        let traffic = match (protocol, &flow.icmp) {
            (Some(p), _) if p.transport().is_some() => {
                Traffic { protocol: p, detail: flow.port.ok_or(FlowError::NoPort(p))? }
            }
            (Some(p), icmp) if p.is_icmp() => {
                let family = if p == IpProtocol::ICMP { Family::V4 } else { Family::V6 };
                match icmp {
                    Some(icmp) => Traffic::icmp(family, icmp.kind, icmp.code),
                    None => Traffic::echo_request(family),
                }
            }
            (Some(p), _) => Traffic::other(p.0),
            (None, Some(icmp)) => {
                let ip = from_side.ip().or_else(|| to_side.ip());
                Traffic::icmp(ip.map_or(Family::V4, Family::of), icmp.kind, icmp.code)
            }
            (None, None) => {
                let protocol = IpProtocol::TCP;
                Traffic { protocol, detail: flow.port.ok_or(FlowError::NoPort(protocol))? }
            }
        };
        let asked = Asked { traffic, source_port: flow.sport.unwrap_or(EPHEMERAL_PORT) };
        Ok(self.snapshot.index.verdict(&from_side, &to_side, asked))
    }

    fn end(&self, text: &str) -> Result<End, FlowError> {
        // An address is an end even when it is a Service's: packets are judged behind the translation.
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(End::Address(canonical(ip)));
        }
        match Named::read(self.snapshot, text, &self.namespace)? {
            Named::Ends(mut ends) if ends.len() == 1 => Ok(ends.remove(0)),
            Named::Ends(_) => Err(FlowError::Several(text.to_owned())),
            Named::Service(_) => Err(FlowError::Service(text.to_owned())),
        }
    }

    /// Both ends with addresses of one family: the one that is said, or that the protocol has, or the first in common.
    fn sides(
        &self,
        flow: &Flow,
        from: &End,
        to: &End,
        protocol: Option<IpProtocol>,
        forced: Option<Family>,
    ) -> Result<(Side, Side), FlowError> {
        let spoken = match protocol {
            Some(IpProtocol::ICMP) => Some(Family::V4),
            Some(IpProtocol::ICMPV6) => Some(Family::V6),
            _ => None,
        };
        let no_family = || FlowError::NoFamily(flow.from.clone(), flow.to.clone());
        let said = |ip: Option<IpAddr>| ip.map(|ip| Family::of(canonical(ip)));
        if said(flow.from_ip).zip(said(flow.to_ip)).is_some_and(|(a, b)| a != b) {
            return Err(no_family());
        }
        let common = common_families(self.snapshot, from, to);
        let wanted = forced.or(spoken);
        let family = match wanted {
            Some(family) if common == [None] || common.contains(&Some(family)) => Some(family),
            // The packet exists in the other family only in thought; policies can still be asked.
            Some(_) if forced.is_none() => *common.first().ok_or_else(no_family)?,
            Some(_) => return Err(no_family()),
            None => *common.first().ok_or_else(no_family)?,
        };
        Ok((self.side(&flow.from, from, flow.from_ip, family)?, self.side(&flow.to, to, flow.to_ip, family)?))
    }

    fn side(&self, name: &str, end: &End, ip: Option<IpAddr>, family: Option<Family>) -> Result<Side, FlowError> {
        let Some(ip) = ip.map(canonical) else {
            return end
                .side(self.snapshot, family)
                .ok_or_else(|| FlowError::NoFamily(name.to_owned(), name.to_owned()));
        };
        let side = self.snapshot.index.address_side(ip);
        let own = match end {
            End::Pod(pod) if !pod.host_network => side.pod().is_some_and(|p| PodKey::of(p) == PodKey::of(pod)),
            End::Pod(_) | End::Node(_) => end
                .side(self.snapshot, Some(Family::of(ip)))
                .is_some_and(|s| s.node().map(|n| &n.meta.name) == side.node().map(|n| &n.meta.name)),
            End::Address(own) => *own == ip,
        };
        if own { Ok(side) } else { Err(FlowError::NotItsAddress(name.to_owned(), ip)) }
    }

    fn write(&mut self, verdict: &FlowVerdict, output: &mut impl Write) -> std::io::Result<()> {
        write!(output, "{{\"allowed\":{}", verdict.is_allowed())?;
        for direction in Direction::BOTH {
            let half = verdict.half(direction);
            write!(output, ",\"{direction}\":{{\"allowed\":{},\"isolating\":[", half.is_allowed())?;
            for (i, policy) in half.stack.policies().enumerate() {
                let text = self.isolating.entry(policy.object.clone());
                let text = text.or_insert_with(|| Value::String(policy.object.to_string()).to_string().into());
                write!(output, "{}{text}", if i == 0 { "" } else { "," })?;
            }
            write!(output, "],\"decided_by\":{}}}", self.decided_by(half))?;
        }
        writeln!(output, "}}")
    }

    fn decided_by(&mut self, half: &Half) -> Rc<str> {
        let Some(rule) = half.decided_by() else { return "null".into() };
        if let Some(text) = self.rules.get(&rule) {
            return text.clone();
        }
        let text = serde_json::to_string(&decided_by(self.snapshot.into(), &rule)).expect("plain data");
        let text: Rc<str> = text.into();
        self.rules.insert(rule, text.clone());
        text
    }
}

/// A protocol by name or number; `None` where none is written and none can be told.
fn protocol(value: Option<&Value>) -> Result<Option<IpProtocol>, FlowError> {
    let by_number = |n: u64| u8::try_from(n).ok().map(IpProtocol);
    let found = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(n)) => n.as_u64().and_then(by_number),
        Some(Value::String(name)) => match name.to_ascii_lowercase().as_str() {
            "tcp" => Some(IpProtocol::TCP),
            "udp" => Some(IpProtocol::UDP),
            "sctp" => Some(IpProtocol::SCTP),
            "icmp" => Some(IpProtocol::ICMP),
            "icmpv6" | "icmp6" | "ipv6-icmp" => Some(IpProtocol::ICMPV6),
            "udplite" => Some(IpProtocol(136)),
            "gre" => Some(IpProtocol(47)),
            "esp" => Some(IpProtocol(50)),
            "ah" => Some(IpProtocol(51)),
            "ipip" | "ipencap" => Some(IpProtocol(4)),
            number => number.parse().ok().and_then(by_number),
        },
        Some(_) => None,
    };
    found.map(Some).ok_or_else(|| FlowError::Protocol(value.map(ToString::to_string).unwrap_or_default()))
}
