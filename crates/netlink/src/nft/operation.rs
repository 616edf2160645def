//! Operations of a transaction, as data, and as messages.

use std::{fmt, sync::Arc};

use tortie_ruleset::{BaseChain, ChainKind, Element, Family, Hook, MapSpec, Policy, Rule, Table};

use super::{
    element, expression, map,
    number::{self, LIST_ELEM, msg},
};
use crate::{
    EncodeError,
    message::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE},
    wire::{ATTR_MAX, Writer},
};

/// Longest comment: `NFTNL_UDATA_COMMENT_MAXLEN` of libnftnl less the zero byte.
const COMMENT_MAX: usize = 127;

/// The name of a table: family and text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Address family.
    pub family: Family,
    /// Name.
    pub name: Arc<str>,
}

impl TableId {
    /// The table of this family and name.
    #[must_use]
    pub fn new(family: Family, name: &str) -> Self {
        Self { family, name: name.into() }
    }
}

impl From<&Table> for TableId {
    fn from(table: &Table) -> Self {
        Self::new(table.family, &table.name)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        };
        write!(f, "{family} {}", self.name)
    }
}

/// `NFPROTO_*` of a table's family.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    }
}

/// The family of a `NFPROTO_*` number, if tables of it can be of ours.
pub(crate) fn read_family(number: u8) -> Option<Family> {
    [Family::Inet, Family::Ip, Family::Ip6].into_iter().find(|&f| family_number(f) == number)
}

/// Flags of a table (`NFT_TABLE_F_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct TableFlags {
    /// Only the socket that made the table can change it; others get `EPERM`, and `nft flush ruleset` passes it by.
    /// Without `persist`, the table goes when the socket closes.
    pub owner: bool,
    /// The table stays when its owner goes; it then reads back with this flag alone, anybody can change it, and the
    /// next socket that adds it with both flags takes it over. Linux 6.9.
    pub persist: bool,
}

impl TableFlags {
    /// Neither.
    pub const NONE: Self = Self { owner: false, persist: false };
    /// Both.
    pub const OWNED: Self = Self { owner: true, persist: true };

    fn bits(self) -> u32 {
        u32::from(self.owner) << 1 | u32::from(self.persist) << 2
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self { owner: bits & 2 != 0, persist: bits & 4 != 0 }
    }
}

/// Where a rule is put in its chain. Handles are the kernel's, from a read-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// After all others.
    End,
    /// Before all others.
    Start,
    /// Before the rule of this handle.
    Before(u64),
    /// After the rule of this handle.
    After(u64),
    /// In place of the rule of this handle, which goes.
    Replace(u64),
}

/// One step of a transaction.
///
/// Adding a table, chain, map or element that exists as described is no error; one that exists otherwise is (`EEXIST`).
/// Deleting what is absent is one too (`ENOENT`): the forgiving `NFT_MSG_DESTROY*` came with Linux 6.3 only, so
/// compute exact differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Add a table.
    AddTable {
        /// The table.
        table: TableId,
        /// Its flags.
        flags: TableFlags,
    },
    /// Delete a table and all in it.
    DeleteTable {
        /// The table.
        table: TableId,
    },
    /// Add a chain, or change the policy of a base chain.
    AddChain {
        /// Its table.
        table: TableId,
        /// Its name.
        chain: String,
        /// How it is attached, if it is.
        base: Option<BaseChain>,
    },
    /// Delete a chain and its rules. Nothing may lead to it.
    DeleteChain {
        /// Its table.
        table: TableId,
        /// Its name.
        chain: String,
    },
    /// Delete all rules of a chain.
    FlushChain {
        /// Its table.
        table: TableId,
        /// Its name.
        chain: String,
    },
    /// Add a rule.
    AddRule {
        /// Its table.
        table: TableId,
        /// Its chain.
        chain: String,
        /// Where.
        place: Place,
        /// What it does.
        rule: Rule,
    },
    /// Delete a rule.
    DeleteRule {
        /// Its table.
        table: TableId,
        /// Its chain.
        chain: String,
        /// The kernel's number for it.
        handle: u64,
    },
    /// Add a set or map.
    AddMap {
        /// Its table.
        table: TableId,
        /// Its name.
        map: String,
        /// Its declaration.
        spec: MapSpec,
    },
    /// Delete a set or map and its elements. No rule may use it.
    DeleteMap {
        /// Its table.
        table: TableId,
        /// Its name.
        map: String,
    },
    /// Add elements. Becomes as many messages, and if need be transactions, as their number demands.
    AddElements {
        /// The table.
        table: TableId,
        /// The map.
        map: String,
        /// The map's declaration, which says how elements are written.
        spec: MapSpec,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Delete elements by their keys; data are ignored.
    DeleteElements {
        /// The table.
        table: TableId,
        /// The map.
        map: String,
        /// The map's declaration.
        spec: MapSpec,
        /// The elements.
        elements: Vec<Element>,
    },
}

