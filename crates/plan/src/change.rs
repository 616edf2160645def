//! What addresses are while endpoints change from their old profiles to their new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::Family;
use tortie_policy::PodKey;

use crate::atom::{address, number};
use crate::identity::Content;
use crate::plan::{ClassId, IdentityId, Plan, ProfileId, RangeEntry};
use crate::table::{Shared, Table};

/// Profiles that endpoints leave and enter in one transition, and the identities made for it.
#[derive(Debug, Default)]
pub(crate) struct Change {
    left: BTreeSet<ProfileId>,
    entered: BTreeSet<ProfileId>,
    /// Identities with two faces.
    changing: BTreeMap<IdentityId, (IdentityId, IdentityId)>,
}

impl Change {
    /// The change from a plan to endpoints with these addresses and profiles (egress, ingress).
    pub(crate) fn between<'a>(
        old: &Plan,
        new: impl Iterator<Item = (&'a PodKey, &'a [IpAddr], [ProfileId; 2])>,
    ) -> Self {
        let mut out = Self::default();
        for (key, addresses, profiles) in new {
            let before = old.endpoints.get(key);
            for (i, profile) in profiles.into_iter().enumerate() {
                let was = before.map(|e| [e.egress, e.ingress][i]);
                let moves = was != Some(profile);
                if moves {
                    out.left.extend(was);
                }
                // An address that was not there before is closed until then: it enters like a new endpoint.
                if moves || before.is_some_and(|e| addresses.iter().any(|ip| !e.addresses.contains(ip))) {
                    out.entered.insert(profile);
                }
            }
        }
        out.left.remove(&ProfileId(0));
        out.entered.remove(&ProfileId(0));
        out
    }

    pub(crate) fn left_and_entered(&self) -> Vec<ProfileId> {
        self.left.intersection(&self.entered).copied().collect()
    }

    /// Endpoints enter a twin of a profile that others leave.
    pub(crate) fn entered_instead(&mut self, profile: ProfileId, twin: ProfileId) {
        self.entered.remove(&profile);
        self.entered.insert(twin);
    }

    fn left_agree(&self, tables: &BTreeMap<ProfileId, Table>, a: IdentityId, b: IdentityId) -> bool {
        self.left.iter().filter_map(|p| tables.get(p)).all(|t| t.class(a) == t.class(b))
    }

    fn entered_agree(&self, tables: &BTreeMap<ProfileId, Table>, a: IdentityId, b: IdentityId) -> bool {
        self.entered.iter().filter_map(|p| tables.get(p)).all(|t| t.class(a) == t.class(b))
    }

    /// The identity that an address of a pod has while endpoints move, on its way from one identity to another: the
    /// profiles that are left judge it as the first, those that are entered as the second, all others as one of them.
    pub(crate) fn identity(
        &mut self,
        (from, to): (IdentityId, IdentityId),
        tables: &BTreeMap<ProfileId, Table>,
        shared: &mut Shared,
    ) -> IdentityId {
        if from == to || self.left_agree(tables, from, to) {
            return to;
        }
        let is_pod = matches!(shared.identities.content(from), Some(Content::Address { pod: Some(_), .. }));
        if is_pod && self.entered_agree(tables, from, to) {
            return from;
        }
        let id = shared.identities.intern(Content::Changing(from, to), &mut shared.numbers);
        self.changing.insert(id, (from, to));
        id
    }

    /// The ranges while endpoints move. That a block contains an address never changes, so where neither the old nor
    /// the new identity will do, the one that knows of the blocks of both does.
    pub(crate) fn ranges(
        &self,
        old: &Arc<[RangeEntry]>,
        new: &Arc<[RangeEntry]>,
        tables: &BTreeMap<ProfileId, Table>,
        shared: &mut Shared,
    ) -> Arc<[RangeEntry]> {
        if Arc::ptr_eq(old, new) {
            return new.clone();
        }
        let mut out: Vec<RangeEntry> = Vec::with_capacity(new.len());
        for (family, from, to, (a, b)) in overlay(old, new) {
            let identity = if a == b || self.left_agree(tables, a, b) {
                b
            } else if self.entered_agree(tables, a, b) {
                a
            } else {
                let nets = |id| shared.identities.content(id).map_or(&[][..], Content::nets);
                let both: BTreeSet<_> = nets(a).iter().chain(nets(b)).copied().collect();
                let content = Content::outside(both.into_iter().collect());
                shared.identities.intern(content, &mut shared.numbers)
            };
            if identity == IdentityId(0) {
                continue;
            }
            let entry = RangeEntry { from: address(family, from), to: address(family, to), identity };
            match out.last_mut() {
                Some(last)
                    if last.identity == identity
                        && Family::of(last.to) == family
                        && number(last.to).checked_add(1) == Some(from) =>
                {
                    last.to = entry.to;
                }
                _ => out.push(entry),
            }
        }
        out.into()
    }

    /// The classes other than 0 that a table gives to the identities with two faces.
    pub(crate) fn classes(&self, table: &Table) -> Vec<(IdentityId, ClassId)> {
        let face = |(from, to): &(IdentityId, IdentityId)| if self.left.contains(&table.id) { *from } else { *to };
        let all = self.changing.iter().map(|(id, faces)| (*id, table.class(face(faces))));
        all.filter(|(_, class)| *class != ClassId(0)).collect()
    }

    /// The identities that are there for this change alone.
    pub(crate) fn changing(&self) -> impl Iterator<Item = IdentityId> {
        self.changing.keys().copied()
    }
}

