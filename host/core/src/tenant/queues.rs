//! Which queues are meant: names in which `*` stands for any text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a queue, or of many: `*` stands for any text, the empty one too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueGlob(Arc<str>);

/// A text that names no queues.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name of queues has 1 to 255 bytes, no control characters and no commas")]
pub struct QueueGlobError;

impl QueueGlob {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one queue, and no others.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it means this queue.
    pub fn matches(&self, queue: &str) -> bool {
        matches(&self.0, queue)
    }
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(tail)
}

impl std::str::FromStr for QueueGlob {
    type Err = QueueGlobError;

    fn from_str(text: &str) -> Result<Self, QueueGlobError> {
        let bad = |letter: char| letter.is_control() || letter == ',';
        if text.is_empty() || text.len() > 255 || text.contains(bad) {
            return Err(QueueGlobError);
        }
        Ok(Self(Arc::from(text)))
    }
}

impl TryFrom<String> for QueueGlob {
    type Error = QueueGlobError;

    fn try_from(text: String) -> Result<Self, QueueGlobError> {
        text.parse()
    }
}

impl From<QueueGlob> for String {
    fn from(glob: QueueGlob) -> Self {
        glob.as_str().to_owned()
    }
}

impl fmt::Display for QueueGlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for QueueGlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::QueueGlob;

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, queue, is) in [
            ("acme.*", "acme.default", true),
            ("acme.*", "acme.", true),
            ("acme.*", "acme", false),
            ("*.low", "a.b.low", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "a.c", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(glob.parse::<QueueGlob>().unwrap().matches(queue), is, "{glob} {queue}");
        }
        for bad in ["", "a,b", "a\n"] {
            assert!(bad.parse::<QueueGlob>().is_err());
        }
    }
}