impl Op {
    /// The operations that make `table` where there is none: table, maps, chains, elements, rules, in an order that the
    /// kernel accepts.
    ///
    /// In one transaction this is right for a first load only: contents of interval maps that are made together with
    /// the rules that use them appear later than the rules do.
    #[must_use]
    pub fn create(table: &Table, flags: TableFlags) -> Vec<Self> {
        let id = TableId::from(table);
        let mut ops = vec![Self::AddTable { table: id.clone(), flags }];
        for (name, (spec, _)) in &table.maps {
            ops.push(Self::AddMap { table: id.clone(), map: name.clone(), spec: spec.clone() });
        }
        for (name, chain) in &table.chains {
            ops.push(Self::AddChain { table: id.clone(), chain: name.clone(), base: chain.base });
        }
        for (name, (spec, elements)) in table.maps.iter().filter(|(_, (_, elements))| !elements.is_empty()) {
            let (map, spec, elements) = (name.clone(), spec.clone(), elements.clone());
            ops.push(Self::AddElements { table: id.clone(), map, spec, elements: elements.iter().cloned().collect() });
        }
        for (name, chain) in &table.chains {
            for rule in &chain.rules {
                let (chain, rule) = (name.clone(), rule.clone());
                ops.push(Self::AddRule { table: id.clone(), chain, place: Place::End, rule });
            }
        }
        ops
    }
}

/// A message before it has a sequence number.
pub(crate) struct Request {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
}

/// What [`Op::encode`] yields.
pub(crate) enum Encoded<'a> {
    One(Request),
    Elements(ElementList<'a>),
}

impl Op {
    pub(crate) fn encode(&self) -> Result<Encoded<'_>, EncodeError> {
        let mut flags = 0;
        let (kind, w) = match self {
            Self::AddTable { table, flags: table_flags } => {
                flags = NLM_F_CREATE;
                let mut w = start(table, number::table::NAME);
                w.be32(number::table::FLAGS, table_flags.bits());
                (msg::NEWTABLE, w)
            }
            Self::DeleteTable { table } => (msg::DELTABLE, start(table, number::table::NAME)),
            Self::AddChain { table, chain, base } => {
                flags = NLM_F_CREATE;
                let mut w = start(table, number::chain::TABLE);
                w.text(number::chain::NAME, chain);
                if let Some(base) = base {
                    write_base(&mut w, base);
                }
                (msg::NEWCHAIN, w)
            }
            Self::DeleteChain { table, chain } => {
                let mut w = start(table, number::chain::TABLE);
                w.text(number::chain::NAME, chain);
                (msg::DELCHAIN, w)
            }
            Self::FlushChain { table, chain } => {
                let mut w = start(table, number::rule::TABLE);
                w.text(number::rule::CHAIN, chain);
                (msg::DELRULE, w)
            }
            Self::AddRule { table, chain, place, rule } => {
                let mut w = start(table, number::rule::TABLE);
                w.text(number::rule::CHAIN, chain);
                flags = match place {
                    Place::End | Place::After(_) => NLM_F_CREATE | NLM_F_APPEND,
                    Place::Start | Place::Before(_) => NLM_F_CREATE,
                    Place::Replace(_) => NLM_F_REPLACE,
                };
                match place {
                    Place::End | Place::Start => {}
                    Place::Before(handle) | Place::After(handle) => w.be64(number::rule::POSITION, *handle),
                    Place::Replace(handle) => w.be64(number::rule::HANDLE, *handle),
                }
                write_rule(&mut w, table.family, rule);
                (msg::NEWRULE, w)
            }
            Self::DeleteRule { table, chain, handle } => {
                let mut w = start(table, number::rule::TABLE);
                w.text(number::rule::CHAIN, chain);
                w.be64(number::rule::HANDLE, *handle);
                (msg::DELRULE, w)
            }
            Self::AddMap { table, map, spec } => {
                flags = NLM_F_CREATE;
                let mut w = start(table, number::set::TABLE);
                map::write(&mut w, map, spec);
                (msg::NEWSET, w)
            }
            Self::DeleteMap { table, map } => {
                let mut w = start(table, number::set::TABLE);
                w.text(number::set::NAME, map);
                (msg::DELSET, w)
            }
            Self::AddElements { table, map, spec, elements } => {
                return Ok(Encoded::Elements(ElementList { add: true, table, map, spec, rest: elements }));
            }
            Self::DeleteElements { table, map, spec, elements } => {
                return Ok(Encoded::Elements(ElementList { add: false, table, map, spec, rest: elements }));
            }
        };
        Ok(Encoded::One(Request { kind, flags, body: w.finish()? }))
    }
}

