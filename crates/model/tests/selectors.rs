//! Calico's selectors: our own cases, random ones, and those that Calico's own parser answered.

use std::io::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use tortie_model::Labels;
use tortie_model::calico::{Comparison, MAX_DEPTH, MAX_KEY, Selector};

fn read(text: &str) -> Selector {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[test]
fn the_canonical_text_shows_how_a_selector_is_read() {
    for (text, canonical) in [
        ("", "all()"),
        (" \t", "all()"),
        ("role=='db'", r#"role == "db""#),
        ("a == 'x' || b == 'y' && c == 'z'", r#"(a == "x" || (b == "y" && c == "z"))"#),
        ("((has( a )))", "has(a)"),
        ("! ! has(a)", "has(a)"),
        ("!a != 'x'", r#"!a != "x""#),
        ("zone notin{'b','a','b',}", r#"zone not in {"a", "b"}"#),
        ("zone in {}", "zone in {}"),
        ("has startswith 'in' && in contains \"it's\"", r#"(has starts with "in" && in contains "it's")"#),
        (r#"a ends	with 'say "b"'"#, r#"a ends with 'say "b"'"#),
    ] {
        assert_eq!(read(text).to_string(), canonical, "{text:?}");
    }
}

#[test]
fn a_label_that_is_missing_meets_what_denies() {
    let (none, some) = (Labels::default(), labels(&[("k", "abc")]));
    for (text, on_none, on_some) in [
        ("k == 'abc'", false, true),
        ("k != 'abc'", true, false),
        ("k in {'abc'}", false, true),
        ("k not in {'abc'}", true, false),
        ("k contains 'b'", false, true),
        ("k starts with 'ab'", false, true),
        ("k ends with 'ab'", false, false),
        ("!(k contains 'b')", true, false),
        ("has(k)", false, true),
        ("all() && global()", true, true),
        ("has(k) && has(j) || !has(j)", true, true),
    ] {
        assert_eq!((read(text).evaluate(&none), read(text).evaluate(&some)), (on_none, on_some), "{text}");
    }
}

/// Calico's tools give sets these names.
#[test]
fn ids_are_those_of_calico() {
    assert_eq!(read("all()").unique_id(), "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug");
    assert_eq!(read("!(has(b) || !has(a))").unique_id(), "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q");
}

#[test]
fn errors_point_at_the_character() {
    for (text, character, message) in [
        ("a = 'b'", 3, "expected `==`"),
        ("a == b", 6, "expected a value in quotes, found `b`"),
        ("a == 'b", 6, "the quote is not closed"),
        ("a == 'ü' & b", 10, "expected `&&`, `||` or the end, found `&`"),
        ("has (a)", 5, "expected `==`"),
        ("(a == 'b'", 10, "expected `)`, found the end"),
        ("has(a) &&", 10, "expected the key of a label"),
        ("has(a) &&\nhas(b)", 10, "expected the key of a label"),
        ("a in {'b' 'c'}", 11, "expected `,` or `}`"),
        ("a in {,}", 7, "expected a value in quotes"),
        ("'a' == 'b'", 1, "expected the key of a label"),
        ("a containsx 'b'", 3, "expected `==`"),
    ] {
        let error = text.parse::<Selector>().expect_err(text);
        assert_eq!(error.character, character, "{text:?}: {error}");
        assert!(error.message().starts_with(message), "{text:?}: {error}");
    }
}

#[test]
fn bounds_hold_and_no_text_is_too_much() {
    let nested = |n: usize| format!("{}has(a){}", "(".repeat(n), ")".repeat(n));
    assert_eq!(read(&nested(MAX_DEPTH)).to_string(), "has(a)");
    let error = nested(MAX_DEPTH + 1).parse::<Selector>().expect_err("too deep");
    assert_eq!(error.at, MAX_DEPTH);
    assert!(format!("has({})", "k".repeat(MAX_KEY)).parse::<Selector>().is_ok());
    assert!(format!("has({})", "k".repeat(MAX_KEY + 1)).parse::<Selector>().is_err());
    assert!("(!".repeat(1 << 20).parse::<Selector>().is_err());
    assert_eq!(read(&format!("{}has(a)", "!".repeat((1 << 20) + 1))).to_string(), "!has(a)");
}

fn key() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just("a"), Just("in"), Just("has"), Just("not"), Just("x.y/z-1")].prop_map(Into::into)
}

fn value() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just(""), Just("a"), Just("ab"), Just("it's"), Just("\"b\""), Just("ü\n")].prop_map(Into::into)
}

fn values() -> impl Strategy<Value = Vec<Arc<str>>> {
    prop::collection::btree_set(value(), 0..4).prop_map(|set| set.into_iter().collect())
}

fn selector() -> impl Strategy<Value = Selector> {
    let comparison = prop_oneof![
        value().prop_map(Comparison::Equal),
        value().prop_map(Comparison::NotEqual),
        value().prop_map(Comparison::Contains),
        value().prop_map(Comparison::StartsWith),
        value().prop_map(Comparison::EndsWith),
        values().prop_map(Comparison::In),
        values().prop_map(Comparison::NotIn),
    ];
    let leaf = prop_oneof![
        Just(Selector::All),
        Just(Selector::Global),
        key().prop_map(Selector::Has),
        (key(), comparison).prop_map(|(k, c)| Selector::Compare(k, c)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let not = inner.clone().prop_map(|s| match s {
            // Two of them in a row are none.
            Selector::Not(inner) => *inner,
            other => Selector::Not(Box::new(other)),
        });
        let many = prop::collection::vec(inner, 2..4);
        prop_oneof![not, many.clone().prop_map(Selector::And), many.prop_map(Selector::Or)]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_as_what_it_was(selector in selector()) {
        prop_assert_eq!(read(&selector.to_string()), selector);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_character(text in r#"[ahsin(){}!&|='",\t ü.]{0,40}"#) {
        match text.parse::<Selector>() {
            Ok(selector) => prop_assert_eq!(read(&selector.to_string()).to_string().replace("!!", ""), selector.to_string().replace("!!", "")),
            Err(error) => prop_assert!(text.is_char_boundary(error.at) && error.at <= text.len()),
        }
    }
}

#[test]
fn calico_reads_and_names_selectors_alike() {
    let text = match tortie_testkit::corpora::suite("calico-selectors") {
        Ok(text) => text,
        // Past the test harness, which keeps the output of tests that pass to itself.
        Err(why) => return drop(writeln!(std::io::stderr(), "{why}")),
    };
    let mut wrong = Vec::new();
    let mut cases = 0;
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record is JSON");
        let (id, selector) = (&record["id"], record["selector"].as_str().expect("a selector").parse::<Selector>());
        let valid = record["valid"].as_bool().unwrap_or(true);
        let selector = match selector {
            Ok(selector) if valid => selector,
            Err(_) if !valid => continue,
            other => {
                wrong.push(format!("{id}: valid {valid}, ours {other:?}"));
                continue;
            }
        };
        for (field, ours) in [("canonical", selector.to_string()), ("unique_id", selector.unique_id())] {
            if record.get(field).is_some_and(|theirs| *theirs != *ours) {
                wrong.push(format!("{id}: {field} {}, ours {ours}", record[field]));
            }
        }
        let one = std::slice::from_ref(&record);
        for case in record["cases"].as_array().map_or(one, Vec::as_slice) {
            let map = case["labels"].as_object().expect("labels");
            let labels: Labels = map.iter().map(|(k, v)| (k.as_str(), v.as_str().expect("a value"))).collect();
            cases += 1;
            if case["expected"] != selector.evaluate(&labels) {
                wrong.push(format!("{id}: {selector} on {labels:?}: expected {}", case["expected"]));
            }
        }
    }
    assert!(cases > 1000, "{cases} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
