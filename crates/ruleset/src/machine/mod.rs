//! A ruleset evaluated in memory, packet by packet, as `nft_do_chain` does.
//!
//! The machine knows registers, lookups, jumps and verdicts; it knows no policy. It is how a lowered plan is checked
//! where no kernel is, and it is stricter than the kernel where the kernel refuses at commit what the machine can only
//! see at run time: a rule that reads a register which it did not load is a [`Fault`], not a zero.

mod packet;
mod storage;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_persistent::Map;

use crate::{Chain, ChainKind, CtKey, Data, Expr, Hook, MetaKey, PayloadBase, Policy, Reg, Rule, Table, Verdict};

pub use packet::{Connection, Interface, Packet};
pub(crate) use storage::Storage;
pub use trace::{Asked, Looked, Outcome, Step, Trace};

use trace::{Clerk, Diary, Nobody};

/// Most nested jumps (`NFT_JUMP_STACK_SIZE`).
pub(crate) const JUMPS: usize = 16;

/// Why the machine cannot go on. The kernel would have refused such a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A register is read that the same rule did not load before.
    #[error("chain {chain}, rule {rule}: register {register} is read before the rule loads it")]
    Unset {
        /// Chain.
        chain: String,
        /// Rule, counted from 0.
        rule: usize,
        /// Register.
        register: u8,
    },
    /// A map, set or chain that the table does not have.
    #[error("chain {chain}, rule {rule}: there is no {name}")]
    Missing {
        /// Chain.
        chain: String,
        /// Rule, counted from 0.
        rule: usize,
        /// What is named.
        name: String,
    },
    /// An expression that has no meaning without a kernel.
    #[error("chain {chain}, rule {rule}: {expression} cannot be evaluated in memory")]
    Unsupported {
        /// Chain.
        chain: String,
        /// Rule, counted from 0.
        rule: usize,
        /// The expression.
        expression: String,
    },
    /// More nested jumps than the kernel's stack holds, or chains that lead to each other in a circle.
    #[error("chain {chain}, rule {rule}: more than sixteen nested jumps, or a circle")]
    Depth {
        /// Chain.
        chain: String,
        /// Rule, counted from 0.
        rule: usize,
    },
}

/// What becomes of a packet at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It passes all base chains.
    Accept,
    /// It is dropped.
    Drop,
    /// It is dropped and answered.
    Reject,
}

/// A packet's way through the table at one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What becomes of it.
    pub fate: Fate,
    /// Counters that it moved, as chain and rule (from 0), in order.
    pub counted: Vec<(String, usize)>,
    /// Prefixes of its log records, in order.
    pub logged: Vec<String>,
    /// The rule that decided, as chain and rule (from 0); `None` at the end of a base chain.
    pub decided: Option<(String, usize)>,
}

/// A table made ready to be asked.
#[derive(Debug)]
pub struct Machine<'a> {
    chains: &'a Map<String, Arc<Chain>>,
    maps: BTreeMap<&'a str, Storage<'a>>,
}

impl<'a> Machine<'a> {
    /// Indexes the maps of a table.
    #[must_use]
    pub fn new(table: &'a Table) -> Self {
        let maps =
            table.maps.iter().map(|(name, (spec, elements))| (name.as_str(), Storage::new(spec, elements))).collect();
        Self { chains: &table.chains, maps }
    }

    /// Sends a packet through the base chains of a hook, in the order of their priorities.
    ///
    /// # Errors
    /// [`Fault`] when the table asks for something that a kernel would have refused, or that only a kernel has.
    pub fn run(&self, hook: Hook, packet: &Packet) -> Result<Run, Fault> {
        self.send(hook, packet, &mut Nobody)
    }

