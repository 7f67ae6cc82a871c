//! YAML as JSON text: what PyYAML's safe loader reads, in its dialect (YAML 1.1).
//!
//! Bare `yes` is true and a bare date is a date, as Python's producers and consumers have it. Left
//! out, each with an error and never a guess: merge keys, sets, ordered maps and every tag of an
//! application. Numbers to the base of 60 stay text.

use std::collections::HashMap;

use base64::Engine as _;
use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};
use lovage_core::{DEPTH_MAX, write_json_string};

use crate::{DecodeError, number, typed};

/// Writes the one document in a text as JSON. What aliases expand to counts towards the bound.
pub(crate) fn to_json(text: &str, bytes_max: usize) -> Result<String, DecodeError> {
    let mut writer = Writer { json: String::new(), open: Vec::new(), anchors: Anchors::default() };
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, Options::default()) {
        let (event, _) = next.map_err(|error| DecodeError::Body(error.to_string()))?;
        documents += usize::from(matches!(event, Event::DocumentStart(..)));
        writer.take(&event)?;
        if writer.json.len().max(writer.anchors.bytes) > bytes_max {
            return Err(DecodeError::TooLarge(bytes_max));
        }
    }
    match documents {
        0 => Ok("null".into()),
        1 => Ok(writer.json),
        _ => malformed("more than one document"),
    }
}

struct Writer {
    json: String,
    open: Vec<Collection>,
    anchors: Anchors,
}

/// An array or object that is not closed yet.
struct Collection {
    is_map: bool,
    /// Nodes in it so far, keys and values alike.
    nodes: usize,
    start: usize,
    anchor: usize,
}

/// The texts that aliases stand for.
#[derive(Default)]
struct Anchors {
    texts: HashMap<usize, String>,
    bytes: usize,
}

impl Anchors {
    fn keep(&mut self, anchor: usize, text: &str) {
        if anchor != 0 {
            self.bytes += text.len();
            self.texts.insert(anchor, text.into());
        }
    }
}

impl Writer {
    fn take(&mut self, event: &Event<'_>) -> Result<(), DecodeError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let key = self.separate();
                let start = self.json.len();
                let value = Scalar::of(text, *style, tag.as_deref())?;
                if key {
                    value.push_key(&mut self.json)?;
                } else {
                    value.push(&mut self.json);
                }
                self.keep_since(start, *anchor);
                Ok(())
            }
            Event::Alias(anchor) => {
                if self.separate() {
                    return malformed("an alias as the key of a map");
                }
                let text = self.anchors.texts.get(anchor);
                let Some(text) = text else { return malformed("a value that contains itself") };
                self.json.push_str(text);
                Ok(())
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(false, *anchor, tag.as_deref()),
            Event::MappingStart(_, anchor, tag) => self.begin(true, *anchor, tag.as_deref()),
            Event::SequenceEnd => self.finish(']'),
            Event::MappingEnd => self.finish('}'),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, is_map: bool, anchor: usize, tag: Option<&Tag>) -> Result<(), DecodeError> {
        let expected = if is_map { "map" } else { "seq" };
        if tag.is_some_and(|tag| tag.core_suffix() != Some(expected)) {
            return malformed("a tag that is not read");
        }
        if self.separate() {
            return malformed("an array or a map as the key of a map");
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.open.push(Collection { is_map, nodes: 0, start: self.json.len(), anchor });
        self.json.push(if is_map { '{' } else { '[' });
        Ok(())
    }

    fn finish(&mut self, end: char) -> Result<(), DecodeError> {
        let Some(Collection { start, anchor, .. }) = self.open.pop() else {
            return malformed("an end without a beginning");
        };
        self.json.push(end);
        self.keep_since(start, anchor);
        Ok(())
    }

    fn keep_since(&mut self, start: usize, anchor: usize) {
        self.anchors.keep(anchor, self.json.get(start..).unwrap_or_default());
    }

    /// Writes what stands before the next node; whether that node is a key.
    fn separate(&mut self) -> bool {
        let Some(collection) = self.open.last_mut() else { return false };
        let is_value = collection.is_map && collection.nodes % 2 == 1;
        let is_key = collection.is_map && !is_value;
        if is_value {
            self.json.push_str(": ");
        } else if collection.nodes > 0 {
            self.json.push_str(", ");
        }
        collection.nodes += 1;
        is_key
    }
}

/// What a scalar stands for.
enum Scalar<'a> {
    /// `null`, `true`, `false` or a number, as JSON has it.
    Word(String),
    Text(&'a str),
    Typed(&'static str, &'a str),
    Bytes(Vec<u8>),
}

impl<'a> Scalar<'a> {
    fn of(text: &'a str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Self, DecodeError> {
        let Some(tag) = tag else {
            return if style == ScalarStyle::Plain {
                Self::plain(text)
            } else {
                Ok(Self::Text(text))
            };
        };
        match tag.core_suffix() {
            Some("str") => Ok(Self::Text(text)),
            Some("null" | "bool" | "int" | "float") => match Self::plain(text)? {
                Self::Text(_) => malformed("a tag that does not fit its value"),
                value => Ok(value),
            },
            _ if tag.is_yaml_core_schema_tag("binary") || is_binary(tag) => {
                let compact: String = text.split_ascii_whitespace().collect();
                let bytes = base64::engine::general_purpose::STANDARD.decode(compact);
                bytes.map(Self::Bytes).or_else(|_| malformed("broken base64"))
            }
            _ => malformed("a tag that is not read"),
        }
    }

