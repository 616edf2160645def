//! The chains that carry out paths: count, log, and let pass or not.

use std::sync::Arc;

use tortie_model::{Direction, Family, IpProtocol};
use tortie_persistent::Map;
use tortie_policy::Verdict as Decision;
use tortie_ruleset::{Chain, Rule, Verdict};

use super::layout::Layout;
use super::pipeline::Pipeline;
use super::prefix::{DropKind, PathKind, Prefix};
use super::{Denial, Lane, Options};
use crate::{Path, PathId};

/// Longest comment of a rule.
const COMMENT: usize = 127;

/// What the chain of a path does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Allow,
    Deny,
    /// Goes on by source port.
    Fork,
}

impl Act {
    pub(crate) fn of(path: &Path) -> Self {
        match path.verdict {
            _ if !path.branches().is_empty() => Self::Fork,
            Decision::Deny => Self::Deny,
            Decision::Allow => Self::Allow,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Fork => "fork",
        }
    }
}

/// The name of the chain that carries out a path.
pub(crate) fn chain_name(id: PathId, path: &Path, layout: &Layout) -> String {
    layout.path(path.direction, id, Act::of(path))
}

/// The chain that carries out a path.
pub(crate) fn chain(
    id: PathId,
    path: &Path,
    paths: &Map<PathId, Arc<Path>>,
    layout: &Layout,
    options: &Options,
) -> Chain {
    let rules = match Act::of(path) {
        Act::Deny => deny(path.direction, id, path, layout, options),
        Act::Allow => allow(path.direction, id, path, options),
        Act::Fork => fork(path, paths, layout),
    };
    Chain { base: None, rules }
}

/// Goes on by source port. What the plan does not explain is dropped.
fn fork(path: &Path, paths: &Map<PathId, Arc<Path>>, layout: &Layout) -> Vec<Rule> {
    let mut first = 0;
    let mut rules = Vec::with_capacity(path.branches().len());
    for branch in path.branches() {
        let target = paths.get(&branch.path).map(|path| chain_name(branch.path, path, layout));
        let target = target.unwrap_or_else(|| DropKind::Bad.as_str().to_owned());
        rules.push(Pipeline::new().source_ports(first, branch.last).goto(target));
        first = branch.last.saturating_add(1);
    }
    rules
}

/// Counts and lets pass. Egress returns to the caller, which goes on with ingress.
fn allow(direction: Direction, id: PathId, path: &Path, options: &Options) -> Vec<Rule> {
    let counted = Pipeline::new().counter();
    let kind = match (path.logged.is_empty(), options.record_allowed) {
        (false, _) => Some(PathKind::Log),
        (true, true) => Some(PathKind::Allow),
        (true, false) => None,
    };
    let logged = match kind {
        Some(kind) => log(counted, Prefix::Path { lane: options.lane, kind, direction, path: id }, options),
        None => counted,
    };
    let rule = match direction {
        Direction::Egress => logged.end(None),
        Direction::Ingress => logged.then(Verdict::Accept),
    };
    vec![Rule { comment: Some(comment(path)), ..rule }]
}

fn deny(direction: Direction, id: PathId, path: &Path, layout: &Layout, options: &Options) -> Vec<Rule> {
    let mut rules = Vec::new();
    if path.spares_hairpin {
        // Returning passes the egress half on to ingress, and falls off the end of ingress.
        rules.extend(Family::ALL.map(|f| Pipeline::new().family(f).hairpin(layout, f).then(Verdict::Return)));
    }
    let prefix = Prefix::Path { lane: options.lane, kind: PathKind::Deny, direction, path: id };
    let recorded = log(Pipeline::new().counter(), prefix, options);
    let comment = Some(comment(path));
    match (options.lane, options.deny) {
        // The end of this lane alone: the packet goes on to the enforcing one.
        (Lane::Shadow, _) => rules.push(Rule { comment, ..recorded.then(Verdict::Accept) }),
        (Lane::Enforcing, Denial::Drop) => rules.push(Rule { comment, ..recorded.then(Verdict::Drop) }),
        (Lane::Enforcing, Denial::Reject) => {
            rules.push(recorded.end(comment));
            rules.push(Pipeline::new().protocol(IpProtocol::TCP).reject(true).end(None));
            rules.push(Pipeline::new().reject(false).end(None));
        }
    }
    rules
}

fn log(pipeline: Pipeline, prefix: Prefix, options: &Options) -> Pipeline {
    pipeline.log(options.log_group, prefix.to_string(), options.snaplen, options.threshold)
}

/// What `nft list ruleset` shows beside the rule.
fn comment(path: &Path) -> String {
    let mut text = path.to_string();
    let cut = (0..=COMMENT.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap_or_default();
    text.truncate(cut);
    text
}