    /// As [`Machine::run`], and tells every step.
    #[must_use]
    pub fn trace(&self, hook: Hook, packet: &Packet) -> Trace<'a> {
        let mut diary = Diary::default();
        let fate = self.send(hook, packet, &mut diary).map(|run| run.fate);
        Trace { steps: diary.steps, fate }
    }

    fn send(&self, hook: Hook, packet: &Packet, clerk: &mut impl Clerk<'a>) -> Result<Run, Fault> {
        let mut base: Vec<_> =
            self.chains.iter().filter_map(|(name, c)| Some((c.base.filter(|b| b.hook == hook)?, name))).collect();
        base.sort_by_key(|(b, name)| (b.priority, *name));
        let mut run = Run { fate: Fate::Accept, counted: Vec::new(), logged: Vec::new(), decided: None };
        for (attachment, name) in base {
            // Address translation is asked once per connection.
            if attachment.kind == ChainKind::Nat && packet.connection.state != Connection::NEW {
                continue;
            }
            clerk.step(|| Step::Begin(name));
            run.fate = match self.walk(name, packet, &mut run, clerk)? {
                Some(fate) => fate,
                None => {
                    clerk.step(|| Step::End(name, attachment.policy));
                    if attachment.policy == Policy::Drop { Fate::Drop } else { Fate::Accept }
                }
            };
            if run.fate != Fate::Accept {
                break;
            }
        }
        Ok(run)
    }

    /// Walks a base chain; `None` at its end.
    fn walk(
        &self,
        base: &'a str,
        packet: &Packet,
        run: &mut Run,
        clerk: &mut impl Clerk<'a>,
    ) -> Result<Option<Fate>, Fault> {
        let (mut chain, mut at, mut gotos) = (self.chain(Place { chain: base, rule: 0 }, base)?, 0, 0);
        let mut stack: Vec<(Named<'a>, usize)> = Vec::new();
        loop {
            let Some(rule) = chain.rules.get(at) else {
                match stack.pop() {
                    Some(caller) => (chain, at) = caller,
                    None => return Ok(None),
                }
                continue;
            };
            let place = Place { chain: chain.name, rule: at };
            at += 1;
            let outcome = self.rule(place, rule, packet, run, clerk);
            let looked = clerk.take();
            clerk.step(|| {
                let outcome = outcome.clone();
                Step::Rule(Asked { chain: chain.name, at: place.rule, depth: stack.len(), looked, outcome })
            });
            let outcome = outcome?;
            if matches!(outcome, Outcome::Reject | Outcome::Verdict(Verdict::Accept | Verdict::Drop)) {
                run.decided = Some((chain.name.to_owned(), at - 1));
            }
            match outcome {
                Outcome::Next | Outcome::Verdict(Verdict::Continue) => {}
                Outcome::Reject => return Ok(Some(Fate::Reject)),
                Outcome::Verdict(Verdict::Accept) => return Ok(Some(Fate::Accept)),
                Outcome::Verdict(Verdict::Drop) => return Ok(Some(Fate::Drop)),
                Outcome::Verdict(Verdict::Return) => match stack.pop() {
                    Some(caller) => (chain, at) = caller,
                    None => return Ok(None),
                },
                Outcome::Verdict(Verdict::Jump(to)) => {
                    if stack.len() == JUMPS {
                        return Err(Fault::Depth { chain: chain.name.to_owned(), rule: at - 1 });
                    }
                    stack.push((chain, at));
                    (chain, at, gotos) = (self.chain(place, to)?, 0, 0);
                }
                Outcome::Verdict(Verdict::Goto(to)) => {
                    // A loop, which a kernel refuses when the table is made.
                    if gotos > self.chains.len() {
                        return Err(Fault::Depth { chain: chain.name.to_owned(), rule: at - 1 });
                    }
                    (chain, at, gotos) = (self.chain(place, to)?, 0, gotos + 1);
                }
            }
        }
    }

    fn chain(&self, place: Place<'_>, name: &str) -> Result<Named<'a>, Fault> {
        match self.chains.get_key_value(name) {
            Some((name, chain)) => Ok(Named { name, rules: &chain.rules }),
            None => Err(missing(place.chain, place.rule, name)),
        }
    }

    fn rule(
        &self,
        place: Place<'_>,
        rule: &'a Rule,
        packet: &Packet,
        run: &mut Run,
        clerk: &mut impl Clerk<'a>,
    ) -> Result<Outcome<'a>, Fault> {
        let mut registers = Registers::new(place);
        for expr in &rule.exprs {
            match expr {
                Expr::Meta { key, dreg } => match meta(*key, packet) {
                    Some(value) => registers.store(*dreg, &value),
                    None => return Ok(Outcome::Next),
                },
                Expr::Ct { key, dreg } => registers.store(*dreg, &connection(*key, &packet.connection)),
                Expr::Payload { base, offset, len, dreg } => {
                    let header = match base {
                        PayloadBase::Network => &packet.network,
                        PayloadBase::Transport => &packet.transport,
                        PayloadBase::Link => return Err(place.unsupported("a load from the link layer")),
                    };
                    let Some(bytes) = header.get(*offset as usize..(*offset + *len) as usize) else {
                        return Ok(Outcome::Next);
                    };
                    registers.store(*dreg, bytes);
                }
                Expr::Bitwise { sreg, dreg, mask, xor } => {
                    let mut value = registers.load(*sreg, mask.len())?;
                    for ((v, m), x) in value.0.iter_mut().zip(mask).zip(xor) {
                        *v = *v & m ^ x;
                    }
                    registers.store(*dreg, value.bytes());
                }
                Expr::Cmp { sreg, op, data } => {
                    if !op.holds(registers.load(*sreg, data.len())?.bytes(), data) {
                        return Ok(Outcome::Next);
                    }
                }
                Expr::Immediate { dreg, data } => registers.store(*dreg, data),
                Expr::Verdict(verdict) => return Ok(Outcome::Verdict(verdict)),
                Expr::Lookup { map, sreg, dreg, verdict, invert } => {
                    let known = self.maps.get_key_value(map.as_str());
                    let (map, storage) = known.ok_or_else(|| missing(place.chain, place.rule, map))?;
                    let key = registers.load_key(*sreg, storage)?;
                    let found = storage.get(key.bytes());
                    clerk.looked(|| Looked { map, key: key.bytes().to_vec(), found });
                    if found.is_some() == *invert {
                        return Ok(Outcome::Next);
                    }
                    match (found.and_then(|e| e.data()), dreg, verdict) {
                        (Some(Data::Verdict(verdict)), _, true) => return Ok(Outcome::Verdict(verdict)),
                        (Some(Data::Value(value)), Some(dreg), false) => registers.store(*dreg, value),
                        (_, None, false) => {}
                        _ => return Err(place.unsupported("a lookup of the wrong kind of data")),
                    }
                }
                Expr::Counter => run.counted.push((place.chain.to_owned(), place.rule)),
                Expr::Log { prefix, .. } => run.logged.push(prefix.clone()),
                // Never over its rate: time stands still here.
                Expr::Limit { .. } => {}
                Expr::Reject { .. } => return Ok(Outcome::Reject),
                Expr::MetaSet { .. }
                | Expr::CtSet { .. }
                | Expr::Fib { .. }
                | Expr::Nat { .. }
                | Expr::Masquerade
                | Expr::Redirect { .. }
                | Expr::Numgen { .. }
                | Expr::Socket { .. }
                | Expr::Unknown(_) => return Err(place.unsupported(&format!("{expr:?}"))),
            }
        }
        Ok(Outcome::Next)
    }
}

