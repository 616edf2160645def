//! Reading tables back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tortie_persistent::Map;
use tortie_ruleset::{Element, MapSpec, Rule, Table};

use super::{
    Counter, TableFlags, TableId, decode, map,
    number::{self, generation as gen_attr, msg},
    operation::family_number,
};
use crate::{
    Error, Message, Socket,
    wire::{Attr, Attrs, Writer},
};

/// How often a table is read again when the ruleset changes meanwhile.
const ATTEMPTS: u32 = 10;

/// Generation of the ruleset of a network namespace, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Moves on by one with every transaction that is applied.
    pub id: u32,
    /// Process whose request this answers.
    pub pid: u32,
}

/// A table, without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Family and name.
    pub table: TableId,
    /// Its flags.
    pub flags: TableFlags,
    /// Port of the socket that owns it; `None` when it has no owner (any more).
    pub owner: Option<u32>,
    /// The kernel's number for it.
    pub handle: u64,
}

/// What the kernel knows of a rule besides its expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleState {
    /// The kernel's number for it, by which it can be deleted or replaced.
    pub handle: u64,
    /// Values of its first counter.
    pub counter: Option<Counter>,
}

/// A table as it was at one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// That generation.
    pub generation: u32,
    /// Flags and owner.
    pub info: TableInfo,
    /// Its contents.
    pub table: Table,
    /// Handle and counter of every rule, by chain and position.
    pub rules: BTreeMap<(String, usize), RuleState>,
    /// Counters of elements, for maps that have them, in the order of the elements in `table`.
    pub element_counters: BTreeMap<String, Vec<Option<Counter>>>,
    /// Sets and chains of kinds that tortie never makes and that are therefore missing in `table`: somebody else put
    /// them there.
    pub foreign: Vec<Foreign>,
}

/// Something in a table that [`Table`] has no word for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A chain, attached to something such as a device.
    Chain(String),
    /// A set, map or the like.
    Map(String),
}

/// The generation of the ruleset.
///
/// # Errors
/// As [`Socket::request`].
pub fn generation(socket: &mut Socket) -> Result<Generation, Error> {
    let body = Writer::netfilter(0, 0).finish()?;
    let replies = socket.request(msg::GETGEN, 0, &body, || "read the generation".to_owned())?;
    let reply = replies.first().ok_or_else(|| Error::malformed("no answer to a request for the generation"))?;
    let attrs = Attrs::netfilter(&reply.body);
    Ok(Generation {
        id: attrs.need(gen_attr::ID, "generation")?.be32()?,
        pid: attrs.get(gen_attr::PID).map_or(Ok(0), Attr::be32)?,
    })
}

/// All tables of the families inet, ip and ip6.
///
/// # Errors
/// As [`Socket::dump`].
pub fn read_tables(socket: &mut Socket) -> Result<Vec<TableInfo>, Error> {
    let body = Writer::netfilter(0, 0).finish()?;
    let mut tables = Vec::new();
    for message in socket.dump(msg::GETTABLE, 0, &body, || "list tables".to_owned())? {
        tables.extend(decode::table(&message)?);
    }
    Ok(tables)
}

/// The whole table, or `None` when there is none. All of it is of one generation: when the ruleset changes meanwhile,
/// it is read again.
///
/// # Errors
/// [`Error::Interrupted`] when the ruleset changes all the time, otherwise as [`Socket::dump`].
pub fn read_table(socket: &mut Socket, table: &TableId) -> Result<Option<TableState>, Error> {
    for _ in 0..ATTEMPTS {
        let before = generation(socket)?.id;
        let state = match read_once(socket, table, before) {
            // Deleted or changed between two dumps: seen in the generation.
            Err(error) if error.errno().is_none() => return Err(error),
            other => other,
        };
        if generation(socket)?.id == before {
            return state;
        }
    }
    Err(Error::Interrupted { operation: format!("read table {table}") })
}

