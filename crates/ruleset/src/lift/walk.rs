//! Sets of packets on their way through the chains.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use tortie_persistent::{Map, Set};

use super::IpVersion;
use super::cube::{Cube, Part, unite};
use super::cuts::{self, Layout, fields, whole, width};
use super::register::{Byte, Field, Look, Registers, bitwise};
use super::set::ClassSet;
use super::space::Space;
use crate::machine::{Connection, Fate, Fault, Interface, JUMPS, Storage};
use crate::{
    Chain, ChainKind, CmpOp, CtKey, Data, Element, Expr, Hook, MapSpec, MetaKey, PayloadBase, Policy, Rule, Table,
    Verdict,
};

/// What packets have in common that are walked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where they are met.
    pub hook: Hook,
    /// The interface that they came in by.
    pub input: Option<Interface>,
    /// What connection tracking says.
    pub connection: Connection,
}

/// Packets with one fate.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Which.
    pub cube: Cube,
    /// What becomes of them, or why the machine would not go on.
    pub fate: Result<Fate, Fault>,
}

/// The fate of all packets of a head. No two leaves have a packet in common.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The fates.
    pub leaves: Vec<Leaf>,
    /// Rules that looked at something that is no part of what a packet is here, as chain and rule.
    pub odd: BTreeSet<(String, usize)>,
    /// Whether the mark of the connection was looked at.
    pub mark: bool,
    /// Whether it was looked at whether the packet is a reply.
    pub direction: bool,
}

type Found<'a> = Option<Option<&'a Data>>;
type Parts<R> = Rc<Vec<(Part, R)>>;
/// Lookups that were made, by map and key.
type Lookups<'a> = HashMap<(&'a str, Vec<Byte>), Parts<Found<'a>>>;
/// Comparisons that were made.
type Comparisons = HashMap<(CmpOp, Vec<u8>, Vec<Byte>), Parts<bool>>;

/// A table made ready for sets of packets.
#[derive(Debug)]
pub struct Lift<'a> {
    chains: &'a Map<String, Arc<Chain>>,
    maps: BTreeMap<&'a str, (&'a MapSpec, &'a Set<Element>, Storage<'a>)>,
    space: &'a Space,
    lookups: RefCell<Lookups<'a>>,
    comparisons: RefCell<Comparisons>,
    /// Traffic by the layout of its transport header; without one last.
    layouts: Vec<(Option<Layout>, ClassSet)>,
}

impl<'a> Lift<'a> {
    /// Prepares a table for the packets of a space, whose cuts include those of the table.
    #[must_use]
    pub fn new(table: &'a Table, space: &'a Space) -> Self {
        let ready = |(name, (spec, elements)): (&'a String, &'a (MapSpec, Set<Element>))| {
            (name.as_str(), (spec, elements, Storage::new(spec, elements)))
        };
        let layouts = [Some(Layout::Port), Some(Layout::Type), Some(Layout::Opaque), None].map(|layout| {
            let of = |class: usize| (!space.traffic()[class].headless).then(|| space.layout_of(class));
            (layout, ClassSet::of(space.traffic().len(), |class| of(class) == layout))
        });
        Self {
            chains: &table.chains,
            maps: table.maps.iter().map(ready).collect(),
            space,
            lookups: RefCell::default(),
            comparisons: RefCell::default(),
            layouts: layouts.into(),
        }
    }

    /// Whether a comparison holds, for all packets at once.
    fn compare(&self, op: CmpOp, value: &[Byte], data: &[u8]) -> Parts<bool> {
        let mut known = self.comparisons.borrow_mut();
        let parts = known.entry((op, data.to_vec(), value.to_vec()));
        parts.or_insert_with(|| Rc::new(self.split(value, &|_, _| true, &|value| holds(op, value, data)))).clone()
    }