/// A chain that is being walked.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    rules: &'a [Rule],
}

/// Which rule is being evaluated.
#[derive(Clone, Copy)]
struct Place<'a> {
    chain: &'a str,
    rule: usize,
}

impl Place<'_> {
    fn unsupported(self, expression: &str) -> Fault {
        Fault::Unsupported { chain: self.chain.to_owned(), rule: self.rule, expression: expression.to_owned() }
    }
}

fn missing(chain: &str, rule: usize, name: &str) -> Fault {
    Fault::Missing { chain: chain.to_owned(), rule, name: name.to_owned() }
}

fn meta(key: MetaKey, packet: &Packet) -> Option<Vec<u8>> {
    Some(match key {
        MetaKey::NfProto => vec![packet.nfproto()],
        MetaKey::L4Proto => vec![packet.protocol],
        MetaKey::Mark => packet.mark.to_ne_bytes().to_vec(),
        MetaKey::Iif => packet.input.as_ref()?.index.to_ne_bytes().to_vec(),
        MetaKey::Oif => packet.output.as_ref()?.index.to_ne_bytes().to_vec(),
        MetaKey::IifName => packet.input.as_ref()?.padded_name(),
        MetaKey::OifName => packet.output.as_ref()?.padded_name(),
    })
}

fn connection(key: CtKey, connection: &Connection) -> Vec<u8> {
    match key {
        CtKey::State => connection.state.to_ne_bytes().to_vec(),
        CtKey::Mark => connection.mark.to_ne_bytes().to_vec(),
        CtKey::Direction => vec![u8::from(connection.reply)],
        CtKey::Status => vec![0; 4],
        CtKey::Labels => vec![0; 16],
    }
}

/// The registers of one rule; `None` until loaded.
struct Registers<'a> {
    words: [Option<[u8; 4]>; 16],
    place: Place<'a>,
}

impl<'a> Registers<'a> {
    const fn new(place: Place<'a>) -> Self {
        Self { words: [None; 16], place }
    }

    /// Stores a value; what it does not fill of its last word is zero.
    fn store(&mut self, reg: Reg, value: &[u8]) {
        for (word, bytes) in self.words[usize::from(reg.index())..].iter_mut().zip(value.chunks(4)) {
            let mut padded = [0; 4];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = Some(padded);
        }
    }

    fn load(&self, reg: Reg, len: usize) -> Result<Loaded, Fault> {
        let mut out = [0; 64];
        let first = usize::from(reg.index());
        for (i, at) in (first..first + len.div_ceil(4)).enumerate() {
            let word = self.words.get(at).copied().flatten().ok_or_else(|| Fault::Unset {
                chain: self.place.chain.to_owned(),
                rule: self.place.rule,
                register: u8::try_from(at).unwrap_or(u8::MAX),
            })?;
            out[4 * i..4 * i + 4].copy_from_slice(&word);
        }
        Ok(Loaded(out, len))
    }

    fn load_key(&self, reg: Reg, storage: &Storage<'_>) -> Result<Loaded, Fault> {
        self.load(reg, storage.key_len())
    }
}

/// What was loaded from registers: so many bytes of all that they hold.
struct Loaded([u8; 64], usize);

impl Loaded {
    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

#[cfg(test)]
mod tests;
