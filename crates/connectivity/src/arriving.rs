//! What every half lets through from a class: a row of all pairs asks for it of each sender.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::half::Half;
use crate::partition::small;
use crate::pool::SetId;

/// What halves let through, by the class of the other end.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    /// From most classes, for each half.
    most: Vec<SetId>,
    /// By class: halves that let something else through from it, where they are few classes.
    others: Vec<Vec<(u32, SetId)>>,
    /// Halves that let something else through from more classes.
    asked: Vec<u32>,
    /// For some classes. Rows of one class are asked for close to each other.
    kept: Mutex<HashMap<u32, Arc<[SetId]>>>,
}

/// Classes that are few for a half.
const FEW: u64 = 64;
/// Classes that are kept.
const KEPT: usize = 64;

impl Arriving {
    /// Of halves by number, and so many classes.
    pub(crate) fn of(halves: &[Half], classes: usize) -> Self {
        let most = halves.iter().map(Half::rest).collect();
        let mut out = Self { most, others: vec![Vec::new(); classes], ..Self::default() };
        for (number, half) in halves.iter().enumerate().map(|(n, half)| (small(n), half)) {
            if half.others().map(|(classes, _)| classes.len()).sum::<u64>() > FEW {
                out.asked.push(number);
                continue;
            }
            for (classes, set) in half.others() {
                classes.iter().for_each(|class| out.others[class as usize].push((number, *set)));
            }
        }
        out
    }

    /// What each of the halves lets through from a class.
    pub(crate) fn from(&self, class: u32, halves: &[Half]) -> Arc<[SetId]> {
        let mut kept = self.kept.lock().expect("nobody panics while holding it");
        if let Some(known) = kept.get(&class) {
            return known.clone();
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let mut sets = self.most.clone();
        self.others[class as usize].iter().for_each(|(half, set)| sets[*half as usize] = *set);
        self.asked.iter().for_each(|half| sets[*half as usize] = halves[*half as usize].get(class));
        let sets: Arc<[SetId]> = sets.into();
        kept.insert(class, sets.clone());
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many classes a half tells from most, and whatever was asked before.
    #[test]
    fn it_is_what_each_half_says() {
        const CLASSES: u32 = 300;
        let half = |every: u32| {
            let set = |class: u32| if class.is_multiple_of(every) { SetId::ALL } else { SetId::NONE };
            Half::gather(0, (0..CLASSES).map(set))
        };
        let halves = [1000, 100, 3, 2, 7].map(half);
        let arriving = Arriving::of(&halves, CLASSES as usize);
        assert_eq!(arriving.asked, [2, 3], "the others tell few classes from most");
        for class in (0..CLASSES).chain([7, 7]).chain(0..CLASSES) {
            let expected: Vec<SetId> = halves.iter().map(|half| half.get(class)).collect();
            assert_eq!(*arriving.from(class, &halves), *expected, "class {class}");
        }
    }
}
