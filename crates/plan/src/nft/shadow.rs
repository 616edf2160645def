//! The shadow lane, read as if it enforced.

use std::sync::Arc;

use tortie_ruleset::{Chain, Expr, Table, Verdict};

use super::Lane;
use super::prefix::{PathKind, Prefix};

/// A table of the shadow lane in which what says that it would drop a packet does. What drops one although it says so
/// does not: it is no rule of that lane, and must not look like one.
///
/// So what the lane says of every packet is compared with policy in the same way as what the other one does.
#[must_use]
pub fn as_enforced(table: &Table) -> Table {
    let mut out = table.clone();
    for (name, chain) in &table.chains {
        let mut rules = chain.rules.clone();
        let denials = rules.iter_mut().filter(|rule| rule.exprs.iter().any(says_denied));
        let mut ends = denials.flat_map(|rule| &mut rule.exprs).filter_map(|expr| match expr {
            Expr::Verdict(verdict) => Some(verdict),
            _ => None,
        });
        if ends.by_ref().map(exchange).count() > 0 {
            out.chains.insert(name.clone(), Arc::new(Chain { base: chain.base, rules }));
        }
    }
    out
}

fn says_denied(expr: &Expr) -> bool {
    let Expr::Log { prefix, .. } = expr else { return false };
    matches!(prefix.parse(), Ok(Prefix::Path { lane: Lane::Shadow, kind: PathKind::Deny, .. }))
}

fn exchange(verdict: &mut Verdict) {
    *verdict = match &*verdict {
        Verdict::Accept => Verdict::Drop,
        Verdict::Drop => Verdict::Accept,
        other => other.clone(),
    };
}
