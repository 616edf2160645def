//! YAML and JSON to objects, with source spans, API-server validation and cases.

mod classify;
mod decode;
mod diagnostic;
mod document;
mod files;
mod json;
mod load;
mod scalar;
mod source;
mod span;
mod validation;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use document::Origin;
pub use files::{Disk, Entry, Files, Memory};
pub use load::{LoadOptions, Loaded, LoadedObject, load};
pub use source::{Place, SourceFile};
pub use validation::{Cause, Reason, Refusal};
