//! A packet that a table judges otherwise than the engine.

use std::fmt;
use std::net::IpAddr;

use tortie_model::{IpProtocol, Traffic};
use tortie_policy::{By, Half};
use tortie_ruleset::lift::{Head, Space, TrafficClass};
use tortie_ruleset::machine::{Connection, Fate, Fault, Machine, Packet};
use tortie_ruleset::{Hook, Table};

use crate::Claim;

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
    /// What the engine says of its addresses and port.
    pub engine: String,
    /// What becomes of it.
    pub fate: Result<Fate, Fault>,
    /// The rule that decided, as chain and rule (from 0).
    pub decided: Option<(String, usize)>,
}

impl Witness {
    pub(crate) fn of(
        table: &Table,
        claim: &Claim<'_>,
        space: &Space,
        head: &Head,
        classes: [usize; 3],
        passes: bool,
    ) -> Self {
        let packet = space.packet(head.input.as_ref(), head.connection, classes);
        let run = Machine::new(table).run(head.hook, &packet);
        let [from, to] = [space.addresses()[classes[0]], space.addresses()[classes[1]]];
        let traffic = space.traffic()[classes[2]];
        let decided = run.as_ref().ok().and_then(|run| run.decided.clone());
        let engine = engine(claim, from, to, traffic);
        Self { hook: head.hook, packet, from, to, traffic, passes, engine, fate: run.map(|run| run.fate), decided }
    }
}

/// The policy half of the answer, in words.
fn engine(claim: &Claim<'_>, from: IpAddr, to: IpAddr, traffic: TrafficClass) -> String {
    let index = claim.index;
    let verdict = index.verdict(&index.address_side(from), &index.address_side(to), policy_traffic(traffic));
    let half = |half: &Half| {
        let by = match half.outcome.by {
            By::Rule(position) => half
                .stack
                .rule_ref(position)
                .map_or_else(String::new, |r| format!(" by {} {} rule {}", r.policy, r.direction, r.index)),
            By::EndOfTier(tier) => format!(" at the end of tier {}", half.stack.tiers()[tier].name),
            By::Profile => String::new(),
        };
        format!("{} {}{by}", half.stack.direction(), if half.is_allowed() { "allowed" } else { "denied" })
    };
    format!("{}, {}", half(&verdict.egress), half(&verdict.ingress))
}

const fn policy_traffic(traffic: TrafficClass) -> Traffic {
    Traffic { protocol: IpProtocol(traffic.protocol), detail: traffic.detail }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |passes: bool| if passes { "pass" } else { "be dropped" };
        let state = match self.packet.connection.state {
            Connection::NEW => "a new",
            Connection::ESTABLISHED => "an established",
            Connection::RELATED => "a related",
            Connection::INVALID => "an invalid",
            _ => "an untracked",
        };
        let mark = self.packet.connection.mark;
        let marked = if mark == 0 { String::new() } else { format!(" with mark {mark:#x}") };
        let headless = if self.traffic.headless { " without its header" } else { "" };
        write!(f, "{} -> {} {}{headless}", self.from, self.to, policy_traffic(self.traffic))?;
        write!(f, ", {state} packet{marked} at {}", hook(self.hook))?;
        if let Some(input) = &self.packet.input {
            write!(f, " from {}", input.name)?;
        }
        write!(f, ": should {} ({})", word(self.passes), self.engine)?;
        match &self.fate {
            Ok(fate) => write!(f, "; the kernel's table lets it {}", word(*fate == Fate::Accept))?,
            Err(fault) => write!(f, "; the kernel's table cannot judge it: {fault}")?,
        }
        match &self.decided {
            Some((chain, rule)) => write!(f, " by chain {chain}, rule {rule}"),
            None => Ok(()),
        }
    }
}

const fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    }
}
