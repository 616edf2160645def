//! The records of a suite, what became of each, and the differences that are known and why they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tortie_testkit::corpora;

/// How many answers were compared, and whose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) engine: usize,
    pub(crate) plan: usize,
    /// Answers that differ and are known to, by the class of records that they are in.
    pub(crate) deviations: BTreeMap<&'static str, usize>,
}

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Finding {
    /// So many answers, all as expected.
    Agrees(Answers),
    /// It asks for something that is not decided here.
    OutOfScope(&'static str),
    /// What differs, a line each.
    Differs(Vec<String>),
}

impl Finding {
    /// The finding of a record of which so many answers were compared.
    pub(crate) fn of(answers: Answers, differences: Vec<String>) -> Self {
        if differences.is_empty() { Self::Agrees(answers) } else { Self::Differs(differences) }
    }
}

/// A difference that is known: theirs, and not to be followed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// The record.
    pub(crate) record: String,
    /// Which rows of it, where the others are followed: those that another crate's tests are about.
    #[serde(default)]
    rows: Option<String>,
    /// What kind of difference it is.
    pub(crate) class: String,
    /// Why ours is right.
    pub(crate) reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

/// The known differences, by record.
pub(crate) fn exceptions() -> BTreeMap<String, Exception> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/exceptions.toml");
    let text = std::fs::read_to_string(&path).expect("conformance/exceptions.toml is part of the repository");
    let parsed: Exceptions = toml::from_str(&text).expect("it is valid");
    let empty = |e: &&Exception| e.class.is_empty() || e.reason.is_empty();
    assert!(parsed.exception.iter().find(empty).is_none(), "an exception has a class and a reason");
    parsed.exception.into_iter().filter(|e| e.rows.is_none()).map(|e| (e.record.clone(), e)).collect()
}

/// What became of the records of a suite.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    suite: &'static str,
    /// Why there are no records.
    pub(crate) missing: Option<String>,
    /// Records that agree, and answers in them.
    pub(crate) agree: usize,
    pub(crate) answers: Answers,
    /// Records that differ and are known to.
    pub(crate) excepted: BTreeSet<String>,
    out_of_scope: BTreeMap<&'static str, usize>,
    /// Records that differ, with what differs.
    pub(crate) wrong: Vec<String>,
    /// Exceptions for records that agree.
    pub(crate) stale: Vec<String>,
}

impl Tally {
    /// Judges every record of a suite.
    pub(crate) fn take(
        suite: &'static str,
        exceptions: &BTreeMap<String, Exception>,
        judge: impl Fn(&Value) -> Finding,
    ) -> Self {
        let mut tally = Self { suite, ..Self::default() };
        let text = match corpora::suite(suite) {
            Ok(text) => text,
            Err(missing) => return Self { missing: Some(missing), ..tally },
        };
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("a record is JSON");
            let id = record["id"].as_str().expect("a record has an id");
            match judge(&record) {
                Finding::Agrees(answers) => {
                    tally.agree += 1;
                    tally.answers.engine += answers.engine;
                    tally.answers.plan += answers.plan;
                    for (class, n) in answers.deviations {
                        *tally.answers.deviations.entry(class).or_default() += n;
                    }
                    if exceptions.contains_key(id) {
                        tally.stale.push(id.to_owned());
                    }
                }
                Finding::OutOfScope(class) => *tally.out_of_scope.entry(class).or_default() += 1,
                Finding::Differs(_) if exceptions.contains_key(id) => {
                    tally.excepted.insert(id.to_owned());
                }
                Finding::Differs(lines) => {
                    let shown = lines.iter().take(8).map(|l| format!("\n    {l}")).collect::<String>();
                    tally.wrong.push(format!("{id}: {} differences{shown}", lines.len()));
                }
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(missing) = &self.missing {
            return f.write_str(missing);
        }
        let Self { suite, agree, answers, .. } = self;
        write!(f, "{suite}: {agree} agree ({} answers), {} excepted", answers.engine, self.excepted.len())?;
        write!(f, ", {} differ, {} out of scope", self.wrong.len(), self.out_of_scope.values().sum::<usize>())?;
        for (class, n) in &answers.deviations {
            write!(f, "; {n} answers {class}")?;
        }
        for (class, n) in &self.out_of_scope {
            write!(f, "; {n} {class}")?;
        }
        Ok(())
    }
}
