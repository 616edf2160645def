//! What a pod must have for a selector to select it: one sign of each selector is enough to find those that may.

use std::collections::HashMap;
use std::sync::Arc;

use tortie_model::calico::Comparison;
use tortie_model::{LabelSelector, Namespace, Operator, Pod};

use crate::expression::{Expression, Key};
use crate::rule::{EndpointSelector, NamespaceMatch};

/// A key that a pod has, with a value or with any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sign {
    place: Place,
    key: Arc<str>,
    value: Option<Arc<str>>,
}

/// Where a pod has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Own,
    Namespace,
    NamespaceName,
    Account,
    AccountName,
}

impl Sign {
    /// `None` for what all pods have alike.
    fn new(key: &Key, value: Option<&Arc<str>>) -> Option<Self> {
        let (place, key) = match key {
            Key::Own(key) => (Place::Own, key.clone()),
            Key::Namespace(key) => (Place::Namespace, key.clone()),
            Key::NamespaceName => (Place::NamespaceName, "".into()),
            Key::Account(key) => (Place::Account, key.clone()),
            Key::AccountName => (Place::AccountName, "".into()),
            Key::Orchestrator => return None,
        };
        Some(Self { place, key, value: value.cloned() })
    }
}

/// Signs of which a pod has at least one.
pub(super) type OneOf = Vec<Sign>;

/// What every pod that is selected has one of: each of these alone is enough to look for. Empty when nothing is known.
pub(super) fn signs_of(selector: &EndpointSelector) -> Vec<OneOf> {
    let mut out = Vec::new();
    match &selector.namespaces {
        NamespaceMatch::Named(name) => out.extend(Sign::new(&Key::NamespaceName, Some(name)).map(|sign| vec![sign])),
        NamespaceMatch::Matching(selector) => of_labels(selector, &Key::Namespace, &mut out),
    }
    of_labels(&selector.pods, &Key::Own, &mut out);
    if let Some(expression) = &selector.expression {
        of_expression(expression, &mut out);
    }
    out
}

fn of_labels(selector: &LabelSelector, place: &dyn Fn(Arc<str>) -> Key, out: &mut Vec<OneOf>) {
    for requirement in selector.requirements() {
        let key = place(requirement.key.clone());
        match requirement.operator {
            Operator::In => out.extend(with_values(&key, &requirement.values)),
            Operator::Exists => out.extend(Sign::new(&key, None).map(|sign| vec![sign])),
            Operator::NotIn | Operator::DoesNotExist => {}
        }
    }
}

fn with_values(key: &Key, values: &[Arc<str>]) -> Option<OneOf> {
    values.iter().map(|value| Sign::new(key, Some(value))).collect()
}

fn of_expression(expression: &Expression, out: &mut Vec<OneOf>) {
    match expression {
        Expression::Has(key) => out.extend(Sign::new(key, None).map(|sign| vec![sign])),
        Expression::Compare(key, comparison) => match comparison {
            Comparison::Equal(value) => out.extend(with_values(key, std::slice::from_ref(value))),
            Comparison::In(values) => out.extend(with_values(key, values)),
            Comparison::Contains(_) | Comparison::StartsWith(_) | Comparison::EndsWith(_) => {
                out.extend(Sign::new(key, None).map(|sign| vec![sign]));
            }
            Comparison::NotEqual(_) | Comparison::NotIn(_) => {}
        },
        Expression::And(terms) => terms.iter().for_each(|term| of_expression(term, out)),
        Expression::Or(terms) => {
            let each = terms.iter().map(|term| {
                let mut signs = Vec::new();
                of_expression(term, &mut signs);
                // Of several, the one that asks for most.
                signs.into_iter().min_by_key(|one_of| (one_of.iter().any(|s| s.value.is_none()), one_of.len()))
            });
            out.extend(each.collect::<Option<Vec<_>>>().map(|found| found.into_iter().flatten().collect()));
        }
        // Asks for nothing that a pod has.
        Expression::True | Expression::Not(_) => {}
    }
}

/// Numbers by the signs of pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    keys: HashMap<Place, HashMap<Arc<str>, Values>>,
}

#[derive(Clone, Debug, Default)]
struct Values {
    any: Vec<u32>,
    each: HashMap<Arc<str>, Vec<u32>>,
}

impl Signs {
    pub(super) fn insert(&mut self, sign: Sign, number: u32) {
        let values = self.keys.entry(sign.place).or_default().entry(sign.key).or_default();
        match sign.value {
            None => values.any.push(number),
            Some(value) => values.each.entry(value).or_default().push(number),
        }
    }

    /// The numbers of all signs that a pod has.
    pub(super) fn of_pod<'a>(&'a self, pod: &'a Pod, namespace: &'a Namespace) -> impl Iterator<Item = u32> + 'a {
        let account = &pod.service_account;
        let labels = pod.meta.labels.iter().map(|(key, value)| (Place::Own, key, value));
        let of_namespace = namespace.labels().iter().map(|(key, value)| (Place::Namespace, key, value));
        let of_account = namespace.accounts().get(account).into_iter().flat_map(|labels| labels.iter());
        let of_account = of_account.map(|(key, value)| (Place::Account, key, value));
        let names = [(Place::NamespaceName, "", &*pod.meta.namespace), (Place::AccountName, "", &**account)];
        let all = labels.chain(of_namespace).chain(of_account).chain(names);
        all.filter_map(|(place, key, value)| Some((self.keys.get(&place)?.get(key)?, value)))
            .flat_map(|(values, value)| values.any.iter().chain(values.each.get(value).into_iter().flatten()))
            .copied()
    }
}
