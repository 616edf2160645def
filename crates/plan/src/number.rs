//! Fresh numbers.

use crate::plan::{ClassId, IdentityId, PathId, PortClassId, ProfileId};

/// The last numbers given out, of every kind. A number is given out once: what a kernel may still hold must not change
/// its meaning, so a compiler that follows another one on the same node starts after that one's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Plans.
    pub generation: u64,
    /// Identities.
    pub identity: u32,
    /// Classes.
    pub class: u32,
    /// Port classes.
    pub port_class: u32,
    /// Profiles.
    pub profile: u32,
    /// Paths.
    pub path: u32,
}

fn next(last: &mut u32) -> u32 {
    *last = last.checked_add(1).expect("a node outlives its compiler before it has given out 2^32 numbers");
    *last
}

impl Numbers {
    pub(crate) fn identity(&mut self) -> IdentityId {
        IdentityId(next(&mut self.identity))
    }

    pub(crate) fn class(&mut self) -> ClassId {
        ClassId(next(&mut self.class))
    }

    pub(crate) fn port_class(&mut self) -> PortClassId {
        PortClassId(next(&mut self.port_class))
    }

    pub(crate) fn profile(&mut self) -> ProfileId {
        ProfileId(next(&mut self.profile))
    }

    pub(crate) fn path(&mut self) -> PathId {
        PathId(next(&mut self.path))
    }
}
