//! Short texts that stand for something: what is written reads as what it was.

use std::fmt::{Debug, Display};

use ipnet::IpNet;
use tortie_manifest::case::{Pattern, Probe};
use tortie_model::calico::{MAX_DEPTH, Selector};
use tortie_model::{Labels, ObjectRef, Protocol};
use tortie_plan::nft::prefix::Prefix;

/// Every line is read as a name of each kind.
pub(crate) fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().take(64) {
        same(line, |t| t.parse::<ObjectRef>().ok());
        same(line, |t| t.parse::<Prefix>().ok());
        same(line, |t| t.parse::<Protocol>().ok());
        same(line, |t| t.parse::<IpNet>().ok());
        assert_eq!(Pattern::parse(line), Pattern::parse(line));
        for probe in Probe::parse(line).unwrap_or_default() {
            let again = Probe::parse(&probe.to_string());
            assert_eq!(again.as_deref(), Ok(&[probe][..]), "{line:?}");
        }
    }
}

/// Every line is read as a selector of Calico's, and its canonical text as a selector that means the same.
pub(crate) fn selectors(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let labels: Labels = [("app", "web"), ("in", ""), ("has", "a b")].into_iter().collect();
    for line in text.split('\n').take(64) {
        match line.parse::<Selector>() {
            Err(error) => assert!(line.is_char_boundary(error.at) && error.character <= line.chars().count() + 1),
            Ok(selector) => {
                let written = selector.to_string();
                // The canonical text shows parentheses that the precedence of operators spares.
                let Ok(again) = written.parse::<Selector>() else {
                    assert!(written.matches('(').count() > MAX_DEPTH, "{line:?} is written as {written:?}");
                    continue;
                };
                for labels in [&labels, &Labels::default()] {
                    assert_eq!(selector.evaluate(labels), again.evaluate(labels), "{line:?} is {written:?}");
                }
            }
        }
    }
}

fn same<T: Display + Debug + PartialEq>(text: &str, read: impl Fn(&str) -> Option<T>) {
    if let Some(value) = read(text) {
        let written = value.to_string();
        assert_eq!(read(&written), Some(value), "{text:?} is written as {written:?}");
    }
}
