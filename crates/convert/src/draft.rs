//! A policy of the other API before it is proven, and what it could not say.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_manifest::write::{self, Notes};
use tortie_model::{ClusterPolicy, Direction, Kind, NetworkPolicy, ObjectRef, calico};
use tortie_policy::{Policy, Rule, RuleRef};

use crate::yaml;

/// Something that the other API cannot say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The policy that says it.
    pub policy: ObjectRef,
    /// The rule that says it; none for the policy as a whole.
    pub rule: Option<RuleRef>,
    /// What cannot be said.
    pub says: String,
}

impl Gap {
    /// About a policy as a whole.
    pub(crate) fn of_policy(policy: &Policy, says: impl Into<String>) -> Self {
        Self { policy: policy.object.clone(), rule: None, says: says.into() }
    }

    /// About a rule.
    pub(crate) fn of_rule(policy: &Policy, direction: Direction, rule: &Rule, says: impl Into<String>) -> Self {
        let rule = RuleRef { policy: policy.object.clone(), direction, index: rule.written };
        Self { rule: Some(rule), ..Self::of_policy(policy, says) }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "{} of {}: {}", item(rule), self.policy, self.says),
            None => write!(f, "{}: {}", self.policy, self.says),
        }
    }
}

/// `ingress[0]`
fn item(rule: &RuleRef) -> String {
    format!("{}[{}]", rule.direction, rule.index)
}

/// A policy of some API.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    NetworkPolicy(NetworkPolicy),
    Calico(calico::Policy),
    Cluster(ClusterPolicy),
}

/// A policy of the other API, with where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) model: Model,
    /// What it is made of.
    pub(crate) from: ObjectRef,
    /// What it does of that, where it does not do all.
    pub(crate) part: Option<&'static str>,
    /// For each rule the item that it was: of `ingress`, of `egress`. None where no rule says it.
    pub(crate) items: Items,
}

/// For each rule of a draft, the item of its source that it comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Items {
    pub(crate) ingress: Vec<Option<usize>>,
    pub(crate) egress: Vec<Option<usize>>,
}

impl Items {
    pub(crate) const fn of(&mut self, direction: Direction) -> &mut Vec<Option<usize>> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// Of each rule the item that it comes from, when it is the first of it.
    fn notes(&self) -> Notes {
        let noted = |direction: Direction, items: &[Option<usize>]| {
            let firsts = items.iter().enumerate().map(|(i, item)| item.filter(|_| i == 0 || items[i - 1] != *item));
            firsts.map(|first| first.map(|item| format!("{direction}[{item}]"))).collect()
        };
        Notes { ingress: noted(Direction::Ingress, &self.ingress), egress: noted(Direction::Egress, &self.egress) }
    }
}

impl Draft {
    pub(crate) fn object(&self) -> ObjectRef {
        let (kind, meta) = match &self.model {
            Model::NetworkPolicy(policy) => (Kind::NetworkPolicy, &policy.meta),
            Model::Calico(policy) if policy.meta.namespace.is_empty() => (Kind::GlobalNetworkPolicy, &policy.meta),
            Model::Calico(policy) => (Kind::CalicoNetworkPolicy, &policy.meta),
            Model::Cluster(policy) => (policy.kind, &policy.meta),
        };
        let namespace = Some(&meta.namespace).filter(|ns| !ns.is_empty()).cloned();
        ObjectRef { kind, namespace, name: meta.name.clone() }
    }

    pub(crate) fn write(&self) -> Written {
        let body = |notes: &Notes| match &self.model {
            Model::NetworkPolicy(policy) => write::network_policy(policy, notes),
            Model::Calico(policy) => yaml::calico::document(policy, notes),
            Model::Cluster(policy) => yaml::cluster::document(policy, notes),
        };
        let (noted, plain) = (body(&self.items.notes()), body(&Notes::default()));
        Written { object: self.object(), from: self.from.clone(), part: self.part, noted, plain }
    }
}

/// A policy as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which.
    pub object: ObjectRef,
    /// The policy that it comes from.
    pub from: ObjectRef,
    /// What it does of that, where it does not do all.
    part: Option<&'static str>,
    /// Its YAML, with notes of the rules that its own come from.
    noted: String,
    /// The same without.
    plain: String,
}

impl Written {
    /// The document. `place` is where its source is written.
    #[must_use]
    pub fn document(&self, place: Option<&str>) -> String {
        let place = place.map_or_else(String::new, |place| format!(" ({place})"));
        let part = self.part.map_or_else(String::new, |part| format!(": {part}"));
        format!("# From {}{place}{part}\n{}", self.from, self.noted)
    }

    /// The document without a word about where it comes from.
    #[must_use]
    pub fn plain(&self) -> &str {
        &self.plain
    }
}

/// Names that are taken, by namespace.
#[derive(Default)]
pub(crate) struct NamesTaken(BTreeSet<(Arc<str>, String)>);

impl NamesTaken {
    /// The names of policies that stay.
    pub(crate) fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        let name = |p: &Policy| (p.object.namespace.clone().unwrap_or_default(), p.object.name.to_string());
        Self(policies.into_iter().map(name).collect())
    }

    /// A name that is free, and is taken from now on.
    pub(crate) fn take(&mut self, namespace: &Arc<str>, wanted: &str) -> Arc<str> {
        let numbered = (2..).map(|n: u32| format!("{wanted}-{n}"));
        let mut names = [wanted.to_owned()].into_iter().chain(numbered);
        let name = names.find(|name| self.0.insert((namespace.clone(), name.clone())));
        name.expect("numbers do not end").into()
    }
}
