//! kombu's typed values: maps of exactly the two keys `__type__` and `__value__`.
//!
//! They pass through to guests as they are. What has to be known here is only whether kombu could
//! have read them, because a message with one that it could not is never run by Celery either.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lovage_core::{JsonPart, write_json_string};

use crate::DecodeError;

/// Checks every typed value in a body.
pub(crate) fn check(body: JsonPart<'_>) -> Result<(), DecodeError> {
    // Nearly no message has one, and a search is far cheaper than a walk.
    if !body.as_str().contains("__type__") {
        return Ok(());
    }
    walk(body)
}

fn walk(value: JsonPart<'_>) -> Result<(), DecodeError> {
    let mut outcome = Ok(());
    value.each_element(|element| {
        if outcome.is_ok() {
            outcome = walk(element);
        }
    });
    let (mut kind, mut inner, mut others) = (None, None, false);
    value.each_member(|name, member| {
        match &*name {
            "__type__" => kind = Some(member),
            "__value__" => inner = Some(member),
            _ => others = true,
        }
        if outcome.is_ok() {
            outcome = walk(member);
        }
    });
    outcome?;
    match (kind, inner) {
        (Some(kind), Some(inner)) if !others => known(kind, inner),
        _ => Ok(()),
    }
}

fn known(kind: JsonPart<'_>, inner: JsonPart<'_>) -> Result<(), DecodeError> {
    let name = kind.as_text().unwrap_or_default();
    let readable = match &*name {
        "datetime" | "date" | "time" | "decimal" | "bytes" | "base64" => {
            inner.inside_quotes().is_some()
        }
        "uuid" => inner.member("hex").is_some_and(|hex| hex.inside_quotes().is_some()),
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
    fn bytes_go_there_and_back() {
        for bytes in [&b"abc"[..], b"\xff\xfe", b""] {
            let mut json = String::new();
            push_bytes(&mut json, bytes);
            assert_eq!(bytes_of(JsonPart::parse(&json).unwrap()).unwrap(), bytes);
        }
    }
}
