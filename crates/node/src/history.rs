//! What the numbers in log records meant when they were written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

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
    /// By number: the meaning, and the last generation that had it.
    meanings: BTreeMap<PathId, (Meaning, u64)>,
}

impl History {
    /// A history of the last `keep` generations.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self { keep: keep.max(1), generations: VecDeque::new(), meanings: BTreeMap::new() }
    }

    /// Takes down a plan that is about to be in force.
    pub fn record(&mut self, plan: &Plan) {
        if self.generations.back() != Some(&plan.generation) {
            self.generations.push_back(plan.generation);
        }
        for (id, path) in &plan.paths {
            let fresh = || Meaning { generation: plan.generation, path: Arc::new(path.clone()) };
            self.meanings.entry(*id).or_insert_with(|| (fresh(), plan.generation)).1 = plan.generation;
        }
        while self.generations.len() > self.keep {
            self.generations.pop_front();
        }
        if let Some(oldest) = self.generations.front() {
            self.meanings.retain(|_, (_, last)| *last >= *oldest);
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
            paths: paths.iter().map(|p| (PathId(*p), path.clone())).collect(),
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
