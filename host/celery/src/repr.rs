//! Arguments as Python's `repr` shows them: what events and logs print, and nothing reads back.

use lovage_core::JsonPart;

/// Bytes after which a text is cut, as in Celery.
const LENGTH_MAX: usize = 1_024;

/// Levels of arrays and objects that are shown.
const DEPTH_MAX: usize = 4;

/// Positional arguments, as the tuple that Python would have.
pub(crate) fn arguments(args: JsonPart<'_>) -> String {
    if !args.is_array() {
        return value(args);
    }
    let mut text = String::from("(");
    let mut count = 0;
    args.each_element(|element| {
        separate(&mut text, count);
        count += 1;
        push(&mut text, element, 1);
    });
    text.push_str(if count == 1 { ",)" } else { ")" });
    cut(text)
}

/// Any other value: what Python's `repr` writes of it, cut where it is long.
pub fn value(value: JsonPart<'_>) -> String {
    let mut text = String::new();
    push(&mut text, value, 0);
    cut(text)
}

fn cut(mut text: String) -> String {
    if text.len() > LENGTH_MAX {
        text.truncate(text.floor_char_boundary(LENGTH_MAX));
        text.push_str("...");
    }
    text
}

fn separate(text: &mut String, count: usize) {
    if count > 0 {
        text.push_str(", ");
    }
}

fn push(text: &mut String, value: JsonPart<'_>, depth: usize) {
    if text.len() > LENGTH_MAX {
        return;
    }
    let json = value.as_str();
    match json {
        "null" => text.push_str("None"),
        "true" => text.push_str("True"),
        "false" => text.push_str("False"),
        "NaN" => text.push_str("nan"),
        "Infinity" => text.push_str("inf"),
        "-Infinity" => text.push_str("-inf"),
        _ if value.is_array() || value.is_object() => push_collection(text, value, depth),
        _ => match value.as_text() {
            Some(inside) => push_text(text, &inside),
            None => text.push_str(json),
        },
    }
}

fn push_collection(text: &mut String, value: JsonPart<'_>, depth: usize) {
    let (start, end) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    text.push(start);
    let mut count = 0;
    if depth >= DEPTH_MAX {
        text.push_str("...");
    } else if value.is_array() {
        value.each_element(|element| {
            separate(text, count);
            count += 1;
            push(text, element, depth + 1);
        });
    } else {
        value.each_member(|name, element| {
            separate(text, count);
            count += 1;
            push_text(text, &name);
            text.push_str(": ");
            push(text, element, depth + 1);
        });
    }
    text.push(end);
}

/// Text in the quotes that Python would choose.
fn push_text(text: &mut String, inside: &str) {
    use std::fmt::Write as _;

    if text.len() > LENGTH_MAX {
        return;
    }
    let quote = if inside.contains('\'') && !inside.contains('"') { '"' } else { '\'' };
    text.push(quote);
    for character in inside.chars().take(LENGTH_MAX) {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ if character == quote => {
                text.push('\\');
                text.push(character);
            }
            _ if character.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\x{:02x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push(quote);
}

#[cfg(test)]
mod tests {
    use lovage_core::JsonPart;

    use super::{arguments, value};

    #[test]
    fn values_look_as_in_python() {
        let shown = |json| arguments(JsonPart::parse(json).unwrap());
        assert_eq!(shown("[]"), "()");
        assert_eq!(shown("[2]"), "(2,)");
        assert_eq!(
            shown(r#"[null, true, NaN, -Infinity, "it's", "\"'", "é\n", [1], {"a": {}}]"#),
            r#"(None, True, nan, -inf, "it's", '"\'', 'é\n', [1], {'a': {}})"#
        );
        assert_eq!(value(JsonPart::parse(r#"{"k": "v"}"#).unwrap()), "{'k': 'v'}");
    }

    #[test]
    fn long_and_deep_ones_are_cut() {
        let long = format!("[\"{}\", {}]", "x".repeat(5_000), "1,".repeat(50_000) + "1");
        assert_eq!(arguments(JsonPart::parse(&long).unwrap()).len(), 1_027);
        assert_eq!(value(JsonPart::parse("[[[[[1]]]]]").unwrap()), "[[[[[...]]]]]");
    }
}
