//! Names, ids and messages come from anyone: nothing in them may act on the terminal they are shown on.

/// A text whose characters that a terminal would act on are escaped, line breaks among them.
pub(crate) fn inert(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_bidirectional(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same for a text of several lines, which stay lines.
pub(crate) fn inert_lines(text: &str) -> String {
    text.split('\n').map(inert).collect::<Vec<_>>().join("\n")
}

/// Whether a character changes the direction of what follows it.
fn is_bidirectional(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(inert("a\u{1b}[31mé\u{202e}\n"), "a\\u{1b}[31mé\\u{202e}\\u{a}");
    }
}
