//! Selectors as alternatives of plain requirements: what Kubernetes' selectors can say.

use std::sync::Arc;

use tortie_model::calico::Comparison;
use tortie_model::{LabelSelector, Labels, Operator, Requirement};
use tortie_policy::{EndpointSelector, Expression, Key, NamespaceMatch};

/// The label that every namespace has, with its name.
pub(crate) const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// Most alternatives that a selector may become.
const MOST: usize = 32;

/// Requirements that must all hold of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    /// Of the labels of its namespace.
    pub(crate) namespaces: Vec<Requirement>,
    /// Of its own.
    pub(crate) pods: Vec<Requirement>,
}

impl Term {
    /// Selects namespaces.
    pub(crate) fn namespaces(&self) -> LabelSelector {
        LabelSelector::new(self.namespaces.iter().cloned())
    }

    /// Selects pods in them.
    pub(crate) fn pods(&self) -> LabelSelector {
        LabelSelector::new(self.pods.iter().cloned())
    }

    /// Whether a namespace with these labels is among those asked for.
    pub(crate) fn admits(&self, namespace: &Labels) -> bool {
        self.namespaces.iter().all(|r| r.matches(namespace))
    }

    /// The namespace, when one is asked for by its name and nothing else is asked of it.
    pub(crate) fn only(&self) -> Option<&Arc<str>> {
        match &self.namespaces[..] {
            [Requirement { key, operator: Operator::In, values }] if &**key == METADATA_NAME => match &values[..] {
                [one] => Some(one),
                _ => None,
            },
            _ => None,
        }
    }

    fn and(mut self, other: Self) -> Self {
        for (own, others) in [(&mut self.namespaces, other.namespaces), (&mut self.pods, other.pods)] {
            own.extend(others);
            own.sort();
            own.dedup();
        }
        self
    }
}

/// A selector as alternatives, of which one must hold.
///
/// # Errors
/// What cannot be said.
pub(crate) fn of(selector: &EndpointSelector) -> Result<Vec<Term>, String> {
    let namespaces = match &selector.namespaces {
        NamespaceMatch::Named(name) => vec![Requirement::new(METADATA_NAME, Operator::In, [name.clone()])],
        NamespaceMatch::Matching(selector) => selector.requirements().to_vec(),
    };
    let plain = Term { namespaces, pods: selector.pods.requirements().to_vec() };
    let asked = match &selector.expression {
        Some(expression) => alternatives(expression, false)?,
        None => vec![Term::default()],
    };
    Ok(asked.into_iter().map(|term| plain.clone().and(term)).collect())
}

/// `negated`: that it does not hold.
fn alternatives(expression: &Expression, negated: bool) -> Result<Vec<Term>, String> {
    match (expression, negated) {
        (Expression::True, false) => Ok(vec![Term::default()]),
        (Expression::True, true) => Ok(Vec::new()),
        (Expression::Not(inner), negated) => alternatives(inner, !negated),
        (Expression::Has(key), negated) => has(key, negated),
        (Expression::Compare(key, comparison), negated) => compared(key, comparison, negated),
        (Expression::And(terms), false) | (Expression::Or(terms), true) => {
            let mut out = vec![Term::default()];
            for term in terms {
                let next = alternatives(term, negated)?;
                out = out.iter().flat_map(|a| next.iter().map(|b| a.clone().and(b.clone()))).collect();
                if out.len() > MOST {
                    return Err(format!("`{expression}` has too many alternatives for plain selectors"));
                }
            }
            Ok(out)
        }
        (Expression::Or(terms), false) | (Expression::And(terms), true) => {
            let mut out = Vec::new();
            for term in terms {
                out.extend(alternatives(term, negated)?);
            }
            Ok(out)
        }
    }
}

fn has(key: &Key, negated: bool) -> Result<Vec<Term>, String> {
    let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
    match key {
        // Pods have these.
        Key::NamespaceName | Key::Orchestrator | Key::AccountName => {
            Ok(if negated { Vec::new() } else { vec![Term::default()] })
        }
        Key::Own(_) | Key::Namespace(_) | Key::Account(_) => requirement(key, operator, Vec::new()),
    }
}

fn compared(key: &Key, comparison: &Comparison, negated: bool) -> Result<Vec<Term>, String> {
    if *key == Key::Orchestrator {
        let holds = comparison.admits(Some("k8s")) != negated;
        return Ok(if holds { vec![Term::default()] } else { Vec::new() });
    }
    let (positive, values) = match comparison {
        Comparison::Equal(value) => (true, vec![value.clone()]),
        Comparison::NotEqual(value) => (false, vec![value.clone()]),
        Comparison::In(values) => (true, values.clone()),
        Comparison::NotIn(values) => (false, values.clone()),
        Comparison::Contains(_) | Comparison::StartsWith(_) | Comparison::EndsWith(_) => {
            return Err(format!("`{key} {comparison}` compares parts of values"));
        }
    };
    let is_in = positive != negated;
    match (values.is_empty(), is_in) {
        (true, true) => Ok(Vec::new()),
        (true, false) => Ok(vec![Term::default()]),
        (false, is_in) => requirement(key, if is_in { Operator::In } else { Operator::NotIn }, values),
    }
}

fn requirement(key: &Key, operator: Operator, values: Vec<Arc<str>>) -> Result<Vec<Term>, String> {
    let one = |key: &str| vec![Requirement::new(key, operator, values.clone())];
    let term = match key {
        Key::Own(key) => Term { pods: one(key), ..Term::default() },
        Key::Namespace(key) => Term { namespaces: one(key), ..Term::default() },
        Key::NamespaceName => Term { namespaces: one(METADATA_NAME), ..Term::default() },
        Key::Account(_) | Key::AccountName | Key::Orchestrator => {
            return Err(format!("`{key}` asks for the service account of a pod"));
        }
    };
    Ok(vec![term])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Result<Vec<(String, String)>, String> {
        let selector = EndpointSelector::expression(None, Expression::of(&text.parse().unwrap()));
        let words = |t: Term| (t.namespaces().to_string(), t.pods().to_string());
        Ok(of(&selector)?.into_iter().map(words).collect())
    }

    #[test]
    fn a_selector_becomes_alternatives_of_requirements() {
        let pods = |texts: &[&str]| Ok(texts.iter().map(|t| ("{}".to_owned(), (*t).to_owned())).collect());
        assert_eq!(of_text("all()"), pods(&["{}"]));
        assert_eq!(of_text("a == 'b' && !has(c)"), pods(&["a=b,!c"]));
        assert_eq!(of_text("!(a == 'b' && has(c))"), pods(&["a!=b", "!c"]));
        assert_eq!(of_text("(a == 'b' || has(c)) && d in {'e', 'f'}"), pods(&["a=b,d in (e, f)", "c,d in (e, f)"]));
        assert_eq!(of_text("projectcalico.org/orchestrator == 'k8s'"), pods(&["{}"]));
        assert_eq!(of_text("!all()"), pods(&[]));
        let namespaces = Ok(vec![(format!("{METADATA_NAME}=x,env=prod"), "{}".to_owned())]);
        assert_eq!(
            of_text("pcns.env == 'prod' && projectcalico.org/namespace == 'x'").map(|mut all| {
                all[0].0 = all[0].0.split(',').rev().collect::<Vec<_>>().join(",");
                all
            }),
            namespaces
        );
        assert!(of_text("a starts with 'b'").is_err());
        assert!(of_text("pcsa.role == 'x'").is_err());
    }
}
