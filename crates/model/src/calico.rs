//! Calico's API (`projectcalico.org/v3`).

mod parse;
mod selector;

pub use parse::{MAX_DEPTH, MAX_KEY, SelectorError};
pub use selector::{Comparison, Selector};
