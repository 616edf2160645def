//! What a YAML scalar is, as kubectl reads it: `sigs.k8s.io/yaml`, which is go-yaml v2 with YAML 1.1 rules
//! (`goyaml.v2/resolve.go`), and then JSON.

use std::borrow::Cow;

use serde_json::Number;

use crate::value::Value;

/// Why a scalar has no JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScalarError {
    #[error("`{0}` is no number that JSON can hold: quote it if text is meant")]
    NotFinite(String),
    #[error("null cannot be a key: quote it if text is meant")]
    NullKey,
}

/// The value of a plain (unquoted) scalar. `y`, `yes`, `on` and their opposites are booleans, `010` is octal, `1_000` a
/// thousand; a timestamp stays text.
pub(crate) fn plain(text: Cow<'_, str>) -> Result<Value<'_>, ScalarError> {
    let first = text.bytes().next();
    Ok(match first {
        None => Value::Null,
        Some(
            b'0'..=b'9'
            | b'+'
            | b'-'
            | b'.'
            | b'y'
            | b'Y'
            | b'n'
            | b'N'
            | b't'
            | b'T'
            | b'f'
            | b'F'
            | b'o'
            | b'O'
            | b'~',
        ) => {
            return special(text);
        }
        Some(_) => Value::String(text),
    })
}

fn special(text: Cow<'_, str>) -> Result<Value<'_>, ScalarError> {
    Ok(match &*text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return Err(ScalarError::NotFinite(text.into_owned())),
        _ => match number(&text) {
            Some(n) => Value::Number(n),
            None => Value::String(text),
        },
    })
}

/// `None` when the text is no number, or one beyond what a double holds.
fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain;
    let digits = if text.contains('_') && !text.starts_with('.') {
        plain = text.replace('_', "");
        &plain
    } else {
        text
    };
    if !text.starts_with('.')
        && let Some(n) = integer(digits)
    {
        return Some(n);
    }
    if !is_float(digits) {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    float(value)
}

/// Go's `strconv.ParseInt(s, 0, 64)`, then `ParseUint`: the prefix says the base, a leading zero is octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match rest.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &rest[2..]),
        [b'0', b'o' | b'O', ..] => (8, &rest[2..]),
        [b'0', b'b' | b'B', ..] => (2, &rest[2..]),
        [b'0', _, ..] => (8, &rest[1..]),
        _ => (10, rest),
    };
    // `from_str_radix` takes a sign of its own.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        return i64::try_from(-i128::from(magnitude)).ok().map(Number::from);
    }
    // An explicit plus is not taken by ParseUint.
    if text.starts_with('+') {
        return i64::try_from(magnitude).ok().map(Number::from);
    }
    Some(Number::from(magnitude))
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_float(text: &str) -> bool {
    let b = text.as_bytes();
    let digits = |mut i: usize| {
        while b.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let start = usize::from(matches!(b.first(), Some(b'-' | b'+')));
    let mut i = digits(start);
    let whole = i > start;
    if b.get(i) == Some(&b'.') {
        let fraction = digits(i + 1);
        if !whole && fraction == i + 1 {
            return false;
        }
        i = fraction;
    } else if !whole {
        return false;
    }
    if matches!(b.get(i), Some(b'e' | b'E')) {
        i += 1;
        i += usize::from(matches!(b.get(i), Some(b'-' | b'+')));
        let end = digits(i);
        if end == i {
            return false;
        }
        i = end;
    }
    i == b.len()
}

/// A float as Go's `json.Marshal` would write it and the reader take it: a whole number below 1e21 has no fraction.
#[allow(clippy::cast_possible_truncation)]
fn float(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        // Exact: a whole double below 2^53.
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// The key that a plain scalar is in a JSON object (`sigs.k8s.io/yaml`, `convertToJSONableObject`).
pub(crate) fn plain_key(text: Cow<'_, str>) -> Result<Cow<'_, str>, ScalarError> {
    Ok(match plain(text)? {
        Value::String(s) => s,
        Value::Bool(b) => b.to_string().into(),
        Value::Number(n) => n.to_string().into(),
        _ => return Err(ScalarError::NullKey),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_read_as_kubectl_reads_them() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("on", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("nO", json!("nO")),
            ("80", json!(80)),
            ("8_0", json!(80)),
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("0x10", json!(16)),
            ("0b101", json!(5)),
            ("-0b101", json!(-5)),
            ("08", json!(8)),
            ("1_000", json!(1000)),
            ("80.0", json!(80)),
            ("1e3", json!(1000)),
            ("80.5", json!(80.5)),
            (".5", json!(0.5)),
            ("+5", json!(5)),
            ("-", json!("-")),
            (".", json!(".")),
            ("1.2.3", json!("1.2.3")),
            ("10.0.0.0/8", json!("10.0.0.0/8")),
            ("2001:db8::/32", json!("2001:db8::/32")),
            ("2001-01-01", json!("2001-01-01")),
            ("1:30", json!("1:30")),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("0-5", json!("0-5")),
            ("--5", json!("--5")),
            ("nobody", json!("nobody")),
        ] {
            assert_eq!(plain(text.into()), Ok(Value::from(value)), "{text}");
        }
        assert!(plain(".inf".into()).is_err());
        assert_eq!(plain("1e999".into()), Ok(Value::String("1e999".into())));
    }

    #[test]
    fn keys_are_text() {
        assert_eq!(plain_key("on".into()).as_deref(), Ok("true"));
        assert_eq!(plain_key("1".into()).as_deref(), Ok("1"));
        assert_eq!(plain_key("~".into()), Err(ScalarError::NullKey));
    }
}
