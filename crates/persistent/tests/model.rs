//! Random changes, compared with the standard library's map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tortie_persistent::{Changed, Map, Set};

/// Puts a value, or takes the key away.
type Edit = (u16, Option<u8>);

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    // Few keys meet each other, many make deep trees; runs of removals make nodes unite.
    let key = prop_oneof![0..40_u16, 0..5000_u16];
    prop::collection::vec((key, prop::option::weighted(0.6, any::<u8>())), 0..most)
}

fn edit(map: &mut Map<u16, u8>, model: &mut BTreeMap<u16, u8>, edits: &[Edit]) {
    for (key, value) in edits {
        match value {
            Some(value) => assert_eq!(map.insert(*key, *value), model.insert(*key, *value)),
            None => assert_eq!(map.remove(key), model.remove(key)),
        }
    }
}

fn check(map: &Map<u16, u8>, model: &BTreeMap<u16, u8>) {
    assert!(map.iter().eq(model), "{map:?}\n{model:?}");
    assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
    for key in [0, 1, 17, 39, 40, 999, 2500, 4999, u16::MAX] {
        assert_eq!(map.get(&key), model.get(&key));
        assert!(map.range_from(&key).eq(model.range(key..)), "from {key}");
    }
}

fn check_changes(old: &Map<u16, u8>, new: &Map<u16, u8>, before: &BTreeMap<u16, u8>, after: &BTreeMap<u16, u8>) {
    let mut expected: Vec<(u16, Option<u8>, Option<u8>)> = Vec::new();
    let keys: BTreeSet<u16> = before.keys().chain(after.keys()).copied().collect();
    for key in keys {
        let (a, b) = (before.get(&key).copied(), after.get(&key).copied());
        if a != b {
            expected.push((key, a, b));
        }
    }
    let found = old.changes(new);
    let found: Vec<_> = found.iter().map(|Changed { key, old, new }| (**key, old.copied(), new.copied())).collect();
    assert_eq!(found, expected);
    assert_eq!(old == new, expected.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_map_is_what_the_edits_make_of_it(first in edits(3000), then in edits(60), apart in edits(3000)) {
        let (mut map, mut model) = (Map::new(), BTreeMap::new());
        edit(&mut map, &mut model, &first);
        check(&map, &model);

        // The copy stays what it was.
        let (old, before) = (map.clone(), model.clone());
        edit(&mut map, &mut model, &then);
        check(&map, &model);
        check(&old, &before);
        check_changes(&old, &map, &before, &model);
        check_changes(&map, &old, &model, &before);

        // Made apart: equal by content alone.
        let rebuilt: Map<u16, u8> = model.iter().rev().map(|(k, v)| (*k, *v)).collect();
        check_changes(&rebuilt, &map, &model, &model);
        let (mut other, mut others) = (Map::new(), BTreeMap::new());
        edit(&mut other, &mut others, &apart);
        check_changes(&map, &other, &model, &others);
    }

    #[test]
    fn removing_everything_leaves_nothing(keys in prop::collection::vec(0..500_u16, 0..1500), up in any::<bool>()) {
        let mut set: Set<u16> = keys.iter().copied().collect();
        let mut sorted: Vec<u16> = set.iter().copied().collect();
        if up {
            sorted.reverse();
        }
        while let Some(key) = sorted.pop() {
            prop_assert!(set.remove(&key) && !set.remove(&key) && !set.contains(&key));
            prop_assert_eq!(set.len(), sorted.len());
        }
        prop_assert_eq!(set, Set::new());
    }
}

/// What two versions share is not looked at: the cost of a comparison is that of the change.
#[test]
fn what_is_shared_is_not_compared() {
    use std::cell::Cell;

    thread_local!(static COMPARED: Cell<usize> = const { Cell::new(0) });

    #[derive(Clone)]
    struct Counted(u32);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    let mut map: Map<u32, Counted> = (0..100_000).map(|n| (n * 2, Counted(n))).collect();
    for key in [0, 1, 77_777, 99_999, 199_998, 200_001] {
        let old = map.clone();
        map.insert(key, Counted(u32::MAX));
        COMPARED.set(0);
        assert_eq!(old.changes(&map).len(), 1);
        let cost = COMPARED.get();
        map.remove(&key);
        COMPARED.set(0);
        assert_eq!(old.changes(&map).len(), usize::from(key % 2 == 0 && key < 200_000));
        assert!(cost <= 64 && COMPARED.get() <= 128, "{key}: {cost} and {} comparisons", COMPARED.get());
    }
}