/// Ranges cut at the ends of both lists, with the identity in each; ranges in neither are left out.
fn overlay(a: &[RangeEntry], b: &[RangeEntry]) -> Vec<(Family, u128, u128, (IdentityId, IdentityId))> {
    let mut out = Vec::new();
    for family in Family::ALL {
        let of_family = |list: &[RangeEntry]| -> Vec<(u128, u128, IdentityId)> {
            let list = list.iter().filter(|r| Family::of(r.from) == family);
            list.map(|r| (number(r.from), number(r.to), r.identity)).collect()
        };
        let (a, b) = (of_family(a), of_family(b));
        let starts: BTreeSet<u128> =
            a.iter().chain(&b).flat_map(|(from, to, _)| [Some(*from), to.checked_add(1)]).flatten().collect();
        let max = if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
        let ends = starts.iter().skip(1).map(|s| s - 1).chain([max]);
        let at = |list: &[(u128, u128, IdentityId)], place: u128| {
            let i = list.partition_point(|(_, to, _)| *to < place);
            list.get(i).filter(|(from, _, _)| *from <= place).map_or(IdentityId(0), |(_, _, id)| *id)
        };
        for (from, to) in starts.iter().zip(ends) {
            let pair = (at(&a, *from), at(&b, *from));
            if *from <= max && pair != (IdentityId(0), IdentityId(0)) {
                out.push((family, *from, to, pair));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges<const N: usize>(ranges: [(&str, &str, u32); N]) -> Arc<[RangeEntry]> {
        let entry = |(from, to, id): (&str, &str, u32)| RangeEntry {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            identity: IdentityId(id),
        };
        ranges.map(entry).into()
    }

    /// Cut where the old ones ended, and put together again.
    #[test]
    fn where_no_profile_is_left_the_new_ranges_hold_at_once() {
        let lists = [
            ranges([]),
            ranges([("10.0.0.0", "10.0.0.9", 1), ("10.0.0.20", "10.0.0.29", 1), ("10.0.0.30", "10.0.0.39", 2)]),
            ranges([("10.0.0.5", "10.0.0.24", 1), ("10.0.0.26", "10.0.0.26", 3)]),
            // The last of a family, and what would come after it if the other family's numbers went on.
            ranges([("255.255.255.0", "255.255.255.255", 4), ("::1:0:0", "::1:0:9", 4)]),
            ranges([("0.0.0.0", "255.255.255.255", 5), ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 6)]),
        ];
        for (old, new) in lists.iter().flat_map(|old| lists.iter().map(move |new| (old, new))) {
            let found = Change::default().ranges(old, new, &BTreeMap::new(), &mut Shared::default());
            assert_eq!(found, *new, "from {old:?}");
        }
    }
}