    /// Walks all packets of a head through the base chains of its hook.
    #[must_use]
    pub fn run(&self, head: &Head) -> Walked {
        let every = self.space.addresses_where(|_| true);
        let headless = head.connection.state == Connection::UNTRACKED;
        let traffic = self.space.traffic_where(|t| headless || !t.headless);
        let mut cubes = vec![Cube { source: every.clone(), destination: every, traffic }];
        let at_hook =
            |(name, chain): (&'a String, &'a Arc<Chain>)| Some((chain.base.filter(|b| b.hook == head.hook)?, name));
        let mut base: Vec<_> = self.chains.iter().filter_map(at_hook).collect();
        base.sort_by_key(|(b, name)| (b.priority, *name));
        let mut walk = Walk { lift: self, head, accepted: Vec::new(), out: Walked::default() };
        for (attachment, name) in base {
            if attachment.kind == ChainKind::Nat && head.connection.state != Connection::NEW {
                continue;
            }
            let fallen = walk.chain(name, cubes, 0, 0);
            match attachment.policy {
                Policy::Accept => walk.accepted.extend(fallen),
                Policy::Drop => walk.end(fallen, &Ok(Fate::Drop)),
            }
            cubes = unite(std::mem::take(&mut walk.accepted));
        }
        walk.end(cubes, &Ok(Fate::Accept));
        walk.out
    }

    /// The element that a key hits, for all packets at once.
    fn lookup(&self, map: &'a str, key: &[Byte]) -> Parts<Found<'a>> {
        if let Some(known) = self.lookups.borrow().get(&(map, key.to_vec())) {
            return known.clone();
        }
        let (spec, elements, storage) = &self.maps[map];
        let fixed = |bytes: &[Byte]| -> Option<Vec<u8>> {
            bytes.iter().map(|b| if let Byte::Const(v) = b { Some(*v) } else { None }).collect()
        };
        // Elements that differ in what is known already cannot be hit.
        let known: Vec<_> = fields(spec).filter_map(|f| Some((f.clone(), fixed(&key[f])?))).collect();
        let possible = |e: &&'a Element| match e {
            Element::Range { from, to, .. } => {
                known.iter().all(|(f, v)| from[f.clone()] <= v[..] && v[..] <= to[f.clone()])
            }
            Element::CatchAll { .. } => true,
        };
        let fields: Vec<_> = fields(spec).collect();
        let few: Vec<&Element> = elements.iter().filter(possible).collect();
        let storage = if few.len() == elements.len() { None } else { Some(Storage::of(spec, few.iter().copied())) }
            .map_or_else(|| Ok(storage), Err);
        let get = |value: &[u8]| match &storage {
            Ok(all) => all.get(value).map(Element::data),
            Err(few) => few.get(value).map(Element::data),
        };
        // Most sources of a pair are in no pair.
        let leads = |field: Field, class: usize| {
            let Some(place) = fields.iter().find(|f| whole(&key[(*f).clone()], self.space.version) == Some(field))
            else {
                return true;
            };
            let value: Vec<u8> = key[place.clone()].iter().map(|b| self.value(*b, [class; 3])).collect();
            few.iter().any(|e| match e {
                Element::Range { from, to, .. } => from[place.clone()] <= value[..] && value[..] <= to[place.clone()],
                Element::CatchAll { .. } => true,
            })
        };
        let parts = Rc::new(self.split(key, &leads, &get));
        self.lookups.borrow_mut().insert((map, key.to_vec()), parts.clone());
        parts
    }

    fn value(&self, byte: Byte, [source, destination, traffic]: [usize; 3]) -> u8 {
        let octet = |class: usize, at: u8| match self.space.addresses()[class] {
            std::net::IpAddr::V4(ip) => ip.octets().get(usize::from(at)).copied().unwrap_or(0),
            std::net::IpAddr::V6(ip) => ip.octets().get(usize::from(at)).copied().unwrap_or(0),
        };
        match byte {
            Byte::Const(value) | Byte::Unknown(value) => value,
            Byte::Unset => 0,
            Byte::Of { field, at, mask, xor } => {
                let whole = match field {
                    Field::Source => octet(source, at),
                    Field::Destination => octet(destination, at),
                    Field::Protocol => self.space.traffic()[traffic].protocol,
                    Field::Detail => self.space.traffic()[traffic].detail.to_be_bytes()[usize::from(at.min(1))],
                    Field::Input | Field::InputName | Field::Mark => 0,
                };
                whole & mask ^ xor
            }
        }
    }

