//! The grammar: a walk over a text, value by value, that builds nothing.

use super::{DEPTH_MAX, JsonError};

/// Walks over a text, value by value, without building anything.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Checks that the text is exactly one value; returns it without the space around it.
    pub(super) fn whole(text: &'a str) -> Result<&'a str, JsonError> {
        let mut scanner = Self::new(text);
        let value = scanner.value(0)?;
        scanner.end().map(|()| value)
    }

    /// Checks that the text is exactly one object, and calls `each` with its members.
    pub(super) fn whole_object(
        text: &'a str,
        each: impl FnMut(&'a str, &'a str),
    ) -> Result<(), JsonError> {
        let mut scanner = Self::new(text);
        scanner.space();
        scanner.object(0, each)?;
        scanner.end()
    }

    pub(super) fn array(
        &mut self,
        depth: usize,
        mut each: impl FnMut(&'a str),
    ) -> Result<(), JsonError> {
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

    pub(super) fn object(
        &mut self,
        depth: usize,
        mut each: impl FnMut(&'a str, &'a str),
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

    /// One value with the space before it; returns its text.
    fn value(&mut self, depth: usize) -> Result<&'a str, JsonError> {
        self.space();
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.object(depth, |_, _| ())?,
            Some(b'[') => self.array(depth, |_| ())?,
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

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        self.space();
        Ok(())
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
            self.plain();
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

    /// Goes to the next quote, backslash or control character, eight bytes at a time: nearly all of
    /// a message is inside strings. The last bytes of the text are left to the caller.
    fn plain(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (words, _) = rest.as_chunks::<8>();
        for word in words {
            match special(u64::from_le_bytes(*word)) {
                None => self.at += 8,
                Some(place) => {
                    self.at += place;
                    return;
                }
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

/// The place of the first of eight bytes that is a quote, a backslash or a control character.
///
/// Each test sets the top bit of a byte that matches. It may set it for bytes above that one, too,
/// but never below, so the lowest is right.
const fn special(word: u64) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let quote = zero(word ^ (ONES * 0x22));
    let backslash = zero(word ^ (ONES * 0x5c));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let marks = (quote | backslash | control) & TOPS;
    if marks == 0 { None } else { Some((marks.trailing_zeros() / 8) as usize) }
}

#[cfg(test)]
mod tests {
    use super::{Scanner, special};

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut word = *b"abcdefgh";
                word[place] = byte;
                let expected = byte < 0x20 || byte == b'"' || byte == b'\\';
                let found = special(u64::from_le_bytes(word));
                assert_eq!(found, expected.then_some(place), "{byte} at {place}");
                word[7] = b'"';
                let first = if expected { place } else { 7 };
                assert_eq!(special(u64::from_le_bytes(word)), Some(first), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn strings_end_at_their_quote_wherever_it_stands() {
        for length in 0..40 {
            let text = format!("\"{}\"", "é".repeat(length));
            assert_eq!(Scanner::whole(&text), Ok(text.as_str()));
            assert!(Scanner::whole(&text[..text.len() - 1]).is_err());
        }
    }
}
