//! The engine: the only place where a verdict is decided.
