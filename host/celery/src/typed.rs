//! kombu's typed values: maps of exactly the two keys `__type__` and `__value__`.
//!
//! They pass through to guests as they are. What has to be known here is only whether kombu could
//! have read them, because a message with one that it could not is never run by Celery either.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lovage_core::{JsonPart, write_json_string};

use crate::DecodeError;

/// Checks every typed value in a body, in one walk however deep they are nested.
pub(crate) fn check(body: JsonPart<'_>) -> Result<(), DecodeError> {
    // Nearly no message has one, and a search is far cheaper than a walk.
    if !body.as_str().contains("__type__") {
        return Ok(());
    }
    let mut checker = Checker { text: body.as_str(), at: 0, open: Vec::new() };
    while let Some(byte) = checker.next() {
        let start = checker.at;
        checker.at += 1;
        match byte {
            b'{' => checker.open.push(Opened { is_object: true, ..Opened::default() }),
            b'[' => checker.open.push(Opened::default()),
            b'}' | b']' => checker.close()?,
            b'"' => checker.string(start),
            b',' | b':' => {}
            _ => checker.value(Seen::Other),
        }
    }
    Ok(())
}

/// A walk over a text that is known to be JSON.
struct Checker<'a> {
    text: &'a str,
    at: usize,
    /// The arrays and objects around it, the outermost first.
    open: Vec<Opened<'a>>,
}

/// An array, or what has been seen of an object.
#[derive(Default)]
struct Opened<'a> {
    is_object: bool,
    /// The member whose value comes next.
    name: Option<Cow<'a, str>>,
    kind: Option<Seen<'a>>,
    inner: Option<Seen<'a>>,
    others: bool,
    has_hex: bool,
}

/// As much of a value as matters here.
#[derive(Clone, Copy)]
enum Seen<'a> {
    /// A string, in its quotes.
    Text(&'a str),
    /// An object, and whether its member `hex` is a string.
    Object {
        has_hex: bool,
    },
    Other,
}

impl<'a> Checker<'a> {
    /// The next byte that is more than space, at `at`. What is neither a bracket nor a string is passed
    /// over as a whole by whoever sees its first byte here: the rest of it says nothing more.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.at += space;
        self.text.as_bytes().get(self.at).copied()
    }

    fn string(&mut self, start: usize) {
        let mut escaped = false;
        let bytes = self.text.as_bytes().iter().skip(self.at);
        let length = bytes.take_while(|byte| {
            let ends = **byte == b'"' && !escaped;
            escaped = **byte == b'\\' && !escaped;
            !ends
        });
        self.at += length.count() + 1;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        match self.open.last_mut().filter(|opened| opened.is_object && opened.name.is_none()) {
            Some(opened) => {
                opened.name = JsonPart::parse(quoted).ok().and_then(JsonPart::as_text);
            }
            None => self.value(Seen::Text(quoted)),
        }
    }

    /// A value has been seen whole: its object notes it under its name.
    fn value(&mut self, value: Seen<'a>) {
        let Some(opened) = self.open.last_mut() else { return };
        match opened.name.take().as_deref() {
            Some("__type__") => opened.kind = Some(value),
            Some("__value__") => opened.inner = Some(value),
            Some(name) => {
                opened.others = true;
                if name == "hex" {
                    opened.has_hex = matches!(value, Seen::Text(_));
                }
            }
            // An element of an array; or the rest of a number, a word, or a text outside.
            None => {}
        }
    }

    fn close(&mut self) -> Result<(), DecodeError> {
        let Some(closed) = self.open.pop() else { return Ok(()) };
        let Opened { is_object, kind, inner, others, has_hex, .. } = closed;
        if let (Some(kind), Some(inner), false) = (kind, inner, others) {
            known(kind, inner)?;
        }
        self.value(if is_object { Seen::Object { has_hex } } else { Seen::Other });
        Ok(())
    }
}

