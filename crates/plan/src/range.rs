//! The ranges of addresses that the rules of this node tell apart, kept as profiles come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use roaring::RoaringBitmap;
use tortie_model::Family;

use crate::atom::{Atoms, address};
use crate::identity::Content;
use crate::plan::{ProfileId, RangeEntry};
use crate::table::{Shared, Table};

/// A function of the blocks that the profiles of this node name.
#[derive(Debug)]
pub(crate) struct Ranges {
    profiles: BTreeSet<ProfileId>,
    /// How many of the profiles name each block.
    nets: BTreeMap<IpNet, usize>,
    entries: Arc<[RangeEntry]>,
    identities: RoaringBitmap,
}

impl Default for Ranges {
    fn default() -> Self {
        Self {
            profiles: BTreeSet::new(),
            nets: BTreeMap::new(),
            entries: Arc::new([]),
            identities: RoaringBitmap::new(),
        }
    }
}

impl Ranges {
    /// Identities of ranges.
    pub(crate) const fn identities(&self) -> &RoaringBitmap {
        &self.identities
    }

    /// The ranges for these profiles: the same as before in memory when the blocks are the same.
    pub(crate) fn of(
        &mut self,
        profiles: BTreeSet<ProfileId>,
        tables: &BTreeMap<ProfileId, Table>,
        shared: &mut Shared,
    ) -> Arc<[RangeEntry]> {
        let nets = |id: &ProfileId| tables.get(id).into_iter().flat_map(|table| table.nets().iter().copied());
        let mut differs = false;
        let mut gone = BTreeSet::new();
        for net in self.profiles.difference(&profiles).flat_map(nets) {
            let Some(count) = self.nets.get_mut(&net) else { continue };
            *count -= 1;
            if *count == 0 {
                self.nets.remove(&net);
                gone.insert(net);
            }
        }
        for net in profiles.difference(&self.profiles).flat_map(nets) {
            let count = self.nets.entry(net).or_default();
            *count += 1;
            differs |= *count == 1 && !gone.remove(&net);
        }
        self.profiles = profiles;
        if differs || !gone.is_empty() {
            self.cut(shared);
        }
        self.entries.clone()
    }

    /// A profile has a twin with the same rules.
    pub(crate) fn replace(&mut self, profile: ProfileId, twin: ProfileId) {
        if self.profiles.remove(&profile) {
            self.profiles.insert(twin);
        }
    }

    fn cut(&mut self, shared: &mut Shared) {
        let atoms = Atoms::of(self.nets.keys().copied().collect());
        let mut entries = Vec::new();
        for family in Family::ALL {
            for atom in atoms.of_family(family) {
                let content = Content::outside(atom.nets.clone());
                let identity = shared.identities.intern(content, &mut shared.numbers);
                entries.push(RangeEntry { from: address(family, atom.from), to: address(family, atom.to), identity });
            }
        }
        self.identities = entries.iter().map(|entry| entry.identity.0).collect();
        self.entries = entries.into();
    }
}
