//! Recorded connections: what a change would newly deny, and the least policies that allow them.
//!
//! ```text
//! lines ──format──▶ Recording: flows, with what was seen of them ──▶ judge     which of them would turn, and why
//!                        │ Population: whom a record means          └▶ generate  the least policies that allow them
//! ```
//!
//! Verdicts are those of the engine; nothing is decided here.

pub mod format;
mod generate;
mod judge;
mod record;
mod resolve;

pub use format::{Format, read};
pub use generate::{By, GenerateError, Generated, Options, Uncovered, Witness, Written, generate};
pub use judge::{Judged, Turn, Turned, judge};
pub use record::{BadLine, Endpoint, Flow, Passed, Point, Record, Recording, Seen, Who};
pub use resolve::{End, Population, Unresolved};
