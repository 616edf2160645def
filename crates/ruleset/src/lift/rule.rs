//! One rule, run for sets of packets.

use std::collections::HashMap;

use super::IpVersion;
use super::cube::{Cube, Part, unite};
use super::cuts::{self, fields, whole, width};
use super::register::{Byte, Field, Look, Registers, bitwise};
use super::walk::Walk;
use crate::machine::Fault;
use crate::{CtKey, Data, Expr, Hook, MapSpec, MetaKey, PayloadBase, Reg, Rule, Verdict};

/// Packets whose registers hold the same.
type Fork = (Registers, Vec<Cube>);

/// How a rule ends for some packets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum End<'a> {
    Verdict(&'a Verdict),
    Reject,
}

/// What becomes of packets at a rule.
pub(super) struct Ended<'a> {
    /// Those that go on with the next rule.
    pub(super) next: Vec<Cube>,
    /// Those for which it says something.
    pub(super) ends: Vec<(End<'a>, Vec<Cube>)>,
}

/// A rule being run.
pub(super) struct RuleRun<'a, 'w, 'r> {
    walk: &'r mut Walk<'a, 'w>,
    chain: &'a str,
    at: usize,
    next: Vec<Cube>,
    ends: HashMap<End<'a>, Vec<Cube>>,
    /// Packets that are through with the expression that is being run.
    through: Vec<Fork>,
}

impl<'a, 'w, 'r> RuleRun<'a, 'w, 'r> {
    pub(super) fn new(walk: &'r mut Walk<'a, 'w>, chain: &'a str, at: usize) -> Self {
        Self { walk, chain, at, next: Vec::new(), ends: HashMap::new(), through: Vec::new() }
    }

