//! Label selectors (`metav1.LabelSelector`).

use std::sync::Arc;

use crate::Labels;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl Operator {
    /// As written in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// The comparison.
    pub operator: Operator,
    /// Values for `In` and `NotIn`, sorted and without duplicates; empty for the other two.
    pub values: Vec<Arc<str>>,
}

impl Requirement {
    /// A requirement; `values` are put in order.
    #[must_use]
    pub fn new(key: &str, operator: Operator, values: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        let mut values: Vec<Arc<str>> = values.into_iter().map(Into::into).collect();
        values.sort_unstable();
        values.dedup();
        Self { key: key.into(), operator, values }
    }

    /// Whether labels meet it. `NotIn` and `DoesNotExist` are met by labels that lack the key
    /// (`k8s.io/apimachinery/pkg/labels`).
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.admits(labels.get(&self.key))
    }

    /// Whether a value of its key meets it; `None` for labels without the key.
    #[must_use]
    pub fn admits(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|v| self.values.binary_search_by(|x| (**x).cmp(v)).is_ok());
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = || self.values.iter().map(|v| &**v).collect::<Vec<_>>().join(", ");
        match (self.operator, self.values.as_slice()) {
            (Operator::In, [one]) => write!(f, "{}={one}", self.key),
            (Operator::NotIn, [one]) => write!(f, "{}!={one}", self.key),
            (Operator::In, _) => write!(f, "{} in ({})", self.key, list()),
            (Operator::NotIn, _) => write!(f, "{} notin ({})", self.key, list()),
            (Operator::Exists, _) => write!(f, "{}", self.key),
            (Operator::DoesNotExist, _) => write!(f, "!{}", self.key),
        }
    }
}

/// A label selector: all requirements must be met; none selects everything. `matchLabels` are requirements with `In`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Selects everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self { requirements: Vec::new() }
    }

    /// A selector of these requirements, sorted: equal selectors compare equal however they were written.
    #[must_use]
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let mut requirements: Vec<_> = requirements.into_iter().collect();
        requirements.sort_unstable();
        requirements.dedup();
        Self { requirements }
    }

    /// `key=value` for each pair.
    #[must_use]
    pub fn match_labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(pairs.into_iter().map(|(k, v)| Requirement::new(k, Operator::In, [v])))
    }

    /// The requirements, sorted.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything because it asks nothing.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels are selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|r| r.matches(labels))
    }
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_everything() {
            return f.write_str("{}");
        }
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            r.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_operators_match_labels_that_lack_the_key() {
        let none = Labels::default();
        let web: Labels = [("app", "web")].into_iter().collect();
        for (op, on_none, on_web) in [
            (Operator::In, false, true),
            (Operator::NotIn, true, false),
            (Operator::Exists, false, true),
            (Operator::DoesNotExist, true, false),
        ] {
            let values: &[&str] = if matches!(op, Operator::In | Operator::NotIn) { &["web", "db"] } else { &[] };
            let r = Requirement::new("app", op, values.iter().copied());
            assert_eq!((r.matches(&none), r.matches(&web)), (on_none, on_web), "{r}");
        }
    }

    #[test]
    fn the_empty_selector_selects_everything() {
        assert!(LabelSelector::everything().matches(&Labels::default()));
        assert_eq!(LabelSelector::match_labels([("a", "b"), ("c", "d")]).to_string(), "a=b,c=d");
    }
}