    /// What a scalar without quotes or tag stands for.
    fn plain(text: &'a str) -> Result<Self, DecodeError> {
        let word = match text {
            "" | "~" | "null" | "Null" | "NULL" => "null",
            "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => "true",
            "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => "false",
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => "Infinity",
            "-.inf" | "-.Inf" | "-.INF" => "-Infinity",
            ".nan" | ".NaN" | ".NAN" => "NaN",
            "<<" => return malformed("a merge key"),
            _ => return Ok(Self::number_or_text(text)),
        };
        Ok(Self::Word(word.into()))
    }

    fn number_or_text(text: &'a str) -> Self {
        if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
            return Self::Text(text);
        }
        if let Some(word) = integer(text).or_else(|| float(text)) {
            return Self::Word(word);
        }
        match crate::parse_timestamp(text) {
            Some(_) if text.len() == 10 => Self::Typed("date", text),
            Some(_) if text.len() > 10 => Self::Typed("datetime", text),
            _ => Self::Text(text),
        }
    }

    fn push(self, json: &mut String) {
        match self {
            Self::Word(word) => json.push_str(&word),
            Self::Text(text) => write_json_string(json, text),
            Self::Typed(kind, text) => typed::push(json, kind, text),
            Self::Bytes(bytes) => typed::push_bytes(json, &bytes),
        }
    }

    fn push_key(self, json: &mut String) -> Result<(), DecodeError> {
        match self {
            Self::Word(word) => write_json_string(json, &word),
            Self::Text(text) => write_json_string(json, text),
            Self::Typed(..) | Self::Bytes(_) => {
                return malformed("a key that JSON cannot hold");
            }
        }
        Ok(())
    }
}

fn is_binary(tag: &Tag) -> bool {
    tag.suffix_in_namespace("tag:yaml.org,2002:").is_some_and(|suffix| suffix == "binary")
}

/// An integer of any size; with a leading zero to the base of 8, as YAML 1.1 has it.
fn integer(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text).replace('_', "");
    let sign = if text.starts_with('-') { "-" } else { "" };
    let based = |digits: &str, base| {
        i128::from_str_radix(digits, base).ok().map(|number| format!("{sign}{number}"))
    };
    if let Some(digits) = digits.strip_prefix("0b") {
        return based(digits, 2);
    }
    if let Some(digits) = digits.strip_prefix("0x") {
        return based(digits, 16);
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.strip_prefix('0') {
        Some("") => Some(format!("{sign}0")),
        Some(octal) => based(octal, 8),
        None => Some(format!("{sign}{digits}")),
    }
}

/// A float, which in YAML 1.1 has a point.
fn float(text: &str) -> Option<String> {
    let digits = text.replace('_', "");
    let well_formed = digits.contains('.')
        && digits.contains(|digit: char| digit.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    well_formed.then(|| digits.parse().ok().map(number::float)).flatten()
}

fn malformed<T>(why: &str) -> Result<T, DecodeError> {
    Err(DecodeError::Body(why.into()))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::to_json;

    #[test]
    fn scalars_are_read_in_the_dialect_of_python() {
        for (yaml, json) in [
            (
                "[a, 'yes', yes, ~, '', 1, -2.5, 1.0e+22]",
                r#"["a", "yes", true, null, "", 1, -2.5, 1e22]"#,
            ),
            (
                "[0x1F, 017, 0b101, 1_000, +3, 08, .inf, .nan]",
                r#"[31, 15, 5, 1000, 3, "08", Infinity, NaN]"#,
            ),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("'2026-01-02'", "\"2026-01-02\""),
            ("2026-01-02", r#"{"__type__": "date", "__value__": "2026-01-02"}"#),
            (
                "2026-01-02 03:04:05+00:00",
                r#"{"__type__": "datetime", "__value__": "2026-01-02 03:04:05+00:00"}"#,
            ),
            ("!!binary |\n  AP8=\n", r#"{"__type__": "base64", "__value__": "AP8="}"#),
            ("{1: a, null: b, x: {}}", r#"{"1": "a", "null": "b", "x": {}}"#),
            ("|\n  é\n  x\n", r#""\u00e9\nx\n""#),
            ("", "null"),
        ] {
            assert_eq!(to_json(yaml, 1_000).unwrap(), json, "{yaml}");
        }
    }

    #[test]
    fn aliases_are_copies_and_their_sum_is_bounded() {
        assert_eq!(
            to_json("[&a [1, 2], *a, &b x, *b]", 99).unwrap(),
            r#"[[1, 2], [1, 2], "x", "x"]"#
        );
        let mut bomb = String::from("- &a0 [zzzzzzzzzz]\n");
        for level in 1..40 {
            let before = level - 1;
            writeln!(bomb, "- &a{level} [*a{before}, *a{before}, *a{before}]").unwrap();
        }
        assert_eq!(to_json(&bomb, 100_000).unwrap_err().code(), "body-too-large");
    }

    #[test]
    fn what_is_not_read_is_an_error_and_never_a_guess() {
        for yaml in [
            "!!python/object/apply:os.system [ls]",
            "!mine 1",
            "{<<: {a: 1}}",
            "&a [*a]",
            "[1]\n---\n[2]",
            "{[1]: 2}",
            "[1, 2",
            "a: b: c",
            "*nobody",
        ] {
            assert_eq!(to_json(yaml, 1_000).unwrap_err().code(), "malformed-body", "{yaml}");
        }
        assert!(to_json(&"[".repeat(100_000), 1_000_000).is_err());
    }
}