    pub(super) fn run(mut self, rule: &'a Rule, cubes: Vec<Cube>) -> Ended<'a> {
        let mut forks: Vec<Fork> = vec![(Registers::new(), cubes)];
        for expr in &rule.exprs {
            for (registers, cubes) in forks {
                self.expr(expr, registers, cubes);
            }
            let through = std::mem::take(&mut self.through);
            forks = if through.len() > 1 { merged(through) } else { through };
        }
        self.next.extend(forks.into_iter().flat_map(|(_, cubes)| cubes));
        Ended { next: unite(self.next), ends: self.ends.into_iter().collect() }
    }

    fn expr(&mut self, expr: &'a Expr, registers: Registers, cubes: Vec<Cube>) {
        match expr {
            Expr::Meta { key, dreg } => match self.meta(*key) {
                Some(value) => self.store(registers, *dreg, &value, cubes),
                None => {
                    let outgoing = matches!(key, MetaKey::Oif | MetaKey::OifName);
                    if outgoing && !matches!(self.walk.head.hook, Hook::Input | Hook::Prerouting) {
                        self.odd();
                    }
                    self.next.extend(cubes);
                }
            },
            Expr::Ct { key, dreg } => {
                let value = self.connection(*key);
                self.store(registers, *dreg, &value, cubes);
            }
            Expr::Payload { base: PayloadBase::Network, offset, len, dreg } => {
                match cuts::network(self.version(), *offset, *len) {
                    Some(value) => self.store(registers, *dreg, &value, cubes),
                    None => {
                        self.odd();
                        self.next.extend(cubes);
                    }
                }
            }
            Expr::Payload { base: PayloadBase::Transport, offset, len, dreg } => {
                self.transport(*offset, *len, *dreg, &registers, &cubes);
            }
            Expr::Bitwise { sreg, dreg, mask, xor } => match registers.load(*sreg, mask.len()) {
                Ok(value) => {
                    let value = bitwise(value, mask, xor);
                    self.store(registers, *dreg, &value, cubes);
                }
                Err(register) => self.unset(register, cubes),
            },
            Expr::Immediate { dreg, data } => self.store(registers, *dreg, &fixed(data), cubes),
            Expr::Cmp { sreg, op, data } => match registers.load(*sreg, data.len()) {
                Err(register) => self.unset(register, cubes),
                Ok(value) => {
                    let value = value.to_vec();
                    self.look(&value);
                    let mut going = Vec::new();
                    for (part, yes) in self.walk.lift.answers.compare(*op, &value, data).iter() {
                        let some = cubes.iter().filter_map(|c| c.and(part));
                        if *yes { going.extend(some) } else { self.next.extend(some) }
                    }
                    if !going.is_empty() {
                        self.through.push((registers, going));
                    }
                }
            },
            Expr::Verdict(verdict) => self.ends.entry(End::Verdict(verdict)).or_default().extend(cubes),
            Expr::Reject { .. } => self.ends.entry(End::Reject).or_default().extend(cubes),
            Expr::Lookup { map, sreg, dreg, verdict, invert } => {
                let Some((map, spec)) = self.walk.lift.answers.map(map) else {
                    let (chain, rule, name) = (self.chain.to_owned(), self.at, map.clone());
                    return self.walk.end(cubes, &Err(Fault::Missing { chain, rule, name }));
                };
                match registers.load(*sreg, spec.key_len()) {
                    Ok(key) => {
                        let key = key.to_vec();
                        self.look_key(spec, &key);
                        self.look_up(map, &key, (*dreg, *verdict, *invert), &registers, &cubes);
                    }
                    Err(register) => self.unset(register, cubes),
                }
            }
            Expr::Counter | Expr::Log { .. } | Expr::Limit { .. } => self.through.push((registers, cubes)),
            other => self.unsupported(&format!("{other:?}"), cubes),
        }
    }

    fn store(&mut self, mut registers: Registers, dreg: Reg, value: &[Byte], cubes: Vec<Cube>) {
        registers.store(dreg, value);
        self.through.push((registers, cubes));
    }

    /// A load from the transport header finds something else in headers of other layouts.
    fn transport(&mut self, offset: u32, len: u32, dreg: Reg, registers: &Registers, cubes: &[Cube]) {
        let lift = self.walk.lift;
        for (layout, set) in &lift.layouts {
            let part = Part { traffic: Some(set.clone()), ..Part::default() };
            let some: Vec<Cube> = cubes.iter().filter_map(|c| c.and(&part)).collect();
            match layout {
                _ if some.is_empty() => {}
                Some(layout) if offset + len <= 8 => {
                    self.store(registers.clone(), dreg, &layout.load(offset, len), some);
                }
                _ => {
                    if layout.is_some() {
                        self.odd();
                    }
                    self.next.extend(some);
                }
            }
        }
    }

    fn look_up(
        &mut self,
        map: &'a str,
        key: &[Byte],
        (dreg, verdict, invert): (Option<Reg>, bool, bool),
        registers: &Registers,
        cubes: &[Cube],
    ) {
        let lift = self.walk.lift;
        for (part, found) in lift.answers.lookup(map, key).iter() {
            let some: Vec<Cube> = cubes.iter().filter_map(|c| c.and(part)).collect();
            if some.is_empty() {
                continue;
            }
            if found.is_some() == invert {
                self.next.extend(some);
                continue;
            }
            match (found.flatten(), dreg, verdict) {
                (Some(Data::Verdict(verdict)), _, true) => {
                    self.ends.entry(End::Verdict(verdict)).or_default().extend(some);
                }
                (Some(Data::Value(value)), Some(dreg), false) => {
                    self.store(registers.clone(), dreg, &fixed(value), some);
                }
                (_, None, false) => self.through.push((registers.clone(), some)),
                _ => self.unsupported("a lookup of the wrong kind of data", some),
            }
        }
    }

    fn version(&self) -> IpVersion {
        self.walk.lift.space.version
    }

    fn meta(&self, key: MetaKey) -> Option<Vec<Byte>> {
        let input = self.walk.head.input.as_ref();
        match key {
            MetaKey::NfProto => Some(fixed(&[if self.version() == IpVersion::V4 { 2 } else { 10 }])),
            MetaKey::L4Proto => Some(Byte::field(Field::Protocol, 1)),
            MetaKey::Mark => Some(vec![Byte::Unknown(0); 4]),
            MetaKey::Iif => Some(fixed(&input?.index.to_ne_bytes())),
            MetaKey::IifName => Some(fixed(&input?.padded_name())),
            MetaKey::Oif | MetaKey::OifName => None,
        }
    }

    fn connection(&mut self, key: CtKey) -> Vec<Byte> {
        let connection = &self.walk.head.connection;
        match key {
            CtKey::State => fixed(&connection.state.to_ne_bytes()),
            CtKey::Mark => {
                self.walk.out.mark = true;
                fixed(&connection.mark.to_ne_bytes())
            }
            CtKey::Direction => {
                self.walk.out.direction = true;
                fixed(&[u8::from(connection.reply)])
            }
            CtKey::Status => vec![Byte::Unknown(0); 4],
            CtKey::Labels => vec![Byte::Unknown(0); 16],
        }
    }

    /// Notes a comparison that classes were not made for.
    fn look(&mut self, value: &[Byte]) {
        match Look::at(value) {
            Look::Nothing => {}
            Look::Start { field, bits } if bits <= width(field, self.version()) => {}
            _ => self.odd(),
        }
    }

    /// Notes a lookup that classes were not made for.
    fn look_key(&mut self, spec: &MapSpec, key: &[Byte]) {
        let fixed = |bytes: &[Byte]| bytes.iter().all(|b| matches!(b, Byte::Const(_)));
        let mut end = 0;
        let mut fine = true;
        for place in fields(spec) {
            fine &= fixed(&key[end..place.start]);
            end = place.end;
            fine &= fixed(&key[place.clone()]) || whole(&key[place], self.version()).is_some();
        }
        if !fine || !fixed(&key[end..]) {
            self.odd();
        }
    }

    fn odd(&mut self) {
        self.walk.out.odd.insert((self.chain.to_owned(), self.at));
    }

    fn unset(&mut self, register: u8, cubes: Vec<Cube>) {
        self.walk.end(cubes, &Err(Fault::Unset { chain: self.chain.to_owned(), rule: self.at, register }));
    }

    fn unsupported(&mut self, expression: &str, cubes: Vec<Cube>) {
        let (chain, rule, expression) = (self.chain.to_owned(), self.at, expression.to_owned());
        self.walk.end(cubes, &Err(Fault::Unsupported { chain, rule, expression }));
    }
}

/// The same for all packets.
fn fixed(bytes: &[u8]) -> Vec<Byte> {
    bytes.iter().map(|b| Byte::Const(*b)).collect()
}

/// Packets whose registers hold the same go on together.
fn merged(forks: Vec<Fork>) -> Vec<Fork> {
    let before = forks.len();
    let mut found: HashMap<Registers, Vec<Cube>> = HashMap::with_capacity(before);
    for (registers, cubes) in forks {
        found.entry(registers).or_default().extend(cubes);
    }
    let fewer = found.len() < before;
    found.into_iter().map(|(registers, cubes)| (registers, if fewer { unite(cubes) } else { cubes })).collect()
}
