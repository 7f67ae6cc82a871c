//! A value inside a larger text: looked into without copying, and never checked twice for good.

use std::borrow::Cow;

use super::scanner::Scanner;
use super::strings::unescaped;
use super::{Json, JsonError};

/// A checked JSON value inside a larger text, without the space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonPart<'a>(&'a str);

impl<'a> JsonPart<'a> {
    /// The value `null`.
    pub const NULL: Self = Self("null");
    /// An array without elements.
    pub const EMPTY_ARRAY: Self = Self("[]");
    /// An object without members.
    pub const EMPTY_OBJECT: Self = Self("{}");

    /// Checks a text.
    ///
    /// # Errors
    /// When the text is not exactly one JSON value, or is nested too deeply.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        Scanner::whole(text).map(Self)
    }

    /// Checks a text and cuts it in the same walk: calls `each` with every member, named as it
    /// stands in the text, in quotes; whether the value is an object. Nothing seen by `each` counts
    /// when the text turns out to be broken further on.
    ///
    /// # Errors
    /// When the text is not exactly one JSON value, or is nested too deeply.
    pub fn parse_members(
        text: &'a str,
        mut each: impl FnMut(&'a str, JsonPart<'a>),
    ) -> Result<bool, JsonError> {
        if !text.trim_ascii_start().starts_with('{') {
            return Scanner::whole(text).map(|_| false);
        }
        Scanner::whole_object(text, |name, value| each(name, Self(value))).map(|()| true)
    }

    /// Takes a text that was checked.
    pub(super) fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// A copy that stands alone. What was checked as part of a larger text is not checked again.
    pub fn to_json(self) -> Json {
        Json(self.0.into())
    }

    /// Whether the value is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether the value is an array.
    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Whether the value is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// The value of `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The text that a string stands for; a surrogate without its partner becomes U+FFFD.
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        self.inside_quotes().map(unescaped)
    }

    /// What is between the quotes of a string, its escapes as they are.
    pub fn inside_quotes(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// The value of a number, as near as a float comes; `NaN` and the infinities are numbers, too.
    pub fn as_number(self) -> Option<f64> {
        match self.0 {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        }
    }

    /// Calls `each` with every element of an array, in order; whether it is an array.
    pub fn each_element(self, mut each: impl FnMut(JsonPart<'a>)) -> bool {
        // The text was checked, so the walk cannot fail.
        self.is_array() && Scanner::new(self.0).array(0, |element| each(Self(element))).is_ok()
    }

    /// Calls `each` with every member of an object, in order; whether it is an object.
    pub fn each_member(self, mut each: impl FnMut(Cow<'a, str>, JsonPart<'a>)) -> bool {
        self.each_quoted_member(|name, value| each(Self(name).as_text().unwrap_or_default(), value))
    }

    /// The same with the names as they stand in the text, in quotes.
    pub fn each_quoted_member(self, mut each: impl FnMut(&'a str, JsonPart<'a>)) -> bool {
        self.is_object()
            && Scanner::new(self.0).object(0, |name, value| each(name, Self(value))).is_ok()
    }

    /// The member of that name; the last one, as in Python, when there are several.
    pub fn member(self, name: &str) -> Option<JsonPart<'a>> {
        let mut found = None;
        self.each_member(|other, value| {
            if other == name {
                found = Some(value);
            }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::JsonPart;

    #[test]
    fn parts_are_looked_into_where_they_are() {
        let text = r#" {"a": [1, "x\u00e9"], "a": [2.5, NaN, true], "b": null} "#;
        let whole = JsonPart::parse(text).unwrap();
        assert_eq!(whole.as_str(), text.trim());
        let mut elements = Vec::new();
        assert!(whole.member("a").unwrap().each_element(|element| elements.push(element)));
        assert_eq!(elements[0].as_number(), Some(2.5));
        assert!(elements[1].as_number().unwrap().is_nan());
        assert_eq!(elements[2].as_bool(), Some(true));
        assert_eq!(whole.member("b"), Some(JsonPart::NULL));
        assert_eq!(whole.member("c"), None);
        assert!(!whole.each_element(|_| ()));
    }

    #[test]
    fn only_numbers_are_numbers_and_only_strings_are_text() {
        for text in ["null", "true", "\"1\"", "[1]", "{}"] {
            assert_eq!(JsonPart::parse(text).unwrap().as_number(), None, "{text}");
        }
        assert_eq!(JsonPart::parse("\"1\\n\"").unwrap().as_text().unwrap(), "1\n");
        assert_eq!(JsonPart::parse("1").unwrap().as_text(), None);
    }
}
