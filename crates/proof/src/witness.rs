//! A packet that a table judges otherwise than the engine.

use std::fmt;
use std::net::IpAddr;

use tortie_model::{IpProtocol, Traffic};
use tortie_policy::Asked;
use tortie_ruleset::lift::{Head, Space, TrafficClass};
use tortie_ruleset::machine::{Connection, Fate, Fault, Machine, Packet};
use tortie_ruleset::{Hook, Table};

use crate::Blame;

/// A packet that a table judges otherwise than the engine, with both answers.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Where it is met.
    pub hook: Hook,
    /// The packet.
    pub packet: Packet,
    /// Its source.
    pub from: IpAddr,
    /// Its destination.
    pub to: IpAddr,
    /// Its protocol and port.
    pub traffic: TrafficClass,
    /// Whether it should pass.
    pub passes: bool,
    /// Why, in words.
    pub why: String,
    /// What becomes of it.
    pub fate: Result<Fate, Fault>,
    /// The rule that decided, as chain and rule (from 0).
    pub decided: Option<(String, usize)>,
    /// What in the table is to blame; `None` when nobody has looked ([`Proof::blame`](crate::Proof::blame)), empty when
    /// the table is what the plan says.
    pub blame: Option<Vec<Blame>>,
}

impl Witness {
    pub(crate) fn of(
        table: &Table,
        space: &Space,
        head: &Head,
        classes: [usize; 3],
        (passes, why): (bool, String),
    ) -> Self {
        let packet = space.packet(head.input.as_ref(), head.connection, classes);
        let run = Machine::new(table).run(head.hook, &packet);
        let [from, to] = [space.addresses()[classes[0]], space.addresses()[classes[1]]];
        let traffic = space.traffic()[classes[2]];
        let decided = run.as_ref().ok().and_then(|run| run.decided.clone());
        Self {
            hook: head.hook,
            packet,
            from,
            to,
            traffic,
            passes,
            why,
            fate: run.map(|run| run.fate),
            decided,
            blame: None,
        }
    }
}

pub(crate) const fn policy_traffic(traffic: TrafficClass) -> Asked {
    let TrafficClass { protocol, detail, source_port, .. } = traffic;
    Asked { traffic: Traffic { protocol: IpProtocol(protocol), detail }, source_port }
}

impl Witness {
    /// Whether the table lets it pass; `None` when it cannot be judged by it.
    #[must_use]
    pub fn kernel_passes(&self) -> Option<bool> {
        self.fate.as_ref().ok().map(|fate| *fate == Fate::Accept)
    }

    /// Protocol and port, in words.
    #[must_use]
    pub fn traffic_words(&self) -> String {
        let headless = if self.traffic.headless { " without its header" } else { "" };
        let from = match (self.traffic.source_port, self.traffic.headless) {
            (0 | tortie_policy::EPHEMERAL_PORT, _) | (_, true) => String::new(),
            (port, false) => format!(" from port {port}"),
        };
        format!("{}{from}{headless}", policy_traffic(self.traffic).traffic)
    }

    /// Where it is met and in which state its connection is, in words: `a new packet at forward from eth0`.
    #[must_use]
    pub fn kind(&self) -> String {
        let state = match self.packet.connection.state {
            Connection::NEW => "a new",
            Connection::ESTABLISHED => "an established",
            Connection::RELATED => "a related",
            Connection::INVALID => "an invalid",
            _ => "an untracked",
        };
        let mark = self.packet.connection.mark;
        let marked = if mark == 0 { String::new() } else { format!(" with mark {mark:#x}") };
        let from = self.packet.input.as_ref().map_or_else(String::new, |input| format!(" from {}", input.name));
        format!("{state} packet{marked} at {}{from}", hook_name(self.hook))
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}, {}", self.from, self.to, self.traffic_words(), self.kind())?;
        write!(f, ": should {}, {}", if self.passes { "pass" } else { "be dropped" }, self.why)?;
        match &self.fate {
            Ok(Fate::Accept) => f.write_str("; the kernel's table lets it pass")?,
            Ok(Fate::Drop | Fate::Reject) => f.write_str("; the kernel's table drops it")?,
            Err(fault) => write!(f, "; the kernel's table cannot judge it: {fault}")?,
        }
        if let Some((chain, rule)) = &self.decided {
            write!(f, " by chain {chain}, rule {rule}")?;
        }
        match self.blame.as_deref() {
            None => Ok(()),
            Some([]) => f.write_str("; it is as the plan says, which is a bug of tortie"),
            Some(blame) => {
                let texts: Vec<String> = blame.iter().map(ToString::to_string).collect();
                write!(f, "; {}", texts.join("; and "))
            }
        }
    }
}

pub(crate) const fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    }
}
