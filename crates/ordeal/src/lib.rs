//! What bytes from outside are put through: for tests and fuzzing only.
//!
//! An [`Ordeal`] takes any bytes and panics when a reader breaks a promise: that what it says about places is inside the
//! text, that what it read can be written and read again, that there is an error or a value. The targets under `fuzz/`
//! are these functions and nothing else; `tests/replay.rs` puts the kept seeds through them, and mutations of the seeds.

mod flows;
mod manifest;
pub mod mutation;
mod name;
mod wire;

/// A name, which is also that of the folder with its seeds, and what is done.
pub type Ordeal = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Ordeal; 8] = [
    ("manifests", manifest::manifests),
    ("cases", manifest::cases),
    ("names", name::names),
    ("selectors", name::selectors),
    ("nftables", wire::nftables),
    ("events", wire::events),
    ("links", wire::links),
    ("flows", flows::flows),
];

/// The ordeal of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> fn(&[u8]) {
    ALL.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no ordeal {name}")).1
}
