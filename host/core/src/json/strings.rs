//! JSON strings, written as Python writes them and read as it reads them.

use std::borrow::Cow;

/// Appends `text` as a JSON string in ASCII, the way Python's `json` module writes it.
pub fn write_json_string(quoted: &mut String, text: &str) {
    use std::fmt::Write as _;

    quoted.push('"');
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if matches!(character, ' '..='~') && character != '"' && character != '\\' {
            continue;
        }
        quoted.push_str(text.get(plain..at).unwrap_or_default());
        plain = at + character.len_utf8();
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push_str(text.get(plain..).unwrap_or_default());
    quoted.push('"');
}

/// The text that the inside of a checked JSON string stands for. A surrogate without its partner
/// becomes U+FFFD.
pub(super) fn unescaped(inside: &str) -> Cow<'_, str> {
    let Some(first) = inside.find('\\') else { return Cow::Borrowed(inside) };
    let (plain, mut rest) = inside.split_at(first);
    let mut text = String::with_capacity(inside.len());
    text.push_str(plain);
    while let Some(escape) = rest.strip_prefix('\\') {
        let mut after = escape.chars();
        match after.next() {
            Some('u') => {
                let (character, length) = unicode(escape);
                text.push(character);
                after = escape.get(length..).unwrap_or_default().chars();
            }
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some(character) => text.push(character),
            None => {}
        }
        rest = after.as_str();
        let plain = rest.find('\\').unwrap_or(rest.len());
        let (before, next) = rest.split_at(plain);
        text.push_str(before);
        rest = next;
    }
    Cow::Owned(text)
}

/// The character of `uXXXX` or `uXXXX\uXXXX`, and how many bytes of the text stand for it.
fn unicode(escape: &str) -> (char, usize) {
    let unit = |from: usize| {
        escape.get(from..from + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok())
    };
    let Some(first) = unit(1) else { return (char::REPLACEMENT_CHARACTER, 1) };
    if let Some(character) = char::from_u32(first.into()) {
        return (character, 5);
    }
    let second = escape.get(5..7).filter(|joint| *joint == "\\u").and_then(|_| unit(7));
    match char::decode_utf16([Some(first), second].into_iter().flatten()).next() {
        Some(Ok(character)) => (character, 11),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::{unescaped, write_json_string};

    #[test]
    fn escapes_are_read_as_python_reads_them() {
        assert_eq!(unescaped(r#"a\"b\\c\/d\b\f\n\r\te"#), "a\"b\\c/d\u{8}\u{c}\n\r\te");
        assert_eq!(unescaped(r"\u00e9\ud83d\ude00x"), "é😀x");
    }

    #[test]
    fn a_lone_surrogate_is_replaced_and_what_follows_it_stays() {
        assert_eq!(unescaped(r"\ud83dx"), "\u{fffd}x");
        assert_eq!(unescaped(r"\ude00\ud83d\u0041"), "\u{fffd}\u{fffd}A");
    }

    #[test]
    fn what_is_written_is_ascii_and_reads_back() {
        let text = "plain \"é😀\\ \u{7f}\u{1}\n";
        let mut quoted = String::new();
        write_json_string(&mut quoted, text);
        assert_eq!(quoted, r#""plain \"\u00e9\ud83d\ude00\\ \u007f\u0001\n""#);
        assert_eq!(unescaped(&quoted[1..quoted.len() - 1]), text);
    }
}
