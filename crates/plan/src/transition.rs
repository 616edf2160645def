//! From one plan to the next, so that every packet at any moment is decided by the old policies or by the new ones.

use crate::plan::Plan;

/// The plans that lie between the one that a node holds and the one that it shall hold.
///
/// A node takes the differences of consecutive plans in these phases, each in its own transaction:
///
/// 1. current to `withdrawn`: addresses and endpoints of pods that are gone are removed (fail closed: an address may
///    have been handed on). One transaction.
/// 2. `withdrawn` to `during`, in this order:
///    1. *downstream*: paths, rows, new profiles, then port classes, then classes (within hash maps one transaction);
///    2. *ranges*: the interval map;
///    3. *addresses* to identities;
///    4. *endpoints* to profiles, of both directions at once: from here on the new policies decide, except that an
///       endpoint which keeps its profile may still see the old labels of a pod until phase 4.
/// 3. A grace time, in which packets that are between two lookups finish.
/// 4. `during` to `after`: what is only there in `after` (nothing downstream: `during` holds it already), ranges,
///    addresses.
/// 5. A grace time.
/// 6. What `after` no longer holds is removed: classes, port classes and rows of profiles that nobody uses, paths,
///    identities.
///
/// Why it holds. Downstream of a number nothing ever changes: a class of a profile, a row, a path mean the same for
/// ever, and port classes only split, after the rows of the new ones are there. An address takes in phase 3 an
/// identity that the profiles which endpoints are about to leave judge as the old one, and the profiles which they are
/// about to enter as the new one. A packet looks up its profile before the identity of the other end, so that it meets
/// a new profile only with an identity of phase 3.
///
/// The promise is per direction: a packet that is under way while both ends change may meet the old egress and the new
/// ingress policies. Revocation after the transition sees to such connections. And it is not made to a packet that is
/// under way at a pod while that pod is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The current plan without the pods that are gone. Equal to it when none is.
    pub withdrawn: Plan,
    /// Old and new together: every endpoint has its new profile, and what the old ones need is still there. What is in
    /// force is in force only with `after`.
    pub during: Plan,
    /// The new plan alone.
    pub after: Plan,
}