fn known(kind: Seen<'_>, inner: Seen<'_>) -> Result<(), DecodeError> {
    let name = match kind {
        Seen::Text(quoted) => JsonPart::parse(quoted).ok().and_then(JsonPart::as_text),
        Seen::Object { .. } | Seen::Other => None,
    };
    let name = name.unwrap_or_default();
    let readable = match &*name {
        "datetime" | "date" | "time" | "decimal" | "bytes" | "base64" => {
            matches!(inner, Seen::Text(_))
        }
        "uuid" => matches!(inner, Seen::Object { has_hex: true }),
        _ => false,
    };
    if readable { Ok(()) } else { Err(DecodeError::TypedValue(name.chars().take(64).collect())) }
}

/// The bytes that a typed value stands for, if it stands for bytes.
pub(crate) fn bytes_of(value: JsonPart<'_>) -> Option<Vec<u8>> {
    let inner = value.member("__value__")?.as_text()?;
    match &*value.member("__type__")?.as_text()? {
        "bytes" => Some(inner.into_owned().into_bytes()),
        "base64" => STANDARD.decode(&*inner).ok(),
        _ => None,
    }
}

/// Appends bytes as kombu does: as text where they are UTF-8, otherwise in base64.
pub(crate) fn push_bytes(json: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push(json, "bytes", text),
        Err(_) => push(json, "base64", &STANDARD.encode(bytes)),
    }
}

/// Appends a typed value whose inner value is text.
pub(crate) fn push(json: &mut String, kind: &str, text: &str) {
    json.push_str("{\"__type__\": \"");
    json.push_str(kind);
    json.push_str("\", \"__value__\": ");
    write_json_string(json, text);
    json.push('}');
}

#[cfg(test)]
mod tests {
    use lovage_core::JsonPart;

    use super::{bytes_of, check, push_bytes};

    fn readable(text: &str) -> bool {
        check(JsonPart::parse(text).unwrap()).is_ok()
    }

    #[test]
    fn typed_values_are_known_by_exactly_two_keys() {
        assert!(readable(r#"[{"__type__": "date", "__value__": "2026-01-02"}]"#));
        assert!(!readable(r#"[[{"a": {"__type__": "complex", "__value__": 1}}]]"#));
        assert!(readable(r#"[{"__type__": "complex", "__value__": 1, "third": 2}]"#));
        assert!(readable(r#"[{"__type__": "complex"}, "__type__"]"#));
    }

    #[test]
    fn a_typed_value_of_the_wrong_kind_is_no_value() {
        assert!(!readable(r#"{"__type__": "uuid", "__value__": "0"}"#));
        assert!(readable(r#"{"__type__": "uuid", "__value__": {"hex": "00"}}"#));
        assert!(!readable(r#"{"__type__": "decimal", "__value__": 1.5}"#));
        assert!(!readable(r#"{"__type__": ["date"], "__value__": ""}"#));
    }

    #[test]
    fn nesting_and_escapes_hide_nothing_and_invent_nothing() {
        assert!(readable(r#"{"a": "\\\"{\\", "b": [{"__type__": "x", "__value__": 1, "c": 2}]}"#));
        assert!(!readable(r#"{"a": "\\", "b": [{"\u005f_type__": "__type__", "__value__": 1}]}"#));
        assert!(readable(r#"{"__type__": "bytes", "__value__": "{\"__type__\": 1}"}"#));
        assert!(readable(r#"[[1, -2.5e3, true, null, NaN, "__type__"], {"__value__": [{}]}]"#));
        assert!(readable(r#"{"__value__": {"hex": "0", "x": [1]}, "__type__": "uuid"}"#));
        assert!(!readable(r#"{"__value__": {"hex": "0", "hex": 1}, "__type__": "uuid"}"#));
    }

    #[test]
    fn bytes_go_there_and_back() {
        for bytes in [&b"abc"[..], b"\xff\xfe", b""] {
            let mut json = String::new();
            push_bytes(&mut json, bytes);
            assert_eq!(bytes_of(JsonPart::parse(&json).unwrap()).unwrap(), bytes);
        }
    }
}
