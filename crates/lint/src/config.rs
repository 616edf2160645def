//! `tortie.toml`: how grave findings are here.
//!
//! ```toml
//! [lints]
//! one-sided = "error"
//! world-open = "allow"
//!
//! [[override]]                 # later ones win
//! path = "legacy/*"            # `*` stands for anything, `/` included
//! namespace = "kube-system"    # both must match, where both are written
//! lints = { every-namespace = "allow" }
//! ```

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wildmatch::WildMatch;

use crate::catalogue::{LINTS, Level, Lint, lint, nearest};
use crate::finding::Finding;

/// Levels that differ from the default ones.
#[derive(Clone, Debug, Default)]
pub struct Config {
    lints: BTreeMap<&'static str, Level>,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug)]
struct Override {
    path: Option<WildMatch>,
    namespace: Option<WildMatch>,
    lints: BTreeMap<&'static str, Level>,
}

/// What is wrong with a `tortie.toml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no TOML, or has fields that nobody reads.
    #[error("{0}")]
    Toml(String),
    /// No lint has this name.
    #[error("no lint is called `{id}`{}", .near.map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Lint {
        /// As it is written.
        id: String,
        /// The nearest one.
        near: Option<&'static str>,
    },
    /// Nothing is so grave.
    #[error("`{id}` cannot be `{level}`: write allow, note, warning or error")]
    Level {
        /// The lint.
        id: String,
        /// As it is written.
        level: String,
    },
}

/// How grave findings are here.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// Levels that differ from the default ones.
    #[serde(default)]
    #[schemars(schema_with = "levels_schema")]
    lints: BTreeMap<String, String>,
    /// Levels for some paths and namespaces; later ones win.
    #[serde(default, rename = "override")]
    overrides: Vec<FileOverride>,
}

/// Levels for some paths and namespaces; both must match, where both are written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileOverride {
    /// Paths of files; `*` stands for anything, `/` included.
    path: Option<String>,
    /// Namespaces of objects, with `*`.
    namespace: Option<String>,
    /// Levels that differ from the others.
    #[schemars(schema_with = "levels_schema")]
    lints: BTreeMap<String, String>,
}

/// Every lint, with what it finds, at one of the levels.
fn levels_schema(_: &mut SchemaGenerator) -> Schema {
    let level = |lint: &Lint| {
        let found = format!("{} ({} unless it is written here)", lint.summary, lint.level.as_str());
        (lint.id.to_owned(), json!({"description": found, "$ref": "#/$defs/Level"}))
    };
    let lints: Map<String, Value> = LINTS.iter().map(level).collect();
    json_schema!({"type": "object", "properties": lints, "additionalProperties": false})
}

fn levels(read: BTreeMap<String, String>) -> Result<BTreeMap<&'static str, Level>, ConfigError> {
    read.into_iter()
        .map(|(id, level)| {
            let known = named(&id)?;
            let level = Level::named(&level).ok_or(ConfigError::Level { id, level })?;
            Ok((known.id, level))
        })
        .collect()
}

fn named(id: &str) -> Result<&'static Lint, ConfigError> {
    lint(id).ok_or_else(|| ConfigError::Lint { id: id.to_owned(), near: nearest(id) })
}

impl Config {
    /// The JSON Schema of `tortie.toml`, for editors.
    #[must_use]
    pub fn schema() -> Schema {
        let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
        let names = Level::NAMES.map(|(name, _)| name);
        let level = json!({"description": "How grave its findings are.", "enum": names});
        if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
            definitions.insert("Level".to_owned(), level);
        }
        schema
    }

    /// Reads the text of a `tortie.toml`.
    ///
    /// # Errors
    /// When it is not understood.
    pub fn read(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|e| ConfigError::Toml(e.to_string().trim_end().to_owned()))?;
        let overrides = file.overrides.into_iter().map(|o| {
            let pattern = |p: Option<String>| p.map(|p| WildMatch::new(&p));
            Ok(Override { path: pattern(o.path), namespace: pattern(o.namespace), lints: levels(o.lints)? })
        });
        Ok(Self { overrides: overrides.collect::<Result<_, _>>()?, lints: levels(file.lints)? })
    }

    /// The same with one lint at another level, whatever else is said of it.
    ///
    /// # Errors
    /// When no lint has this name.
    pub fn set(&mut self, id: &str, level: Level) -> Result<(), ConfigError> {
        let id = named(id)?.id;
        self.overrides.push(Override { path: None, namespace: None, lints: [(id, level)].into() });
        Ok(())
    }

    /// How grave a finding is.
    #[must_use]
    pub fn level(&self, finding: &Finding) -> Level {
        let id = finding.lint.id;
        let path = finding.diagnostic.place.as_ref().map(|p| p.file.name().clone()).unwrap_or_default();
        let namespace = finding.object().map(tortie_model::ObjectRef::namespace_str).unwrap_or_default();
        let applies = |o: &&Override| {
            o.path.as_ref().is_none_or(|p| p.matches(&path))
                && o.namespace.as_ref().is_none_or(|n| n.matches(namespace))
        };
        let last = self.overrides.iter().filter(applies).rev().find_map(|o| o.lints.get(id));
        last.or_else(|| self.lints.get(id)).copied().unwrap_or(finding.lint.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told() {
        let error = |text: &str| Config::read(text).expect_err(text).to_string();
        assert_eq!(
            error("[lints]\npeers-appart = \"note\""),
            "no lint is called `peers-appart`; did you mean peers-apart?"
        );
        assert_eq!(
            error("[lints]\npeers-apart = \"loud\""),
            "`peers-apart` cannot be `loud`: write allow, note, warning or error"
        );
        assert!(error("[lint]\n").contains("unknown field `lint`"), "{}", error("[lint]\n"));
    }
}
