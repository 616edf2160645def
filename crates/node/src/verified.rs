//! What a node's kernel was found to hold.

use tortie_dataplane::Difference;
use tortie_plan::Path;
use tortie_proof::Proof;

/// What a node's kernel does with every packet, against the engine, and what it holds, against what was put there.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// What becomes of packets; `None` when there is no table, so that nothing becomes of any.
    pub proof: Option<Proof>,
    /// How the table differs from the one that was put there, whether or not any packet meets the difference.
    pub differences: Vec<Difference>,
}

impl Verified {
    /// Whether every packet is judged as the engine does, by just what was put there.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.differences.is_empty() && self.proof.as_ref().is_some_and(Proof::holds)
    }

    /// Every finding in words, packets first.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let packets = self.proof.iter().flat_map(Proof::findings);
        packets.chain(self.differences.iter().map(ToString::to_string)).collect()
    }

    /// Adds where the policies are written that packets miss.
    pub fn locate(&mut self, place: impl Fn(&Path) -> Option<String>) {
        let witnesses = self.proof.iter_mut().flat_map(|proof| &mut proof.witnesses);
        for blame in witnesses.flat_map(|w| &mut w.blame).flatten() {
            blame.place = blame.decides.as_ref().and_then(|path| place(path));
        }
    }
}
