//! What a Calico selector asks of an endpoint, with every key led to where its value is kept.

use std::fmt;
use std::sync::Arc;

use tortie_model::calico::{Comparison, Selector};
use tortie_model::{Labels, Namespace, Pod};

/// Prefix of the labels that an endpoint has from its namespace (`libcalico-go`, `NamespaceLabelPrefix`).
const NAMESPACE_PREFIX: &str = "pcns.";
/// Prefix of those that it has from its service account (`ServiceAccountLabelPrefix`).
const ACCOUNT_PREFIX: &str = "pcsa.";
const NAMESPACE: &str = "projectcalico.org/namespace";
const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
const ACCOUNT: &str = "projectcalico.org/serviceaccount";
/// Of a namespace or service account: its name.
const NAME: &str = "projectcalico.org/name";

/// Where the value of a key is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A label of the endpoint itself.
    Own(Arc<str>),
    /// A label of its namespace.
    Namespace(Arc<str>),
    /// The name of its namespace.
    NamespaceName,
    /// A label of its service account.
    Account(Arc<str>),
    /// The name of its service account.
    AccountName,
    /// `k8s` for pods; other endpoints have none.
    Orchestrator,
}

impl Key {
    /// The key that a text stands for in the selector of an endpoint.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            NAMESPACE => Self::NamespaceName,
            ORCHESTRATOR => Self::Orchestrator,
            ACCOUNT => Self::AccountName,
            _ => match (text.strip_prefix(NAMESPACE_PREFIX), text.strip_prefix(ACCOUNT_PREFIX)) {
                (Some(NAME), _) => Self::NamespaceName,
                (Some(key), _) => Self::Namespace(key.into()),
                (_, Some(NAME)) => Self::AccountName,
                (_, Some(key)) => Self::Account(key.into()),
                _ => Self::Own(text.into()),
            },
        }
    }

    /// The key that a text stands for in a namespaceSelector.
    #[must_use]
    pub fn of_namespace(text: &str) -> Self {
        if text == NAME { Self::NamespaceName } else { Self::Namespace(text.into()) }
    }

    /// The key that a text stands for in the selector of a service account.
    #[must_use]
    pub fn of_account(text: &str) -> Self {
        if text == NAME { Self::AccountName } else { Self::Account(text.into()) }
    }
}

/// As a selector of endpoints would write it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(key) => f.write_str(key),
            Self::Namespace(key) => write!(f, "{NAMESPACE_PREFIX}{key}"),
            Self::NamespaceName => f.write_str(NAMESPACE),
            Self::Account(key) => write!(f, "{ACCOUNT_PREFIX}{key}"),
            Self::AccountName => f.write_str(ACCOUNT),
            Self::Orchestrator => f.write_str(ORCHESTRATOR),
        }
    }
}

/// Something that selectors can be asked about.
pub trait Labelled {
    /// The value of a key; `None` when it has none.
    fn value(&self, key: &Key) -> Option<&str>;
}

/// A pod with its namespace.
#[derive(Clone, Copy, Debug)]
pub struct PodLabels<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its namespace.
    pub namespace: &'a Namespace,
}

impl Labelled for PodLabels<'_> {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Own(key) => self.pod.meta.labels.get(key),
            Key::Namespace(key) => self.namespace.labels().get(key),
            Key::NamespaceName => Some(&self.pod.meta.namespace),
            Key::Account(key) => self.namespace.accounts().get(&self.pod.service_account)?.get(key),
            Key::AccountName => Some(&self.pod.service_account),
            Key::Orchestrator => Some("k8s"),
        }
    }
}

/// A set of addresses with labels, in a namespace or in none.
#[derive(Clone, Copy, Debug)]
pub struct SetLabels<'a> {
    /// Its own.
    pub labels: &'a Labels,
    /// Its namespace.
    pub namespace: Option<&'a Namespace>,
}

impl Labelled for SetLabels<'_> {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Own(key) => self.labels.get(key),
            Key::Namespace(key) => self.namespace?.labels().get(key),
            Key::NamespaceName => self.namespace.map(|ns| &**ns.name()),
            Key::Account(_) | Key::AccountName | Key::Orchestrator => None,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Expression {
    /// Nothing.
    True,
    /// That the key has a value.
    Has(Key),
    /// That the value compares.
    Compare(Key, Comparison),
    /// The opposite.
    Not(Box<Expression>),
    /// All of these.
    And(Vec<Expression>),
    /// One of these.
    Or(Vec<Expression>),
}

impl Expression {
    /// What a selector of endpoints asks.
    #[must_use]
    pub fn of(selector: &Selector) -> Self {
        let everything = || Self::True;
        Self::read(selector, &Key::of, &everything, &everything)
    }

    /// What a namespaceSelector asks of an endpoint: `all()` that it is in a namespace, `global()` that it is in none.
    #[must_use]
    pub fn of_namespace(selector: &Selector) -> Self {
        let all = || Self::Has(Key::NamespaceName);
        let global = || Self::Not(Box::new(Self::Has(Key::NamespaceName)));
        Self::read(selector, &Key::of_namespace, &all, &global)
    }

    /// What the selector of a service account asks of an endpoint in a rule: there `all()` is not rewritten
    /// (`updateprocessors/rules.go`).
    #[must_use]
    pub fn of_account_of_rule(selector: &Selector) -> Self {
        let everything = || Self::True;
        Self::read(selector, &Key::of_account, &everything, &everything)
    }