    /// A function of some bytes, for all packets at once.
    fn split<R: Clone + Eq + std::hash::Hash>(
        &self,
        bytes: &[Byte],
        leads: &dyn Fn(Field, usize) -> bool,
        f: &dyn Fn(&[u8]) -> R,
    ) -> Vec<(Part, R)> {
        let asks = |fields: &[Field]| bytes.iter().any(|b| b.depends_on().is_some_and(|d| fields.contains(&d)));
        let dims = [
            asks(&[Field::Source]).then(|| self.space.addresses().len()),
            asks(&[Field::Destination]).then(|| self.space.addresses().len()),
            asks(&[Field::Protocol, Field::Detail]).then(|| self.space.traffic().len()),
        ];
        let at = |classes: [usize; 3]| {
            let value: Vec<u8> = bytes.iter().map(|b| self.value(*b, classes)).collect();
            f(&value)
        };
        let grouped = |n: usize, of: &dyn Fn(usize) -> R| {
            let mut groups: HashMap<R, Vec<usize>> = HashMap::new();
            (0..n).for_each(|class| groups.entry(of(class)).or_default().push(class));
            let set = |classes: &[usize]| ClassSet::of(n, |c| classes.binary_search(&c).is_ok());
            groups.into_iter().map(|(r, classes)| (set(&classes), r)).collect::<Vec<_>>()
        };
        let mut out = Vec::new();
        match dims {
            [None, None, None] => out.push((Part::default(), at([0; 3]))),
            [Some(n), None, None] => {
                let groups = grouped(n, &|s| at([s, 0, 0]));
                out.extend(groups.into_iter().map(|(set, r)| (Part { source: Some(set), ..Part::default() }, r)));
            }
            [None, Some(n), None] => {
                let groups = grouped(n, &|d| at([0, d, 0]));
                out.extend(groups.into_iter().map(|(set, r)| (Part { destination: Some(set), ..Part::default() }, r)));
            }
            [None, None, Some(n)] => {
                let groups = grouped(n, &|t| at([0, 0, t]));
                out.extend(groups.into_iter().map(|(set, r)| (Part { traffic: Some(set), ..Part::default() }, r)));
            }
            [Some(n), Some(m), None] => {
                let idle = ClassSet::of(n, |s| !leads(Field::Source, s));
                if let Some(s) = idle.first() {
                    // None of them hits anything, whatever the destination.
                    out.push((Part { source: Some(idle.clone()), ..Part::default() }, at([s, 0, 0])));
                }
                for s in (0..n).filter(|s| !idle.contains(*s)) {
                    let source = Some(ClassSet::of(n, |c| c == s));
                    let part = |set| Part { source: source.clone(), destination: Some(set), traffic: None };
                    out.extend(grouped(m, &|d| at([s, d, 0])).into_iter().map(|(set, r)| (part(set), r)));
                }
            }
            [source, destination, traffic] => {
                for s in 0..source.unwrap_or(1) {
                    for d in 0..destination.unwrap_or(1) {
                        let part = |set| Part {
                            source: source.map(|n| ClassSet::of(n, |c| c == s)),
                            destination: destination.map(|n| ClassSet::of(n, |c| c == d)),
                            traffic: Some(set),
                        };
                        let groups = grouped(traffic.unwrap_or(1), &|t| at([s, d, t]));
                        out.extend(groups.into_iter().map(|(set, r)| (part(set), r)));
                    }
                }
            }
        }
        out
    }
}

type Fork = (Registers, Vec<Cube>);

