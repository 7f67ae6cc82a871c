//! JSON as Python writes it: checked once, then passed on as text.
//!
//! Celery's bodies may hold the bare tokens `NaN`, `Infinity` and `-Infinity`, integers of any
//! size and lone surrogates as escapes. All of them must arrive as they left, so the host does not
//! build a tree of a value: it checks the grammar, bounds the depth, and hands on the text.

use std::fmt;

use serde::{Deserialize, Serialize};

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
        let mut scanner = Scanner::new(&text);
        scanner.value(0)?;
        scanner.end()?;
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
        write_string(&mut quoted, text);
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

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.0.trim_ascii() == "null"
    }

    /// Whether the value is an array.
    pub fn is_array(&self) -> bool {
        self.0.trim_ascii_start().starts_with('[')
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.trim_ascii_start().starts_with('{')
    }

    /// The elements of an array as texts, `None` when the value is no array.
    pub fn elements(&self) -> Option<Vec<&str>> {
        self.is_array().then(|| {
            let mut elements = Vec::new();
            let mut scanner = Scanner::new(&self.0);
            scanner.space();
            // The text was checked, so the walk cannot fail.
            let _ = scanner.array(0, &mut |element| elements.push(element));
            elements
        })
    }

    /// The members of an object as (name in quotes, value) texts, `None` when it is no object.
    pub fn members(&self) -> Option<Vec<(&str, &str)>> {
        self.is_object().then(|| {
            let mut members = Vec::new();
            let mut scanner = Scanner::new(&self.0);
            scanner.space();
            let _ = scanner.object(0, &mut |name, value| members.push((name, value)));
            members
        })
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

/// Appends `text` as a JSON string in ASCII, the way Python's `json` module writes it.
fn write_string(quoted: &mut String, text: &str) {
    use std::fmt::Write as _;

    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(character),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
}

/// Walks over a text, value by value, without building anything.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn malformed<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Malformed { at: self.at })
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.malformed() }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// One value with the space before it; returns its text.
    fn value(&mut self, depth: usize) -> Result<&'a str, JsonError> {
        self.space();
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.object(depth, &mut |_, _| ())?,
            Some(b'[') => self.array(depth, &mut |_| ())?,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(b'N') => self.word("NaN")?,
            Some(b'I') => self.word("Infinity")?,
            _ => return self.malformed(),
        }
        Ok(self.since(start))
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn array(&mut self, depth: usize, each: &mut dyn FnMut(&'a str)) -> Result<(), JsonError> {
        self.enter(depth)?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self.value(depth + 1)?);
            if self.closes(b']')? {
                return Ok(());
            }
        }
    }

    fn object(
        &mut self,
        depth: usize,
        each: &mut dyn FnMut(&'a str, &'a str),
    ) -> Result<(), JsonError> {
        self.enter(depth)?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.malformed();
            }
            self.string()?;
            let name = self.since(start);
            self.space();
            if self.peek() != Some(b':') {
                return self.malformed();
            }
            self.at += 1;
            each(name, self.value(depth + 1)?);
            if self.closes(b'}')? {
                return Ok(());
            }
        }
    }

    /// After an element: whether the container ends here or another element follows.
    fn closes(&mut self, end: u8) -> Result<bool, JsonError> {
        self.space();
        let closes = match self.peek() {
            Some(b',') => false,
            Some(byte) if byte == end => true,
            _ => return self.malformed(),
        };
        self.at += 1;
        Ok(closes)
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) | None => return self.malformed(),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.malformed();
                    }
                    self.at += 1;
                }
            }
            _ => return self.malformed(),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
            if self.peek() == Some(b'I') {
                return self.word("Infinity");
            }
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.malformed() } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return self.malformed();
        }
        self.at += word.len();
        Ok(())
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
