//! What the numbers in log records meant when they were written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tortie_persistent::Map;
use tortie_plan::{Path, PathId, Plan};

/// A path with the plan that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The first generation that had it. A number never changes its meaning, so later ones mean the same.
    pub generation: u64,
    /// The decision.
    pub path: Arc<Path>,
}

/// The paths of the last generations: a drop is explained by the policies that were in force when it happened, even
/// if they are gone by the time anybody asks.
#[derive(Debug)]
pub struct History {
    keep: usize,
    generations: VecDeque<u64>,
    /// The paths in force.
    paths: Map<PathId, Arc<Path>>,
    /// By number: the meaning, and the last generation that had it; `None` while it is in force.
    meanings: BTreeMap<PathId, (Meaning, Option<u64>)>,
    /// Numbers that went out of force, with the last generation that had them, in order.
    gone: VecDeque<(u64, PathId)>,
}

impl History {
    /// A history of the last `keep` generations.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        let keep = keep.max(1);
        Self { keep, generations: VecDeque::new(), paths: Map::new(), meanings: BTreeMap::new(), gone: VecDeque::new() }
    }

    /// Takes down a plan that is about to be in force. Costs what differs from the one before.
    pub fn record(&mut self, plan: &Plan) {
        let before = self.generations.back().copied();
        if before != Some(plan.generation) {
            self.generations.push_back(plan.generation);
        }
        for path in std::mem::replace(&mut self.paths, plan.paths.clone()).changes(&plan.paths) {
            match path.new {
                Some(new) => {
                    let fresh = Meaning { generation: plan.generation, path: new.clone() };
                    self.meanings.entry(*path.key).or_insert((fresh, None)).1 = None;
                }
                None => {
                    let last = before.unwrap_or(plan.generation);
                    self.meanings.entry(*path.key).and_modify(|(_, until)| *until = Some(last));
                    self.gone.push_back((last, *path.key));
                }
            }
        }
        while self.generations.len() > self.keep {
            self.generations.pop_front();
        }
        let Some(oldest) = self.generations.front() else { return };
        while let Some((last, id)) = self.gone.pop_front_if(|(last, _)| *last < *oldest) {
            if self.meanings.get(&id).is_some_and(|(_, until)| *until == Some(last)) {
                self.meanings.remove(&id);
            }
        }
    }

    /// What a number meant; `None` when it is too old.
    #[must_use]
    pub fn meaning(&self, id: PathId) -> Option<&Meaning> {
        self.meanings.get(&id).map(|(meaning, _)| meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_model::Direction;
    use tortie_plan::{Compiler, Decider};
    use tortie_policy::Verdict;

    fn plan(generation: u64, paths: &[u32]) -> Plan {
        let path = Path {
            verdict: Verdict::Deny,
            direction: Direction::Ingress,
            by: Decider::EndOfTier("default".into()),
            passed: vec![],
            logged: vec![],
            isolating: Arc::from([]),
            spares_hairpin: true,
        };
        Plan {
            generation,
            paths: paths.iter().map(|p| (PathId(*p), Arc::new(path.clone()))).collect(),
            ..Compiler::new().current().clone()
        }
    }

    #[test]
    fn a_path_is_remembered_for_some_generations_after_it_is_gone() {
        let mut history = History::new(2);
        history.record(&plan(1, &[5]));
        history.record(&plan(2, &[6]));
        assert_eq!(history.meaning(PathId(5)).map(|m| m.generation), Some(1));
        history.record(&plan(3, &[6]));
        assert_eq!(history.meaning(PathId(5)), None, "three generations ago");
        assert_eq!(history.meaning(PathId(6)).map(|m| m.generation), Some(2), "the generation that brought it");
    }
}
