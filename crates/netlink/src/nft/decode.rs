//! The kernel's answers, message by message: what [`super::read_table`] is made of.

use tortie_ruleset::{BaseChain, Chain, Element, Expr, Family, MapSpec, Policy, Rule};

use super::{
    Counter, TableFlags, TableId, describe, element, expression, map,
    number::{self},
    operation::{read_family, read_hook, read_kind},
    read::{RuleState, TableInfo},
};
use crate::{
    Error, Message,
    wire::{Attr, Attrs},
};

/// A table; `None` for families other than inet, ip and ip6.
///
/// # Errors
/// [`Error::Malformed`]. The same holds for the other readers.
pub fn table(message: &Message) -> Result<Option<TableInfo>, Error> {
    let Some(family) = message.body.first().and_then(|&n| read_family(n)) else { return Ok(None) };
    let attrs = Attrs::netfilter(&message.body);
    Ok(Some(TableInfo {
        table: TableId::new(family, &attrs.need(number::table::NAME, "name of a table")?.text()),
        flags: TableFlags::from_bits(attrs.get(number::table::FLAGS).map_or(Ok(0), Attr::be32)?),
        owner: attrs.get(number::table::OWNER).map(Attr::be32).transpose()?,
        handle: attrs.get(number::table::HANDLE).map_or(Ok(0), Attr::be64)?,
    }))
}

/// A chain, without its rules; `None` in its place when it is attached to something that has no word here, such as a
/// device.
///
/// # Errors
/// As [`table`].
pub fn chain(message: &Message) -> Result<(String, Option<Chain>), Error> {
    let attrs = Attrs::netfilter(&message.body);
    let name = attrs.need(number::chain::NAME, "name of a chain")?.text();
    let Some(hook) = attrs.get(number::chain::HOOK).map(Attr::nested) else {
        return Ok((name, Some(Chain::default())));
    };
    let hook_number = hook.need(number::chain::HOOK_NUMBER, "hook of a chain")?.be32()?;
    let kind = attrs.get(number::chain::TYPE).map(Attr::text).unwrap_or_default();
    let (Some(hook_kind), Some(kind)) = (read_hook(hook_number), read_kind(&kind)) else { return Ok((name, None)) };
    let base = BaseChain {
        kind,
        hook: hook_kind,
        priority: hook.need(number::chain::HOOK_PRIORITY, "priority of a chain")?.be32()?.cast_signed(),
        policy: match attrs.get(number::chain::POLICY).map_or(Ok(1), Attr::be32)? {
            0 => Policy::Drop,
            _ => Policy::Accept,
        },
    };
    Ok((name, Some(Chain { base: Some(base), rules: Vec::new() })))
}

/// The declaration of a set or map; `None` in its place when it is of a kind that tortie never makes.
///
/// # Errors
/// As [`table`].
pub fn map(message: &Message) -> Result<(String, Option<MapSpec>), Error> {
    map::read(Attrs::netfilter(&message.body))
}

/// The elements in these messages, sorted, with their counters where they have any.
///
/// # Errors
/// As [`table`].
pub fn elements(spec: &MapSpec, messages: &[Message]) -> Result<Vec<(Element, Option<Counter>)>, Error> {
    let mut raw = Vec::new();
    for message in messages {
        let Some(list) = Attrs::netfilter(&message.body).get(number::element::LIST_ELEMENTS) else { continue };
        for attr in list.nested() {
            raw.extend(element::read(attr.nested())?);
        }
    }
    Ok(element::assemble(spec, raw))
}

/// A rule of a table of this family, with the name of its chain.
///
/// # Errors
/// As [`table`].
pub fn rule(family: Family, message: &Message) -> Result<(String, Rule, RuleState), Error> {
    let attrs = Attrs::netfilter(&message.body);
    let mut rule = Rule { exprs: Vec::new(), comment: attrs.get(number::rule::USERDATA).and_then(comment) };
    let mut counter = None;
    for one in attrs.get(number::rule::EXPRESSIONS).map_or(Attrs::new(&[]), Attr::nested) {
        let (expr, values): (Expr, _) = expression::read(one.nested(), family)?;
        counter = counter.or(values);
        rule.exprs.push(expr);
    }
    let chain = attrs.need(number::rule::CHAIN, "chain of a rule")?.text();
    let handle = attrs.need(number::rule::HANDLE, "handle of a rule")?.be64()?;
    Ok((chain, rule, RuleState { handle, counter }))
}

/// What a message asks for, in words, header included. `offset` is where the kernel says the offending attribute is.
#[must_use]
pub fn words(message: &[u8], offset: Option<usize>) -> String {
    describe::describe(message, offset)
}

/// User data are `type (1), length (1), value` triples; a comment is zero-terminated text.
fn comment(userdata: Attr<'_>) -> Option<String> {
    let mut rest = userdata.value;
    while let [kind, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len))?;
        if *kind == number::rule::USERDATA_COMMENT {
            return Some(Attr { kind: 0, value }.text());
        }
        rest = &tail[value.len()..];
    }
    None
}
