//! YAML and JSON to objects, with source spans, API-server validation and cases.

pub mod case;
mod classify;
mod decode;
mod diagnostic;
mod document;
mod files;
mod json;
mod load;
mod objectset;
pub mod patch;
mod scalar;
mod skipped;
mod source;
mod span;
mod store;
mod tab;
mod validation;
mod value;
pub mod write;
mod yaml;

pub use diagnostic::{Diagnostic, DiagnosticLine, Severity};
pub use document::{Origin, SourceMap};
pub use files::{Disk, Entry, Files, Memory};
pub use load::{LoadOptions, Loaded, LoadedObject, load};
pub use objectset::{Expansion, ObjectSet, STAGED_NOTE};
pub use source::{Place, SourceFile};
pub use store::{Store, StoreError};
pub use validation::{Cause, Reason, Refusal};
