//! The verdict for a flow: both directions, and what comes before policy.

use tortie_model::{Direction, ObjectRef};

use crate::index::Index;
use crate::nearest::NearMiss;
use crate::ports::{Asked, Names};
use crate::regions::Regions;
use crate::side::Side;
use crate::stack::{By, Outcome, RuleRef, Stack, Verdict};

/// Why policy is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortcut {
    /// A pod speaks to itself: always allowed (types.go: "a pod cannot block access to itself").
    Loopback,
    /// A node speaks to a pod that it runs: ingress is allowed, so that probes work (`NetworkPolicyIngressRule.from`:
    /// "or if the traffic source is the pod's local node").
    LocalNode,
}

/// One direction of a verdict.
#[derive(Clone, Debug)]
pub struct Half {
    /// What governs the endpoint; empty when the end is no pod.
    pub stack: Stack,
    /// What was decided.
    pub outcome: Outcome,
    /// When denied: the rule that came nearest to allowing.
    pub nearest: Option<NearMiss>,
}

impl Half {
    fn unasked(direction: Direction) -> Self {
        let outcome = Outcome { verdict: Verdict::Allow, by: By::Profile, passed: Vec::new() };
        Self { stack: Stack::new(direction, []), outcome, nearest: None }
    }

    fn asked(stack: Stack, peer: &Side, asked: Asked, names: Names<'_>) -> Self {
        if stack.is_empty() {
            return Self::unasked(stack.direction());
        }
        let outcome = stack.decide(peer, asked, names);
        let nearest = (outcome.verdict == Verdict::Deny)
            .then(|| NearMiss::find(&stack, outcome.by, peer, asked, names))
            .flatten();
        Self { stack, outcome, nearest }
    }

    /// Whether this direction lets the packet pass.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.outcome.verdict == Verdict::Allow
    }

    /// The policies that govern the endpoint in this direction, in order.
    #[must_use]
    pub fn isolating(&self) -> Vec<ObjectRef> {
        self.stack.policies().map(|p| p.object.clone()).collect()
    }

    /// The rule that decided, when one did.
    #[must_use]
    pub fn decided_by(&self) -> Option<RuleRef> {
        match self.outcome.by {
            By::Rule(position) => self.stack.rule_ref(position),
            By::EndOfTier(_) | By::Profile => None,
        }
    }
}

/// The verdict for one packet that would open a connection.
#[derive(Clone, Debug)]
pub struct FlowVerdict {
    /// Why policy was not asked, in one direction or both.
    pub shortcut: Option<Shortcut>,
    /// At the source.
    pub egress: Half,
    /// At the destination.
    pub ingress: Half,
}

impl FlowVerdict {
    /// Whether the packet passes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.egress.is_allowed() && self.ingress.is_allowed()
    }

    /// One direction.
    #[must_use]
    pub const fn half(&self, direction: Direction) -> &Half {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }
}

/// The verdicts for all packets between two ends.
#[derive(Clone, Debug)]
pub struct PairVerdict {
    /// Why policy was not asked.
    pub shortcut: Option<Shortcut>,
    /// What governs the source.
    pub egress: Stack,
    /// What governs the destination.
    pub ingress: Stack,
    /// Outcomes of egress and ingress.
    pub regions: Regions<(Outcome, Outcome)>,
}

impl PairVerdict {
    /// The packets that pass.
    #[must_use]
    pub fn allowed(&self) -> Regions<bool> {
        self.regions.map(|(e, i)| e.verdict == Verdict::Allow && i.verdict == Verdict::Allow)
    }
}

impl Index {
    pub(crate) fn shortcut(from: &Side, to: &Side) -> Option<Shortcut> {
        let local = |node: &tortie_model::Node, pod: &tortie_model::Pod| pod.node.as_ref() == Some(&node.meta.name);
        if from.is_same_pod(to) {
            Some(Shortcut::Loopback)
        } else {
            from.node().zip(to.pod()).is_some_and(|(n, p)| local(n, p)).then_some(Shortcut::LocalNode)
        }
    }

    /// What governs the ends of a flow in each direction. A shortcut leaves nothing to govern.
    fn stacks(&self, from: &Side, to: &Side) -> (Option<Shortcut>, Stack, Stack) {
        let shortcut = Self::shortcut(from, to);
        let stack = |side: &Side, direction| match (side.pod(), shortcut) {
            (Some(pod), None) => self.stack(pod, direction),
            _ => Stack::new(direction, []),
        };
        (shortcut, stack(from, Direction::Egress), stack(to, Direction::Ingress))
    }

    /// Decides one packet that would open a connection, with the trace that explains it.
    #[must_use]
    pub fn verdict(&self, from: &Side, to: &Side, asked: impl Into<Asked>) -> FlowVerdict {
        let asked = asked.into();
        let (shortcut, egress, ingress) = self.stacks(from, to);
        let names = Names::between(from.pod().map(|p| &**p), to.pod().map(|p| &**p));
        let half = |stack, peer| Half::asked(stack, peer, asked, names);
        FlowVerdict { shortcut, egress: half(egress, to), ingress: half(ingress, from) }
    }

    /// Decides one packet that was sent to a Service, and came to be for `to`. Where that is the sender itself, only
    /// NetworkPolicies cannot deny it.
    #[must_use]
    pub fn verdict_by_service(&self, from: &Side, to: &Side, asked: impl Into<Asked>) -> FlowVerdict {
        let asked = asked.into();
        let Some(own) = from.pod().filter(|_| from.is_same_pod(to)) else {
            return self.verdict(from, to, asked);
        };
        let names = Names::between(Some(own), Some(own));
        let [egress, ingress] = Direction::BOTH.map(|direction| {
            let half = Half::asked(self.stack(own, direction), to, asked, names);
            if half.stack.spares_itself(&half.outcome) { Half::unasked(direction) } else { half }
        });
        let shortcut = (egress.is_allowed() && ingress.is_allowed()).then_some(Shortcut::Loopback);
        FlowVerdict { shortcut, egress, ingress }
    }

    /// Whether a packet that a pod sends to itself by way of a Service passes its egress and its ingress. Straight to
    /// its own address it never leaves the pod.
    #[must_use]
    pub fn hairpin(&self, pod: &Side, asked: impl Into<Asked>) -> [bool; 2] {
        let asked = asked.into();
        Direction::BOTH.map(|direction| {
            let Some(own) = pod.pod() else { return true };
            let stack = self.stack(own, direction);
            let outcome = stack.decide(pod, asked, Names::between(Some(own), Some(own)));
            outcome.verdict == Verdict::Allow || stack.spares_itself(&outcome)
        })
    }

    /// Decides all packets between two ends at once, from a client's port.
    #[must_use]
    pub fn pair(&self, from: &Side, to: &Side) -> PairVerdict {
        let (shortcut, egress, ingress) = self.stacks(from, to);
        let names = Names::between(from.pod().map(|p| &**p), to.pod().map(|p| &**p));
        let regions = egress.regions(to, names).zip(&ingress.regions(from, names), |e, i| (e.clone(), i.clone()));
        PairVerdict { shortcut, egress, ingress, regions }
    }
}
