//! Sorted maps whose copies share what is the same, and tell quickly where they differ.
//!
//! A cluster, a plan and a table are values: each step makes the next from the last and keeps both. With these maps a
//! copy costs nothing, a change costs the way from the root to one leaf, and two copies are compared by looking only at
//! what they do not share. So whoever asks "what is new?" is answered in the time that the news took to write, and
//! nobody has to keep a list of changes beside the state, which could disagree with it.
//!
//! Two maps that were made apart are compared entry by entry, with the same answer.

mod changes;
mod iter;
mod map;
mod set;

pub use changes::Changed;
pub use iter::Iter;
pub use map::Map;
pub use set::{Members, Set};