fn read_once(socket: &mut Socket, id: &TableId, generation: u32) -> Result<Option<TableState>, Error> {
    let Some(info) = read_tables(socket)?.into_iter().find(|t| t.table == *id) else {
        return Ok(None);
    };
    let mut state = TableState {
        generation,
        info,
        table: Table { family: id.family, name: id.name.to_string(), maps: BTreeMap::new(), chains: Map::new() },
        rules: BTreeMap::new(),
        element_counters: BTreeMap::new(),
        foreign: Vec::new(),
    };
    for message in dump(socket, id, msg::GETCHAIN, number::chain::TABLE, "chains")? {
        match decode::chain(&message)? {
            (name, Some(chain)) => drop(state.table.chains.insert(name, Arc::new(chain))),
            (name, None) => state.foreign.push(Foreign::Chain(name)),
        }
    }
    for message in dump(socket, id, msg::GETSET, number::set::TABLE, "maps")? {
        let (name, spec) = decode::map(&message)?;
        let Some(spec) = spec else {
            state.foreign.push(Foreign::Map(name));
            continue;
        };
        let (elements, counters): (Vec<_>, Vec<_>) = read_elements(socket, id, &name, &spec)?.into_iter().unzip();
        if spec.counter {
            state.element_counters.insert(name.clone(), counters);
        }
        state.table.maps.insert(name, (spec, elements.into()));
    }
    for (chain, rule, rule_state) in read_rules(socket, id)? {
        let Some(home) = state.table.chains.get_mut(&chain) else {
            continue;
        };
        state.rules.insert((chain, home.rules.len()), rule_state);
        Arc::make_mut(home).rules.push(rule);
    }
    Ok(Some(state))
}

/// Names of all chains of a table.
///
/// # Errors
/// As [`Socket::dump`].
pub fn read_chain_names(socket: &mut Socket, table: &TableId) -> Result<Vec<String>, Error> {
    dump(socket, table, msg::GETCHAIN, number::chain::TABLE, "chains")?
        .iter()
        .map(|message| Ok(decode::chain(message)?.0))
        .collect()
}

/// All rules of a table, chain by chain, in order: chain, rule, handle and counter. This is the cheap way to read
/// counters.
///
/// # Errors
/// As [`Socket::dump`].
pub fn read_rules(socket: &mut Socket, table: &TableId) -> Result<Vec<(String, Rule, RuleState)>, Error> {
    dump(socket, table, msg::GETRULE, number::rule::TABLE, "rules")?
        .iter()
        .map(|message| decode::rule(table.family, message))
        .collect()
}

/// The elements of a set or map, sorted, with their counters where they have any.
///
/// Hash maps without a size live in a table that the kernel grows and shrinks in the background, and a dump that
/// meets this silently repeats elements or leaves some out (`nft_rhash_walk`; seen on Linux 6.18 right after 3,000
/// elements were added). Such maps are therefore read until two readings agree.
///
/// # Errors
/// [`Error::Interrupted`] when no two readings agree, otherwise as [`Socket::dump`].
pub fn read_elements(
    socket: &mut Socket,
    table: &TableId,
    name: &str,
    spec: &MapSpec,
) -> Result<Vec<(Element, Option<Counter>)>, Error> {
    let mut w = Writer::netfilter(family_number(table.family), 0);
    w.text(number::element::LIST_TABLE, &table.name);
    w.text(number::element::LIST_SET, name);
    let body = w.finish()?;
    let what = || format!("list elements of map {name} of table {table}");
    let mut previous: Option<Vec<Element>> = None;
    for _ in 0..ATTEMPTS {
        let elements = decode::elements(spec, &socket.dump(msg::GETSETELEM, 0, &body, what)?)?;
        if !map::is_resized(spec) {
            return Ok(elements);
        }
        // Counters may move between two readings; keys and data may not.
        let keys: Vec<Element> = elements.iter().map(|(e, _)| e.clone()).collect();
        let distinct = keys.windows(2).all(|pair| pair[0] != pair[1]);
        if distinct && previous.as_ref() == Some(&keys) {
            return Ok(elements);
        }
        previous = Some(keys);
    }
    Err(Error::Interrupted { operation: what() })
}

/// Dumps objects of a table. Older kernels do not filter all kinds by table, so it is done again here.
fn dump(
    socket: &mut Socket,
    table: &TableId,
    kind: u16,
    table_attribute: u16,
    what: &str,
) -> Result<Vec<Message>, Error> {
    let mut w = Writer::netfilter(family_number(table.family), 0);
    w.text(table_attribute, &table.name);
    let mut messages = socket.dump(kind, 0, &w.finish()?, || format!("list {what} of table {table}"))?;
    messages.retain(|m| {
        m.body.first() == Some(&family_number(table.family))
            && Attrs::netfilter(&m.body).get(table_attribute).is_some_and(|a| a.text() == *table.name)
    });
    Ok(messages)
}
