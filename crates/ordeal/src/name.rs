//! Short texts that stand for something: what is written reads as what it was.

use std::fmt::{Debug, Display};

use ipnet::IpNet;
use tortie_manifest::case::{Pattern, Probe};
use tortie_model::{ObjectRef, Protocol};
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

fn same<T: Display + Debug + PartialEq>(text: &str, read: impl Fn(&str) -> Option<T>) {
    if let Some(value) = read(text) {
        let written = value.to_string();
        assert_eq!(read(&written), Some(value), "{text:?} is written as {written:?}");
    }
}