    /// What the selector of a policy's service accounts asks of an endpoint.
    #[must_use]
    pub fn of_account(selector: &Selector) -> Self {
        let all = || Self::Has(Key::AccountName);
        Self::read(selector, &Key::of_account, &all, &all)
    }

    /// That the endpoint is in a namespace.
    #[must_use]
    pub fn in_namespace(name: &Arc<str>) -> Self {
        Self::Compare(Key::NamespaceName, Comparison::Equal(name.clone()))
    }

    /// That all of these hold.
    #[must_use]
    pub fn all(terms: impl IntoIterator<Item = Self>) -> Self {
        let mut terms: Vec<Self> = terms.into_iter().filter(|t| *t != Self::True).collect();
        match terms.len() {
            0 => Self::True,
            1 => terms.remove(0),
            _ => Self::And(terms),
        }
    }

    fn read(
        selector: &Selector,
        key: &impl Fn(&str) -> Key,
        all: &impl Fn() -> Self,
        global: &impl Fn() -> Self,
    ) -> Self {
        let read = |term: &Selector| Self::read(term, key, all, global);
        match selector {
            Selector::All => all(),
            Selector::Global => global(),
            Selector::Has(k) => Self::Has(key(k)),
            Selector::Compare(k, comparison) => Self::Compare(key(k), comparison.clone()),
            Selector::Not(term) => Self::Not(Box::new(read(term))),
            Selector::And(terms) => Self::And(terms.iter().map(read).collect()),
            Selector::Or(terms) => Self::Or(terms.iter().map(read).collect()),
        }
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, of: &impl Labelled) -> bool {
        match self {
            Self::True => true,
            Self::Has(key) => of.value(key).is_some(),
            Self::Compare(key, comparison) => comparison.admits(of.value(key)),
            Self::Not(term) => !term.holds(of),
            Self::And(terms) => terms.iter().all(|t| t.holds(of)),
            Self::Or(terms) => terms.iter().any(|t| t.holds(of)),
        }
    }

    /// The keys that it asks for, as often as it does.
    #[must_use]
    pub fn asked(&self) -> Vec<&Key> {
        match self {
            Self::True => Vec::new(),
            Self::Has(key) | Self::Compare(key, _) => vec![key],
            Self::Not(term) => term.asked(),
            Self::And(terms) | Self::Or(terms) => terms.iter().flat_map(Self::asked).collect(),
        }
    }
}

/// As a selector of endpoints would write it.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, terms: &[Self], operator: &str| {
            f.write_str("(")?;
            for (i, term) in terms.iter().enumerate() {
                write!(f, "{}{term}", if i > 0 { operator } else { "" })?;
            }
            f.write_str(")")
        };
        match self {
            Self::True => f.write_str("all()"),
            Self::Has(key) => write!(f, "has({key})"),
            Self::Compare(key, comparison) => write!(f, "{key} {comparison}"),
            Self::Not(term) => write!(f, "!{term}"),
            Self::And(terms) => joined(f, terms, " && "),
            Self::Or(terms) => joined(f, terms, " || "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        let mut pod = tortie_testkit::build::pod("prod/web", "n1", &[("app", "web")], &[]);
        pod.service_account = "reader".into();
        pod
    }

    fn namespace() -> Namespace {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        let accounts = [("reader".into(), labels(&[("role", "ro")]))].into();
        Namespace::new("prod", &labels(&[("team", "blue")])).with_accounts(Arc::new(accounts))
    }

    fn holds(text: &str) -> bool {
        let (pod, namespace) = (pod(), namespace());
        Expression::of(&text.parse().unwrap()).holds(&PodLabels { pod: &pod, namespace: &namespace })
    }

    #[test]
    fn a_key_is_looked_for_where_calico_puts_it() {
        for yes in [
            "app == 'web'",
            "pcns.team == 'blue'",
            "pcsa.role == 'ro'",
            "projectcalico.org/namespace == 'prod'",
            "pcns.projectcalico.org/name == 'prod'",
            "pcsa.projectcalico.org/name == 'reader'",
            "projectcalico.org/serviceaccount == 'reader'",
            "projectcalico.org/orchestrator == 'k8s'",
            "all()",
            "!has(team)",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in ["team == 'blue'", "has(pcns.app)", "has(projectcalico.org/name)", "role == 'ro'"] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn in_a_namespace_selector_all_and_global_ask_for_a_namespace() {
        let (pod, namespace, labels) = (pod(), namespace(), Labels::default());
        let of_namespace = |text: &str| Expression::of_namespace(&text.parse().unwrap());
        let pod = PodLabels { pod: &pod, namespace: &namespace };
        let global_set = SetLabels { labels: &labels, namespace: None };
        for (text, of_pod, of_set) in [
            ("all()", true, false),
            ("global()", false, true),
            ("projectcalico.org/name == 'prod'", true, false),
            ("projectcalico.org/namespace == 'prod'", false, false),
            ("team != 'red'", true, true),
        ] {
            let asked = of_namespace(text);
            assert_eq!((asked.holds(&pod), asked.holds(&global_set)), (of_pod, of_set), "{text}");
        }
        assert!(!Expression::of_account(&"all()".parse().unwrap()).holds(&global_set));
    }
}
