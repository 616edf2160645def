//! Who is meant by a name with wildcards.

use std::net::IpAddr;

use ipnet::IpNet;
use tortie_model::Family;

use crate::addresses::{Addresses, number};
use crate::subject::Name;

/// A choice of subjects: a namespace, `namespace/name`, `namespace/Kind/name`, `node/NAME`, with `*` anywhere; an
/// address or a block, for the parts of the world that it meets; `outside` for all of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Workloads.
    Workload {
        /// Namespace.
        namespace: String,
        /// Kind; none for any.
        kind: Option<String>,
        /// Name.
        name: String,
    },
    /// Nodes.
    Node(String),
    /// The world, or as much of it as a block meets.
    Outside(Option<IpNet>),
}

/// Not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names nobody: write a namespace, namespace/name, namespace/Kind/name (`*` for any letters), node/NAME, an \
     address, a block, or `outside`"
)]
pub struct PatternError(String);

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "outside" {
            return Ok(Self::Outside(None));
        }
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        if let Some(block) = text.parse::<IpNet>().ok().or_else(address) {
            return Ok(Self::Outside(Some(block)));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|p| p.is_empty()) {
            return Err(PatternError(text.to_owned()));
        }
        let workload = |namespace: &str, kind: Option<&str>, name: &str| Self::Workload {
            namespace: namespace.to_owned(),
            kind: kind.map(str::to_owned),
            name: name.to_owned(),
        };
        match parts[..] {
            [namespace] => Ok(workload(namespace, None, "*")),
            ["node", name] => Ok(Self::Node(name.to_owned())),
            [namespace, name] => Ok(workload(namespace, None, name)),
            [namespace, kind, name] => Ok(workload(namespace, Some(kind), name)),
            _ => Err(PatternError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Workload { namespace, kind: Some(kind), name } => write!(f, "{namespace}/{kind}/{name}"),
            Self::Workload { namespace, kind: None, name } => write!(f, "{namespace}/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Outside(Some(block)) => block.fmt(f),
            Self::Outside(None) => f.write_str("outside"),
        }
    }
}

impl Pattern {
    /// Whether a subject is meant.
    #[must_use]
    pub fn matches(&self, subject: &Name) -> bool {
        match (self, subject) {
            (Self::Workload { namespace, kind, name }, Name::Workload(object)) => {
                let is_kind =
                    |kind: &String| like(&kind.to_ascii_lowercase(), &object.kind.as_str().to_ascii_lowercase());
                like(namespace, object.namespace_str()) && kind.as_ref().is_none_or(is_kind) && like(name, &object.name)
            }
            (Self::Node(name), Name::Node(node)) => like(name, node),
            (Self::Outside(None), Name::Outside(_)) => true,
            (Self::Outside(Some(block)), Name::Outside(addresses)) => {
                let ends = (number(block.network()), number(block.broadcast()));
                !Addresses::new(Family::of_net(block), [ends]).intersection(addresses).is_empty()
            }
            _ => false,
        }
    }
}

/// Whether a text is like a pattern, in which `*` stands for any letters.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::{Kind, ObjectRef};

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("web", "web", true),
            ("web", "web-1", false),
            ("web*", "web-1", true),
            ("*-1", "web-1", true),
            ("*-1", "web-1-2", false),
            ("w*b*1", "web-1", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_choose_subjects() {
        let web = Name::Workload(ObjectRef::namespaced(Kind::Deployment, "shop", "web"));
        let node = Name::Node("n1".into());
        let world = Name::Outside(Addresses::new(Family::V4, [(0, 0x0a00_0005)]));
        for (pattern, chosen) in [
            ("shop", &web),
            ("shop/web", &web),
            ("s*/deployment/*", &web),
            ("node/*", &node),
            ("outside", &world),
            ("10.0.0.0/8", &world),
            ("9.9.9.9", &world),
        ] {
            let read: Pattern = pattern.parse().unwrap();
            for name in [&web, &node, &world] {
                assert_eq!(read.matches(name), name == chosen, "{pattern} {name}");
            }
        }
        for wrong in ["", "a//b", "a/b/c/d", "/x"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
