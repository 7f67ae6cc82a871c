//! JSON text as YAML that Python's safe loader reads as the same values.
//!
//! JSON is YAML but for its edges: a float needs a dot and its exponent a sign, pairs of surrogates
//! are one character, some characters must be escaped, and a long key must say that it is one.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lovage_core::JsonPart;

use crate::typed;

/// Characters of a key above which it has to be announced.
const PLAIN_KEY_MAX: usize = 1_000;

/// Writes a JSON text as one YAML document; kombu's typed bytes and dates become YAML's own.
pub(crate) fn from_json(text: &str) -> Result<String, String> {
    let value = JsonPart::parse(text).map_err(|error| error.to_string())?;
    let mut yaml = String::with_capacity(text.len() + 16);
    push(&mut yaml, value);
    Ok(yaml)
}

fn push(yaml: &mut String, value: JsonPart<'_>) {
    if value.is_array() {
        yaml.push('[');
        let mut separator = "";
        value.each_element(|element| {
            yaml.push_str(separator);
            push(yaml, element);
            separator = ", ";
        });
        yaml.push(']');
    } else if value.is_object() {
        push_object(yaml, value);
    } else if let Some(text) = value.as_text() {
        push_text(yaml, &text);
    } else {
        push_plain(yaml, value);
    }
}

fn push_object(yaml: &mut String, object: JsonPart<'_>) {
    if let Some(bytes) = typed::bytes_of(object) {
        // Writing to a string cannot fail.
        let _ = write!(yaml, "!!binary \"{}\"", STANDARD.encode(bytes));
        return;
    }
    if let Some(moment) = moment(object) {
        yaml.push_str(&moment);
        return;
    }
    yaml.push('{');
    let mut separator = "";
    object.each_member(|name, value| {
        yaml.push_str(separator);
        if name.chars().count() > PLAIN_KEY_MAX {
            yaml.push_str("? ");
        }
        push_text(yaml, &name);
        yaml.push_str(": ");
        push(yaml, value);
        separator = ", ";
    });
    yaml.push('}');
}

/// The text of a typed date, or date and time.
fn moment(object: JsonPart<'_>) -> Option<String> {
    let kind = object.member("__type__")?.as_text()?;
    let text = object.member("__value__")?.as_text()?;
    let is_moment = match &*kind {
        "datetime" => text.contains('T') && crate::parse_timestamp(&text).is_some(),
        "date" => text.len() == 10 && crate::parse_timestamp(&format!("{text}T00:00:00")).is_some(),
        _ => false,
    };
    is_moment.then(|| text.into_owned())
}

fn push_text(yaml: &mut String, text: &str) {
    yaml.push('"');
    for character in text.chars() {
        // Writing to a string cannot fail.
        let _ = match character {
            '"' | '\\' => write!(yaml, "\\{character}"),
            '\n' => write!(yaml, "\\n"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => write!(yaml, "\\x{:02x}", u32::from(character)),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                write!(yaml, "\\u{:04x}", u32::from(character))
            }
            character => write!(yaml, "{character}"),
        };
    }
    yaml.push('"');
}

/// Null, a flag or a number.
fn push_plain(yaml: &mut String, value: JsonPart<'_>) {
    match value.as_str() {
        "NaN" => yaml.push_str(".nan"),
        "Infinity" => yaml.push_str(".inf"),
        "-Infinity" => yaml.push_str("-.inf"),
        text => match text.split_once(['e', 'E']).filter(|_| value.as_bool().is_none()) {
            Some((digits, exponent)) => {
                let dot = if digits.contains('.') { "" } else { ".0" };
                let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
                // Writing to a string cannot fail.
                let _ = write!(yaml, "{digits}{dot}e{sign}{exponent}");
            }
            None => yaml.push_str(text),
        },
    }
}
