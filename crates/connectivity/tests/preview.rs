//! What staged policies would change, and who is said to do it.

use std::sync::Arc;

use tortie_analysis::preview::Preview;
use tortie_connectivity::{Cause, Connectivity, Difference, Fate};
use tortie_manifest::ObjectSet;
use tortie_model::calico::{Staged, StagedAction, StagedPolicy};
use tortie_testkit::{Rng, random};

/// Of two clusters with the same ends, policies alone are to blame: those that are staged, and those that these take
/// away.
#[test]
fn staged_policies_are_to_blame_for_all_that_they_change() {
    let mut fates = [0; 3];
    // In the last one a tier denies at its end what a new rule of another passes on to it.
    for seed in (0..60).chain([141]) {
        let mut rng = Rng::new(seed);
        let cluster = random::three_apis(&mut rng);
        let other = random::three_apis(&mut rng);
        let kubernetes = other.policies.into_iter().map(StagedPolicy::Kubernetes);
        let policies = kubernetes.chain(other.calico.into_iter().map(StagedPolicy::Calico));
        let staged = policies.map(|policy| {
            let action = *rng.pick(&[StagedAction::Set, StagedAction::Set, StagedAction::Delete]);
            Arc::new(Staged { action, policy })
        });
        let objects = ObjectSet {
            staged: staged.collect(),
            network_policies: cluster.policies.iter().cloned().map(Arc::new).collect(),
            calico_policies: cluster.calico.iter().cloned().map(Arc::new).collect(),
            ..ObjectSet::default()
        };
        let preview = Preview::of(&objects);
        let enforced = cluster.index();
        let clusters = [Connectivity::of(&enforced), Connectivity::of(&preview.index(&enforced))];
        let difference = Difference::between(&clusters[0], &clusters[1]);
        for change in &difference.changes {
            for cause in change.opened_by.iter().chain(&change.closed_by) {
                let case =
                    || format!("seed {seed}: {} -> {}: {cause:?}\n{cluster}{preview:#?}", change.from, change.to);
                let Cause::Policy { policy, fate, .. } = cause else { panic!("{}", case()) };
                let change = preview.change_of(policy).unwrap_or_else(|| panic!("{}", case()));
                // A policy for hosts alone is none for the engine.
                let (was, would_be) = (enforced.policy(&change.enforced()), change.policy());
                let expected = match fate {
                    Fate::Added => (false, true),
                    Fate::Removed => (true, false),
                    Fate::Changed => (true, true),
                };
                assert_eq!((was.is_some(), would_be.is_some()), expected, "{}", case());
                fates[*fate as usize] += 1;
            }
        }
    }
    assert!(fates.iter().all(|n| *n > 100), "{fates:?}");
}
