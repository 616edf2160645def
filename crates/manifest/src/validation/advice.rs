//! What was probably meant by what the API server refuses. Its own texts stay as they are: this is the help below them.

use super::schema::{Shape, Struct};
use super::sloppy_cidr;
use crate::classify::alike;
use crate::value::Map;

/// What was meant by a field that its struct does not have. `map` is the value that it stands in.
pub(super) fn unknown_field(holder: &Struct, map: &Map<'_>, key: &str) -> String {
    let fields = holder.fields;
    if let Some((name, _)) = fields.iter().find(|(name, _)| !map.contains_key(name) && alike(key, name)) {
        return format!("did you mean `{name}`?");
    }
    // The commonest mistake of indentation: a field one level too far out.
    let inner = |shape: &Shape| match shape {
        Shape::Struct(inner) => Some((*inner, false)),
        Shape::List(_, Shape::Struct(inner)) => Some((*inner, true)),
        _ => None,
    };
    let has = |shape: &Shape| inner(shape).filter(|(s, _)| s.fields.iter().any(|(name, _)| *name == key));
    let mut homes = fields.iter().filter_map(|(name, shape)| Some((*name, has(shape)?.1)));
    let is_written = |(name, _): &(&str, bool)| map.contains_key(name);
    let first = homes.clone().find(is_written).or_else(|| homes.next());
    match first {
        Some((home, true)) => format!("`{key}` belongs into an item of `{home}`: indent it"),
        Some((home, false)) => format!("`{key}` belongs into `{home}`: indent it"),
        None => {
            let names = fields.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            format!("what may stand here: {names}")
        }
    }
}

/// What was meant by a value that is not valid: the text of the refusal, and the value as it is written.
pub(crate) fn invalid_value(message: &str, written: &str) -> Option<String> {
    let bare = written.trim_matches(['"', '\'']);
    if bare.contains("{{") {
        return Some("this looks like a Helm template: render it with `helm template` first".to_owned());
    }
    if message.ends_with("not a valid selector operator") {
        return Some("operators are `In`, `NotIn`, `Exists` and `DoesNotExist`".to_owned());
    }
    if message.ends_with("must contain at least one letter (a-z)") && bare.parse::<u16>().is_ok() {
        return Some(format!("text is the name of a port; for the number write {bare} without quotes"));
    }
    if message.ends_with("must not have bits set beyond the prefix length") {
        let block = sloppy_cidr(bare)?;
        let (address, _) = bare.split_once('/')?;
        let most = block.network().max_prefix_len();
        return Some(format!("write {} for the whole block, or {address}/{most} for the one address", block.network()));
    }
    if message.contains("must be a valid CIDR value")
        && let Ok(address) = bare.parse::<std::net::IpAddr>()
    {
        let most = if address.is_ipv4() { 32 } else { 128 };
        return Some(format!("write {bare}/{most} for the one address"));
    }
    None
}

/// What was meant by a value of another type.
pub(crate) fn wrong_type(message: &str, written: &str) -> Option<String> {
    if message.ends_with("of type string") && !written.is_empty() && !written.contains(['\n', '"', '\'', '{', '[']) {
        return Some(format!("YAML takes `{written}` for something else than text: write \"{written}\""));
    }
    if message.contains("cannot unmarshal object into") && message.contains("of type []") {
        return Some("this is a list: each item begins with a dash (`- `)".to_owned());
    }
    if message.contains("cannot unmarshal array into") && !message.contains("of type []") {
        return Some("this is no list: leave the dash (`- `) out".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use tortie_model::Kind;

    use super::*;
    use crate::value::Value;

    fn advice(spec: serde_json::Value) -> Option<String> {
        let value: Value<'_> = serde_json::json!({ "metadata": { "name": "p" }, "spec": spec }).into();
        match super::super::validate(Kind::NetworkPolicy, &value, &[]) {
            Err(super::super::Refusal::Strict { advice, .. }) => advice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_misspelt_or_misplaced_field_is_told_from_one_that_does_not_exist() {
        use serde_json::json;
        for (spec, expected) in [
            (json!({ "podSelectr": {} }), "did you mean `podSelector`?"),
            (json!({ "podSelector": {}, "Ingress": [] }), "did you mean `ingress`?"),
            (json!({ "podSelector": null, "matchLabels": {} }), "`matchLabels` belongs into `podSelector`: indent it"),
            (json!({ "podSelector": {}, "egress": [], "to": [] }), "`to` belongs into an item of `egress`: indent it"),
            (json!({ "podSelector": {}, "ports": [] }), "`ports` belongs into an item of `ingress`: indent it"),
            (
                json!({ "podSelector": {}, "egress": [], "ports": [] }),
                "`ports` belongs into an item of `egress`: indent it",
            ),
            (json!({ "priority": 1 }), "what may stand here: `podSelector`, `ingress`, `egress`, `policyTypes`"),
        ] {
            assert_eq!(advice(spec.clone()).as_deref(), Some(expected), "{spec}");
        }
    }

    #[test]
    fn values_that_are_nearly_right_are_written_right() {
        let bits = "must not have bits set beyond the prefix length";
        let cidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        for (message, written, expected) in [
            (bits, "10.1.2.3/8", Some("write 10.0.0.0/8 for the whole block, or 10.1.2.3/32 for the one address")),
            (
                bits,
                "\"2001:db8::1/32\"",
                Some("write 2001:db8::/32 for the whole block, or 2001:db8::1/128 for the one address"),
            ),
            (cidr, "10.1.2.3", Some("write 10.1.2.3/32 for the one address")),
            (cidr, "10.1.2.x", None),
            (
                "must contain at least one letter (a-z)",
                "\"80\"",
                Some("text is the name of a port; for the number write 80 without quotes"),
            ),
            ("must contain at least one letter (a-z)", "\"8-0\"", None),
        ] {
            assert_eq!(invalid_value(message, written).as_deref(), expected, "{message} {written}");
        }
        let list = "json: cannot unmarshal object into Go struct field NetworkPolicySpec.spec.ingress of type []v1.X";
        assert!(wrong_type(list, "ingress").is_some_and(|a| a.contains("dash")));
    }
}