fn start(table: &TableId, attribute: u16) -> Writer {
    let mut w = Writer::netfilter(family_number(table.family), 0);
    w.text(attribute, &table.name);
    w
}

/// `enum nf_inet_hooks`.
const HOOKS: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];
/// Names of chain types.
const KINDS: [(ChainKind, &str); 3] =
    [(ChainKind::Filter, "filter"), (ChainKind::Nat, "nat"), (ChainKind::Route, "route")];

pub(crate) fn read_hook(number: u32) -> Option<Hook> {
    HOOKS.get(usize::try_from(number).ok()?).copied()
}

pub(crate) fn read_kind(name: &str) -> Option<ChainKind> {
    KINDS.into_iter().find(|(_, n)| *n == name).map(|(kind, _)| kind)
}

fn write_base(w: &mut Writer, base: &BaseChain) {
    w.nest(number::chain::HOOK, |w| {
        let hook = HOOKS.iter().position(|h| *h == base.hook).unwrap_or_default();
        w.be32(number::chain::HOOK_NUMBER, u32::try_from(hook).unwrap_or_default());
        w.be32(number::chain::HOOK_PRIORITY, base.priority.cast_unsigned());
    });
    w.be32(number::chain::POLICY, if base.policy == Policy::Accept { 1 } else { 0 });
    if let Some((_, name)) = KINDS.iter().find(|(kind, _)| *kind == base.kind) {
        w.text(number::chain::TYPE, name);
    }
}

fn write_rule(w: &mut Writer, family: Family, rule: &Rule) {
    w.nest(number::rule::EXPRESSIONS, |w| {
        for expr in &rule.exprs {
            expression::write(w, LIST_ELEM, family, expr);
        }
    });
    let Some(comment) = &rule.comment else { return };
    match u8::try_from(comment.len() + 1).ok().filter(|_| comment.len() <= COMMENT_MAX) {
        Some(len) => {
            let mut userdata = vec![number::rule::USERDATA_COMMENT, len];
            userdata.extend_from_slice(comment.as_bytes());
            userdata.push(0);
            w.bytes(number::rule::USERDATA, &userdata);
        }
        None => w.fail(EncodeError::TextTooLong { what: "comment", text: comment.clone(), limit: COMMENT_MAX }),
    }
}

/// Elements still to be put into messages.
pub(crate) struct ElementList<'a> {
    add: bool,
    table: &'a TableId,
    map: &'a str,
    spec: &'a MapSpec,
    rest: &'a [Element],
}

impl ElementList<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A message of at most `room` bytes with as many of the remaining elements as fit; `None` when not even one does.
    /// Both ends of a range go together.
    pub(crate) fn next_request(&mut self, room: usize) -> Result<Option<Request>, EncodeError> {
        let mut w = start(self.table, number::element::LIST_TABLE);
        w.text(number::element::LIST_SET, self.map);
        // Frame of the list attribute itself.
        let room = room.saturating_sub(w.size() + 4).min(ATTR_MAX);
        let mut list = Vec::new();
        let mut taken = 0;
        for one in self.rest {
            let mut attributes = Writer::new();
            element::write(&mut attributes, self.map, self.spec, one, self.add)?;
            let attributes = attributes.finish()?;
            if list.len() + attributes.len() > room {
                break;
            }
            list.extend_from_slice(&attributes);
            taken += 1;
        }
        if taken == 0 {
            return Ok(None);
        }
        self.rest = &self.rest[taken..];
        w.nest(number::element::LIST_ELEMENTS, |w| w.attributes(&list));
        let (kind, flags) = if self.add { (msg::NEWSETELEM, NLM_F_CREATE) } else { (msg::DELSETELEM, 0) };
        Ok(Some(Request { kind, flags, body: w.finish()? }))
    }
}