/// How a rule ends for some packets.
#[derive(Clone, PartialEq, Eq, Hash)]
enum End<'a> {
    Verdict(&'a Verdict),
    Reject,
}

struct Walk<'a, 'w> {
    lift: &'w Lift<'a>,
    head: &'w Head,
    /// By the base chain that is walked.
    accepted: Vec<Cube>,
    out: Walked,
}

impl<'a> Walk<'a, '_> {
    fn end(&mut self, cubes: Vec<Cube>, fate: &Result<Fate, Fault>) {
        self.out.leaves.extend(cubes.into_iter().map(|cube| Leaf { cube, fate: fate.clone() }));
    }

    /// Walks a chain; returns what comes back from it.
    fn chain(&mut self, name: &'a str, cubes: Vec<Cube>, jumps: usize, gotos: usize) -> Vec<Cube> {
        let rules = &self.lift.chains[name].rules;
        let (mut here, mut back) = (cubes, Vec::new());
        for (at, rule) in rules.iter().enumerate() {
            if here.is_empty() {
                break;
            }
            let (next, ends) = self.rule(name, at, rule, std::mem::take(&mut here));
            here = next;
            for (end, cubes) in ends {
                let cubes = unite(cubes);
                match end {
                    End::Verdict(Verdict::Continue) => here.extend(cubes),
                    End::Verdict(Verdict::Accept) => self.accepted.extend(cubes),
                    End::Verdict(Verdict::Drop) => self.end(cubes, &Ok(Fate::Drop)),
                    End::Reject => self.end(cubes, &Ok(Fate::Reject)),
                    End::Verdict(Verdict::Return) => back.extend(cubes),
                    End::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
                        let Some((to, _)) = self.lift.chains.get_key_value(to) else {
                            let fault = Fault::Missing { chain: name.to_owned(), rule: at, name: to.clone() };
                            self.end(cubes, &Err(fault));
                            continue;
                        };
                        let jump = matches!(end, End::Verdict(Verdict::Jump(_)));
                        if jump && jumps == JUMPS || !jump && gotos > self.lift.chains.len() {
                            let fault = Fault::Depth { chain: name.to_owned(), rule: at };
                            self.end(cubes, &Err(fault));
                        } else if jump {
                            here.extend(self.chain(to, cubes, jumps + 1, 0));
                        } else {
                            back.extend(self.chain(to, cubes, jumps, gotos + 1));
                        }
                    }
                }
            }
            here = unite(here);
        }
        back.extend(here);
        unite(back)
    }

    fn odd(&mut self, chain: &str, at: usize) {
        self.out.odd.insert((chain.to_owned(), at));
    }

    /// Runs a rule: the packets that go on with the next one, and those for which it says something.
    fn rule(
        &mut self,
        chain: &'a str,
        at: usize,
        rule: &'a Rule,
        cubes: Vec<Cube>,
    ) -> (Vec<Cube>, Vec<(End<'a>, Vec<Cube>)>) {
        let mut next = Vec::new();
        let mut ends: HashMap<End<'a>, Vec<Cube>> = HashMap::new();
        let mut forks: Vec<Fork> = vec![(Registers::new(), cubes)];
        let unset = |register| Fault::Unset { chain: chain.to_owned(), rule: at, register };
        for expr in &rule.exprs {
            let mut out: Vec<Fork> = Vec::with_capacity(forks.len());
            for (mut registers, cubes) in forks {
                match expr {
                    Expr::Meta { key, dreg } => match self.meta(*key) {
                        Some(value) => {
                            registers.store(*dreg, &value);
                            out.push((registers, cubes));
                        }
                        None => {
                            let outgoing = matches!(key, MetaKey::Oif | MetaKey::OifName);
                            if outgoing && !matches!(self.head.hook, Hook::Input | Hook::Prerouting) {
                                self.odd(chain, at);
                            }
                            next.extend(cubes);
                        }
                    },
                    Expr::Ct { key, dreg } => {
                        registers.store(*dreg, &self.connection(*key));
                        out.push((registers, cubes));
                    }
                    Expr::Payload { base: PayloadBase::Network, offset, len, dreg } => {
                        if let Some(value) = cuts::network(self.lift.space.version, *offset, *len) {
                            registers.store(*dreg, &value);
                            out.push((registers, cubes));
                        } else {
                            self.odd(chain, at);
                            next.extend(cubes);
                        }
                    }
                    Expr::Payload { base: PayloadBase::Transport, offset, len, dreg } => {
                        let beyond = offset + len > 8;
                        for (layout, set) in &self.lift.layouts {
                            let part = Part { traffic: Some(set.clone()), ..Part::default() };
                            let some: Vec<Cube> = cubes.iter().filter_map(|c| c.and(&part)).collect();
                            match layout {
                                _ if some.is_empty() => {}
                                Some(layout) if !beyond => {
                                    let mut registers = registers.clone();
                                    registers.store(*dreg, &layout.load(*offset, *len));
                                    out.push((registers, some));
                                }
                                _ => {
                                    if layout.is_some() {
                                        self.odd(chain, at);
                                    }
                                    next.extend(some);
                                }
                            }
                        }
                    }
                    Expr::Bitwise { sreg, dreg, mask, xor } => match registers.load(*sreg, mask.len()) {
                        Ok(value) => {
                            let value = bitwise(value, mask, xor);
                            registers.store(*dreg, &value);
                            out.push((registers, cubes));
                        }
                        Err(register) => self.end(cubes, &Err(unset(register))),
                    },
                    Expr::Immediate { dreg, data } => {
                        registers.store(*dreg, &data.iter().map(|b| Byte::Const(*b)).collect::<Vec<_>>());
                        out.push((registers, cubes));
                    }
                    Expr::Cmp { sreg, op, data } => match registers.load(*sreg, data.len()) {
                        Err(register) => self.end(cubes, &Err(unset(register))),
                        Ok(value) => {
                            let value = value.to_vec();
                            self.look(chain, at, &value);
                            let mut going = Vec::new();
                            for (part, yes) in self.lift.compare(*op, &value, data).iter() {
                                let some = cubes.iter().filter_map(|c| c.and(part));
                                if *yes { going.extend(some) } else { next.extend(some) }
                            }
                            if !going.is_empty() {
                                out.push((registers, going));
                            }
                        }
                    },
                    Expr::Verdict(verdict) => ends.entry(End::Verdict(verdict)).or_default().extend(cubes),
                    Expr::Reject { .. } => ends.entry(End::Reject).or_default().extend(cubes),
                    Expr::Lookup { map, sreg, dreg, verdict, invert } => {
                        let Some((map, (spec, ..))) = self.lift.maps.get_key_value(map.as_str()) else {
                            let fault = Fault::Missing { chain: chain.to_owned(), rule: at, name: map.clone() };
                            self.end(cubes, &Err(fault));
                            continue;
                        };
                        let key = match registers.load(*sreg, spec.key_len()) {
                            Ok(key) => key.to_vec(),
                            Err(register) => {
                                self.end(cubes, &Err(unset(register)));
                                continue;
                            }
                        };
                        self.look_key(chain, at, spec, &key);
                        for (part, found) in self.lift.lookup(map, &key).iter() {
                            let some: Vec<Cube> = cubes.iter().filter_map(|c| c.and(part)).collect();
                            if some.is_empty() {
                                continue;
                            }
                            if found.is_some() == *invert {
                                next.extend(some);
                                continue;
                            }
                            match (found.flatten(), dreg, verdict) {
                                (Some(Data::Verdict(verdict)), _, true) => {
                                    ends.entry(End::Verdict(verdict)).or_default().extend(some);
                                }
                                (Some(Data::Value(value)), Some(dreg), false) => {
                                    let mut registers = registers.clone();
                                    let value: Vec<_> = value.iter().map(|b| Byte::Const(*b)).collect();
                                    registers.store(*dreg, &value);
                                    out.push((registers, some));
                                }
                                (_, None, false) => out.push((registers.clone(), some)),
                                _ => {
                                    let fault = unsupported(chain, at, "a lookup of the wrong kind of data");
                                    self.end(some, &Err(fault));
                                }
                            }
                        }
                    }
                    Expr::Counter | Expr::Log { .. } | Expr::Limit { .. } => out.push((registers, cubes)),
                    other => self.end(cubes, &Err(unsupported(chain, at, &format!("{other:?}")))),
                }
            }
            forks = if out.len() > 1 { merged(out) } else { out };
        }
        next.extend(forks.into_iter().flat_map(|(_, cubes)| cubes));
        (unite(next), ends.into_iter().collect())
    }

    fn meta(&self, key: MetaKey) -> Option<Vec<Byte>> {
        let input = self.head.input.as_ref();
        let fixed = |bytes: &[u8]| bytes.iter().map(|b| Byte::Const(*b)).collect::<Vec<_>>();
        match key {
            MetaKey::NfProto => Some(fixed(&[if self.lift.space.version == IpVersion::V4 { 2 } else { 10 }])),
            MetaKey::L4Proto => Some(Byte::field(Field::Protocol, 1)),
            MetaKey::Mark => Some(vec![Byte::Unknown(0); 4]),
            MetaKey::Iif => Some(fixed(&input?.index.to_ne_bytes())),
            MetaKey::IifName => Some(fixed(&input?.padded_name())),
            MetaKey::Oif | MetaKey::OifName => None,
        }
    }

    fn connection(&mut self, key: CtKey) -> Vec<Byte> {
        let fixed = |bytes: &[u8]| bytes.iter().map(|b| Byte::Const(*b)).collect::<Vec<_>>();
        match key {
            CtKey::State => fixed(&self.head.connection.state.to_ne_bytes()),
            CtKey::Mark => {
                self.out.mark = true;
                fixed(&self.head.connection.mark.to_ne_bytes())
            }
            CtKey::Direction => {
                self.out.direction = true;
                fixed(&[u8::from(self.head.connection.reply)])
            }
            CtKey::Status => vec![Byte::Unknown(0); 4],
            CtKey::Labels => vec![Byte::Unknown(0); 16],
        }
    }

    /// Notes a comparison that classes were not made for.
    fn look(&mut self, chain: &str, at: usize, value: &[Byte]) {
        match Look::at(value) {
            Look::Nothing => {}
            Look::Start { field, bits } if bits <= width(field, self.lift.space.version) => {}
            _ => self.odd(chain, at),
        }
    }

    /// Notes a lookup that classes were not made for.
    fn look_key(&mut self, chain: &str, at: usize, spec: &MapSpec, key: &[Byte]) {
        let fixed = |bytes: &[Byte]| bytes.iter().all(|b| matches!(b, Byte::Const(_)));
        let version = self.lift.space.version;
        let mut end = 0;
        let mut fine = true;
        for place in fields(spec) {
            fine &= fixed(&key[end..place.start]);
            end = place.end;
            fine &= fixed(&key[place.clone()]) || whole(&key[place], version).is_some();
        }
        if !fine || !fixed(&key[end..]) {
            self.odd(chain, at);
        }
    }
}

fn unsupported(chain: &str, rule: usize, expression: &str) -> Fault {
    Fault::Unsupported { chain: chain.to_owned(), rule, expression: expression.to_owned() }
}

fn holds(op: CmpOp, value: &[u8], data: &[u8]) -> bool {
    let order = value.cmp(data);
    match op {
        CmpOp::Eq => order.is_eq(),
        CmpOp::Neq => order.is_ne(),
        CmpOp::Lt => order.is_lt(),
        CmpOp::Lte => order.is_le(),
        CmpOp::Gt => order.is_gt(),
        CmpOp::Gte => order.is_ge(),
    }
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
