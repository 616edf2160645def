//! Many flows of one cluster, decided without an explanation.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tortie_model::{Direction, Pod};

use crate::index::{Index, PodKey};
use crate::ports::{Asked, Names};
use crate::prepared::Prepared;
use crate::rule::Policy;
use crate::side::Side;
use crate::stack::{By, Outcome, Verdict};

/// What governs the endpoints of a cluster: looked up once for each of them, and made ready once for all that the same
/// policies govern.
#[derive(Debug)]
pub struct Profiles<'a> {
    index: &'a Index,
    of_pods: HashMap<(PodKey, Direction), Rc<Prepared>>,
    /// By the places of their policies in memory, which the stacks hold there.
    all: HashMap<(Direction, Vec<usize>), Rc<Prepared>>,
}

impl<'a> Profiles<'a> {
    /// Those of a cluster, of which none is known yet.
    #[must_use]
    pub fn new(index: &'a Index) -> Self {
        Self { index, of_pods: HashMap::new(), all: HashMap::new() }
    }

    /// What governs a pod in a direction.
    pub fn of(&mut self, pod: &Pod, direction: Direction) -> Rc<Prepared> {
        let (index, all) = (self.index, &mut self.all);
        let known = self.of_pods.entry((PodKey::of(pod), direction)).or_insert_with(|| {
            let stack = index.stack(pod, direction);
            let policies = stack.policies().map(|policy: &Arc<Policy>| Arc::as_ptr(policy).addr()).collect();
            all.entry((direction, policies)).or_insert_with(|| Rc::new(stack.prepare())).clone()
        });
        known.clone()
    }

    /// What [`Index::verdict`] decides: the outcomes of egress and of ingress.
    pub fn decide(&mut self, from: &Side, to: &Side, asked: impl Into<Asked>) -> [Outcome; 2] {
        let asked = asked.into();
        let shortcut = Index::shortcut(from, to);
        let names = Names::between(from.pod().map(|p| &**p), to.pod().map(|p| &**p));
        [(from, to, Direction::Egress), (to, from, Direction::Ingress)].map(|(own, peer, direction)| {
            match (own.pod(), shortcut) {
                (Some(pod), None) => self.of(pod, direction).decide(peer, asked, names),
                _ => Outcome { verdict: Verdict::Allow, by: By::Profile, passed: Vec::new() },
            }
        })
    }

    /// Whether a packet that would open a connection passes in both directions.
    pub fn allow(&mut self, from: &Side, to: &Side, asked: impl Into<Asked>) -> bool {
        self.decide(from, to, asked).iter().all(|outcome| outcome.verdict == Verdict::Allow)
    }
}
