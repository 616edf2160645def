//! Findings as text, as JSON, as SARIF and as annotations.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tortie_manifest::{Place, Severity};

use super::Found;
use super::arguments::{Check, CheckFormat};
use crate::failure::Failure;
use crate::terminal;

pub(super) fn write(arguments: &Check, found: &[Found]) -> Result<(), Failure> {
    match arguments.output {
        CheckFormat::Text => {
            let told = |f: &&Found| arguments.notes || f.diagnostic().severity > Severity::Note;
            for one in found.iter().filter(told) {
                terminal::print(&format!("{}\n\n", text(one)))?;
            }
        }
        CheckFormat::Json => {
            for one in found {
                let line = serde_json::to_string(&one.line()).expect("a finding is plain data");
                terminal::print(&format!("{line}\n"))?;
            }
        }
        CheckFormat::Sarif => terminal::print(&format!("{:#}\n", sarif(found)))?,
        CheckFormat::Github => {
            for one in found {
                terminal::print(&annotation(one))?;
            }
        }
    }
    Ok(())
}

/// Drawn, with the packet that shows it.
fn text(found: &Found) -> String {
    let mut diagnostic = found.diagnostic().clone();
    if let Some(finding) = found.lint() {
        // The field is for programs: people see the place.
        diagnostic.field = String::new();
        let witness = finding.witness.as_ref().map(|w| format!("shown by: {w}"));
        let fix = finding.fix.as_ref().map(|f| format!("--fix can {}", f.title));
        let parts: Vec<String> = witness.into_iter().chain(diagnostic.help.take()).chain(fix).collect();
        diagnostic.help = (!parts.is_empty()).then(|| parts.join("\n"));
    }
    diagnostic.render(true)
}

fn region(place: &Place) -> Value {
    let (line, column) = (place.line(), place.column());
    let (end_line, end_column) = place.file.position(place.span.end.max(place.span.start));
    json!({"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column})
}

fn location(place: &Place) -> Value {
    let name = place.file.name().replace('\\', "/");
    json!({"physicalLocation": {"artifactLocation": {"uri": name}, "region": region(place)}})
}

/// SARIF 2.1.0 (OASIS), as code scanning takes it.
fn sarif(found: &[Found]) -> Value {
    let level = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut rules: BTreeMap<String, Value> = BTreeMap::new();
    for one in found {
        let id = one.diagnostic().id.to_string();
        let rule = match one.lint() {
            Some(finding) => json!({
                "id": id,
                "shortDescription": {"text": finding.lint.summary},
                "help": {"text": finding.lint.page, "markdown": finding.lint.page},
            }),
            None => json!({"id": id}),
        };
        rules.entry(id).or_insert(rule);
    }
    let numbers: BTreeMap<&str, usize> = rules.keys().map(String::as_str).zip(0..).collect();
    let result = |one: &Found| {
        let d = one.diagnostic();
        let mut message = d.text();
        if let Some(witness) = one.lint().and_then(|f| f.witness.as_ref()) {
            message.push_str(&format!(" ({witness})"));
        }
        let mut out = json!({
            "ruleId": d.id,
            "ruleIndex": numbers.get(d.id.as_ref()),
            "level": level(d.severity),
            "message": {"text": message},
            "locations": d.place.iter().map(location).collect::<Vec<_>>(),
        });
        if !d.labels.is_empty() {
            let related = |(n, (place, text)): (usize, &(Place, String))| {
                let mut out = location(place);
                out["id"] = json!(n);
                out["message"] = json!({"text": text});
                out
            };
            out["relatedLocations"] = d.labels.iter().enumerate().map(related).collect();
        }
        out
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tortie",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules.values().collect::<Vec<_>>(),
            }},
            "results": found.iter().map(result).collect::<Vec<_>>(),
            "columnKind": "unicodeCodePoints",
        }],
    })
}

/// A workflow command of GitHub Actions.
fn annotation(found: &Found) -> String {
    let d = found.diagnostic();
    let kind = match d.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let place = d.place.as_ref().map(|p| {
        let (line, _) = p.file.position(p.span.end.max(p.span.start));
        format!("file={},line={},col={},endLine={line},", property(p.file.name()), p.line(), p.column())
    });
    let witness = found.lint().and_then(|f| f.witness.as_ref()).map(|w| format!("\n{w}")).unwrap_or_default();
    let text = data(&format!("{}{witness}", d.text()));
    format!("::{kind} {}title={}::{text}\n", place.unwrap_or_default(), property(&d.id))
}
