//! Enough of Rust's grammar to tell code from comments and strings.

/// The text with every comment and every string's content turned into spaces; line ends stay, so
/// that line numbers do.
pub(crate) fn blank_comments_and_strings(text: &str) -> String {
    let mut left = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = left.chars().next() {
        let skipped = skip(left, code.chars().next_back());
        if skipped == 0 {
            code.push(first);
            left = left.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let (gone, rest) = left.split_at_checked(skipped).unwrap_or((left, ""));
            code.extend(gone.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            left = rest;
        }
    }
    code
}

/// How many bytes of a comment or literal `text` begins with; 0 if it begins with code.
fn skip(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if text.starts_with('\'') {
        return character(text);
    }
    if !in_word && text.starts_with(['r', 'b', 'c']) {
        return prefixed(text);
    }
    0
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// A string from its first quote to its last, escapes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.chars().skip(1);
    match (letters.next(), letters.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(letter), Some('\'')) => letter.len_utf8() + 2,
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `c"…"` and what only looks like them.
fn prefixed(text: &str) -> usize {
    let letters = text.find(|letter| !matches!(letter, 'b' | 'c' | 'r')).unwrap_or(text.len());
    let rest = text.get(letters..).unwrap_or_default();
    let raw = text.get(..letters).is_some_and(|prefix| prefix.ends_with('r'));
    let hashes = rest.find(|letter| letter != '#').unwrap_or(rest.len());
    if letters > 2 || !rest.get(hashes..).is_some_and(|rest| rest.starts_with('"')) {
        return 0;
    }
    if !raw {
        return if hashes == 0 { letters + quoted(rest, '"') } else { 0 };
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = rest.get(hashes + 1..).unwrap_or_default();
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    letters + hashes + 1 + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stays_and_the_rest_goes() {
        for text in [
            "// unsafe",
            "/* unsafe /* unsafe */ unsafe */",
            "\"unsafe \\\" unsafe\"",
            "r\"unsafe \\\"",
            "r#\"unsafe \" unsafe\"#",
            "br#\"unsafe\"#",
            "b\"unsafe\"",
        ] {
            let code = blank_comments_and_strings(&format!("before {text}\n after"));
            assert!(!code.contains("unsafe"), "{text} -> {code}");
            assert!(code.contains("before") && code.contains("after"), "{text} -> {code}");
            assert_eq!(code.lines().count(), 2);
        }
    }

    #[test]
    fn quotes_that_begin_no_string_hide_nothing() {
        for text in ["'\"' unsafe", "'\\'' unsafe", "&'a str, unsafe", "bar(r) unsafe", "br unsafe"]
        {
            assert!(blank_comments_and_strings(text).contains("unsafe"), "{text}");
        }
    }
}
