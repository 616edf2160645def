//! The engine from outside: clusters in, verdicts out.

mod addresses;
mod apis;
mod deltas;
mod hosts;
mod nearest;
mod prepared;
mod reference;
mod sequence;
mod stack;
mod tiers;
