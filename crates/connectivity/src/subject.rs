//! Who speaks with whom: workloads, nodes, and the world outside.

use std::sync::Arc;

use tortie_model::{Family, ObjectRef};
use tortie_policy::PodKey;

use crate::addresses::Addresses;

/// What a subject is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// The workload that is at the top of a pod, or a pod that nobody owns.
    Workload(ObjectRef),
    /// A node.
    Node(Arc<str>),
    /// Addresses of nobody in the cluster. Policies cannot tell one from another.
    Outside(Addresses),
}

impl Name {
    /// Namespace; `None` for what lives in none.
    #[must_use]
    pub fn namespace(&self) -> Option<&Arc<str>> {
        match self {
            Self::Workload(object) => object.namespace.as_ref(),
            Self::Node(_) | Self::Outside(_) => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Workload(o) => write!(f, "{}/{}/{}", o.namespace_str(), o.kind, o.name),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Outside(addresses) => {
                for (i, (first, last)) in addresses.ranges().enumerate() {
                    write!(f, "{}{first}-{last}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// Address families: of an address, or, where no address is known, both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Families(u8);

impl Families {
    /// Both.
    pub const BOTH: Self = Self(3);

    /// One.
    #[must_use]
    pub const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self(1),
            Family::V6 => Self(2),
        }
    }

    /// Those that are in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a family is among them.
    #[must_use]
    pub const fn have(self, family: Family) -> bool {
        !self.common(Self::of(family)).is_empty()
    }
}

/// The ends of a class that a pod, a node or a stretch of the world has: one for each of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct End {
    /// Its class.
    pub(crate) class: u32,
    /// Families of the addresses.
    pub(crate) families: Families,
}

impl End {
    /// Whether packets can go from one to the other at all.
    pub(crate) const fn meets(&self, other: &Self) -> bool {
        !self.families.common(other.families).is_empty()
    }
}

/// The ends of one pod, sorted, no class twice.
pub(crate) fn together(ends: impl IntoIterator<Item = End>) -> Vec<End> {
    let mut out: Vec<End> = ends.into_iter().collect();
    out.sort_unstable();
    out.dedup_by(|next, kept| {
        let same = next.class == kept.class;
        if same {
            kept.families = kept.families.or(next.families);
        }
        same
    });
    out
}

/// Pods of a workload that policies cannot tell apart.
#[derive(Clone, Debug)]
pub struct Group {
    /// The pods, by name; none for what is no workload.
    pub pods: Vec<PodKey>,
    pub(crate) ends: Vec<End>,
}

/// One who speaks or is spoken to.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called.
    pub name: Name,
    /// Its pods, as far as policies can tell them apart: more than one group when pods of one workload differ.
    pub groups: Vec<Group>,
    /// Nodes that it is, by number: a node, or pods in the networks of their nodes.
    pub(crate) is_node: Vec<(u32, Families)>,
    /// Nodes that its pods run on.
    pub(crate) runs_on: Vec<(u32, Families)>,
}

impl Subject {
    pub(crate) fn new(name: Name) -> Self {
        Self { name, groups: Vec::new(), is_node: Vec::new(), runs_on: Vec::new() }
    }

    /// Whether policies treat all its pods alike, at all of their addresses.
    #[must_use]
    pub fn is_uniform(&self) -> bool {
        matches!(&self.groups[..], [group] if group.ends.len() == 1)
            && self.is_node.is_empty()
            && self.runs_on.is_empty()
    }

    /// All its ends, each with its group.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&Group, &End)> {
        self.groups.iter().flat_map(|group| group.ends.iter().map(move |end| (group, end)))
    }

    /// Whether a group of this subject and a group of another are the same single pod, whose traffic with itself says
    /// nothing about the traffic between pods. A workload that has one pod only may have more.
    pub(crate) fn is_one_pod(&self, group: &Group, other: &Self, others: &Group) -> bool {
        std::ptr::eq(self, other) && std::ptr::eq(group, others) && group.pods.len() == 1 && self.groups.len() > 1
    }
}
