//! JSON as Python writes it: checked once, then passed on as text.
//!
//! Celery's bodies may hold the bare tokens `NaN`, `Infinity` and `-Infinity`, integers of any
//! size and lone surrogates as escapes. All of them must arrive as they left, so the host does not
//! build a tree of a value: it checks the grammar, bounds the depth, and hands on the text.

use std::fmt;

use serde::{Deserialize, Serialize};

use scanner::Scanner;

mod canonical;
mod part;
mod scanner;
mod strings;

pub use part::JsonPart;
pub use strings::write_json_string;

/// How deep arrays and objects may be nested.
pub const DEPTH_MAX: usize = 64;

/// One JSON value as text, known to be well-formed and at most [`DEPTH_MAX`] deep.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Json(Box<str>);

/// Why a text is no JSON value that Lovage takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The grammar is broken.
    #[error("malformed JSON at byte {at}")]
    Malformed {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// Arrays and objects are nested too deeply.
    #[error("JSON nested deeper than {DEPTH_MAX} levels at byte {at}")]
    TooDeep {
        /// Where, in bytes from the start.
        at: usize,
    },
}

impl Json {
    /// Checks a text.
    ///
    /// # Errors
    /// When the text is not exactly one JSON value, or is nested too deeply.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self, JsonError> {
        let text = text.into();
        Scanner::whole(&text)?;
        Ok(Self(text))
    }

    /// The value `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// An array without elements.
    pub fn empty_array() -> Self {
        Self("[]".into())
    }

    /// An object without members.
    pub fn empty_object() -> Self {
        Self("{}".into())
    }

    /// The JSON string that stands for `text`.
    pub fn string(text: &str) -> Self {
        let mut quoted = String::with_capacity(text.len() + 2);
        write_json_string(&mut quoted, text);
        Self(quoted.into())
    }

    /// An array of these values, separated as Python separates them.
    pub fn array<'a>(elements: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut text = String::from("[");
        for (position, element) in elements.into_iter().enumerate() {
            if position > 0 {
                text.push_str(", ");
            }
            text.push_str(element.as_str());
        }
        text.push(']');
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same value, borrowed: the form in which it is looked into.
    pub fn as_part(&self) -> JsonPart<'_> {
        JsonPart::checked(self.0.trim_ascii())
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.as_part().is_null()
    }

    /// Whether the value is an array.
    pub fn is_array(&self) -> bool {
        self.as_part().is_array()
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.as_part().is_object()
    }

    /// The elements of an array as texts, `None` when the value is no array.
    pub fn elements(&self) -> Option<Vec<&str>> {
        let mut elements = Vec::new();
        self.as_part().each_element(|element| elements.push(element.as_str())).then_some(elements)
    }

    /// The members of an object as (name in quotes, value) texts, `None` when it is no object.
    pub fn members(&self) -> Option<Vec<(&str, &str)>> {
        let mut members = Vec::new();
        self.as_part()
            .each_quoted_member(|name, value| members.push((name, value.as_str())))
            .then_some(members)
    }

    /// A part of a value that was checked, such as one of [`elements`](Self::elements).
    ///
    /// # Errors
    /// When it is no such part after all.
    pub fn part(text: &str) -> Result<Self, JsonError> {
        Self::parse(text)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for Json {
    type Error = JsonError;

    fn try_from(text: String) -> Result<Self, JsonError> {
        Self::parse(text)
    }
}

impl From<Json> for String {
    fn from(json: Json) -> Self {
        json.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DEPTH_MAX, Json, JsonError};

    #[test]
    fn what_python_writes_is_taken_as_it_is() {
        for text in [
            "null",
            " [1, 2.5, -0.0, 1e+22, 5e-324] ",
            "[NaN, Infinity, -Infinity]",
            "123456789012345678901234567890123456789012345678901234567890",
            r#"{"a": "\ud800", "b": {"__type__": "uuid", "__value__": {"hex": "00"}}}"#,
            r#""é \u00e9 \" \\ \/ \b\f\n\r\t""#,
        ] {
            assert_eq!(Json::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_single_value_is_refused() {
        for text in [
            "",
            " ",
            "nul",
            "nan",
            "[1,]",
            "[1 2]",
            "{1: 2}",
            "{\"a\"}",
            "{\"a\":}",
            "01",
            "-",
            "1.",
            "1e",
            ".5",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "1 2",
            "[",
            "]",
            "{\"a\":1,}",
            "'a'",
        ] {
            assert!(Json::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(nested(DEPTH_MAX)).is_ok());
        assert_eq!(Json::parse(nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep { at: DEPTH_MAX }));
        assert!(Json::parse("[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn elements_and_members_are_cut_out_unchanged() {
        let array = Json::parse(r#" [ {"a": [1, 2]} , NaN,"x" ]"#).unwrap();
        assert_eq!(array.elements().unwrap(), [r#"{"a": [1, 2]}"#, "NaN", "\"x\""]);
        let object = Json::parse(r#"{"a" : 1 , "b\"" : [ ] }"#).unwrap();
        assert_eq!(object.members().unwrap(), [("\"a\"", "1"), (r#""b\"""#, "[ ]")]);
        assert_eq!(object.elements(), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scanner_fail_otherwise_than_with_an_error(text in ".{0,200}") {
            let _ = Json::parse(text);
        }

        #[test]
        fn a_text_becomes_the_string_that_strict_parsers_read_back(text in ".{0,50}") {
            let json = Json::string(&text);
            prop_assert!(Json::parse(json.as_str()).is_ok());
            prop_assert_eq!(serde_json::from_str::<String>(json.as_str()).unwrap(), text);
        }

        #[test]
        fn whatever_strict_parsers_read_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(text) = String::from_utf8(bytes)
                && serde_json::from_str::<serde_json::Value>(&text).is_ok()
            {
                prop_assert!(Json::parse(text).is_ok());
            }
        }
    }
}
