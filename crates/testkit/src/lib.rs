//! Builders, the reference evaluator, random clusters: for tests only.
