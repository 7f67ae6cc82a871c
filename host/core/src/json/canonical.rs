//! One text for all texts that mean the same value to Python.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Json, JsonPart, write_json_string};

impl Json {
    /// The value's canonical text: members sorted by name and the last of a name only, as Python
    /// reads them; no space; strings escaped in one way; floats in their shortest form and never as
    /// integers. Integers keep all their digits; `NaN` and the infinities stay what they are.
    pub fn canonical(&self) -> String {
        let mut text = String::with_capacity(self.as_str().len());
        write(&mut text, self.as_part());
        text
    }
}

fn write(text: &mut String, value: JsonPart<'_>) {
    match value.as_str().as_bytes().first() {
        Some(b'{') => write_object(text, value),
        Some(b'[') => {
            text.push('[');
            let mut separator = "";
            value.each_element(|element| {
                text.push_str(separator);
                separator = ",";
                write(text, element);
            });
            text.push(']');
        }
        Some(b'"') => write_string(text, value),
        Some(b'-' | b'0'..=b'9') => write_number(text, value.as_str()),
        _ => text.push_str(value.as_str()),
    }
}

fn write_object(text: &mut String, value: JsonPart<'_>) {
    let mut members = BTreeMap::new();
    value.each_quoted_member(|name, value| {
        let mut canonical = String::with_capacity(name.len());
        if let Ok(name) = JsonPart::parse(name) {
            write_string(&mut canonical, name);
        }
        members.insert(canonical, value);
    });
    text.push('{');
    for (position, (name, value)) in members.into_iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(&name);
        text.push(':');
        write(text, value);
    }
    text.push('}');
}

fn write_string(text: &mut String, value: JsonPart<'_>) {
    match (value.as_text(), value.inside_quotes()) {
        // What stands for it may be a surrogate without its partner, which no text can hold.
        (Some(Cow::Owned(unescaped)), Some(inside)) if unescaped.contains('\u{fffd}') => {
            text.push('"');
            for unit in char::decode_utf16(units(inside)) {
                let mut quoted = String::new();
                match unit {
                    Ok(character) => {
                        write_json_string(&mut quoted, character.encode_utf8(&mut [0; 4]));
                    }
                    // Writing to a string cannot fail.
                    Err(lone) => drop(write!(quoted, "\"\\u{:04x}\"", lone.unpaired_surrogate())),
                }
                text.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
            }
            text.push('"');
        }
        (Some(unescaped), _) => write_json_string(text, &unescaped),
        (None, _) => text.push_str(value.as_str()),
    }
}

/// The UTF-16 of the inside of a checked string.
fn units(inside: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        let escaped = (character == '\\').then(|| after.chars().next()).flatten();
        let digits = escaped.filter(|it| *it == 'u').and_then(|_| after.get(1..5));
        if let Some(unit) = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            units.push(unit);
            rest = after.get(5..).unwrap_or_default();
        } else {
            let meant = match escaped {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => character,
            };
            units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
            rest = after.get(escaped.map_or(0, char::len_utf8)..).unwrap_or_default();
        }
    }
    units
}

fn write_number(text: &mut String, number: &str) {
    match number {
        "-Infinity" => text.push_str(number),
        "-0" => text.push('0'),
        _ if number.contains(['.', 'e', 'E']) => match number.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                // Writing to a string cannot fail.
                let _ = write!(text, "{value:?}");
            }
            _ if number.starts_with('-') => text.push_str("-Infinity"),
            _ => text.push_str("Infinity"),
        },
        _ => text.push_str(number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::Json;

    fn canonical(text: &str) -> String {
        Json::parse(text).unwrap().canonical()
    }

    #[test]
    fn what_python_reads_alike_is_written_alike() {
        for (one, other) in [
            (r#"{"b": 1, "a": [ 2 , null ]}"#, r#"{"a":[2,null],"b":1}"#),
            (r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#),
            (r#""\u00e9\/\ud83d\ude00""#, r#""é/😀""#),
            (r#"{"\u0061": true}"#, r#"{"a": true}"#),
            ("1e2", "100.0"),
            ("-0", "0"),
            ("1e999", "Infinity"),
            ("-1e999", "-Infinity"),
            (r#""\uD800x""#, r#""\ud800x""#),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    #[test]
    fn what_python_tells_apart_is_told_apart() {
        for (one, other) in [
            ("1", "1.0"),
            ("1", "\"1\""),
            ("-0.0", "0.0"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            ("NaN", "Infinity"),
            ("NaN", "\"NaN\""),
            (r#""\ud800""#, r#""\ud801""#),
            (r#""\ud800A""#, r#""\ud800a""#),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#"["a", "b"]"#, r#"["a\", \"b"]"#),
            ("[[1], 2]", "[[1, 2]]"),
            ("null", "{}"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<i32>().prop_map(|eighths| (f64::from(eighths) / 8.0).into()),
            "[a-c\\\\\"é\u{1f33f}]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("[a-c\"\\\\]{0,2}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_text_is_the_same_value_and_canonical(value in value()) {
            let once = canonical(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&once).unwrap(), value);
            prop_assert_eq!(canonical(&once), once);
        }
    }
}
