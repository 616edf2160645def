//! The engine from outside: clusters in, verdicts out.

mod addresses;
mod deltas;
mod nearest;
mod reference;
mod sequence;
mod stack;
mod tiers;
