//! Mistakes in policies that the API server accepts.
//!
//! ```text
//! Snapshot ─▶ Scene: policies with whom they select ─▶ lints, family by family ─▶ findings ─▶ allowed here? how grave?
//! ```
//!
//! A [`Finding`] stands at a place and names its [`Lint`]; where it claims that packets pass or do not, it carries a
//! [`Witness`], whose verdict is the engine's. What is said to change nothing was taken away and the engine asked again.
//! A lint that needs pods says nothing where the input has none.

mod allow;
mod blocks;
mod catalogue;
mod config;
mod coverage;
mod finding;
mod fix;
mod matching;
mod oneside;
mod order;
mod ports;
mod redundancy;
mod scene;
mod shape;
mod staged;

pub use allow::Allows;
pub use catalogue::{LINTS, Level, Lint, lint, nearest};
pub use config::{Config, ConfigError};
pub use finding::{Finding, FindingLine, Fix, Witness};
pub use fix::{Fixed, apply_fixes};

use scene::Scene;
use tortie_analysis::snapshot::Snapshot;

/// All findings in a cluster, those of every lint, in the order of files and places.
#[must_use]
pub fn lint_all(snapshot: &Snapshot) -> Vec<Finding> {
    let mut objects = snapshot.objects.clone();
    if !objects.pods.is_empty() {
        objects.add_cluster_dns();
    }
    let scene = Scene::new(snapshot, &objects);
    let mut out = Vec::new();
    for family in [
        shape::look,
        matching::look,
        ports::look,
        blocks::look,
        coverage::look,
        order::look,
        redundancy::look,
        oneside::look,
        staged::look,
    ] {
        family(&scene, &mut out);
    }
    let said: Vec<_> = out.iter().filter_map(|f| Some((f.object()?.clone(), f.replaces.clone()?))).collect();
    out.retain(|f| !said.iter().any(|(object, at)| f.object() == Some(object) && f.pointer.starts_with(at)));
    let place = |f: &Finding| {
        let place = f.diagnostic.place.as_ref();
        (place.map(|p| p.file.name().clone()), place.map(|p| p.span.start), f.lint.id)
    };
    out.sort_by_cached_key(place);
    out
}
