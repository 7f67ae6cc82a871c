//! What a module may be granted, in words such as `http:api.bank.example`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::queues::matches;

/// Something that a task wants to be granted: a kind, and what of it, as in `http:api.bank.example`,
/// `kv:read-write` or `enqueue:shop.*`. In a grant `*` stands for any text, and `*` alone for all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(Arc<str>);

/// A text that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no capability; one is `kind:what`, such as `http:api.bank.example`")]
pub struct CapabilityError(String);

impl Capability {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind it is, such as `http`.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(kind, _)| kind)
    }
}

impl std::str::FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let error = || CapabilityError(text.chars().take(80).collect());
        let (kind, what) = match text.split_once(':') {
            Some(parts) => parts,
            None if text == "*" => (text, text),
            None => return Err(error()),
        };
        let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*');
        let is_kind = !kind.is_empty() && kind.as_bytes().iter().all(plain);
        let bad = |letter: char| letter.is_control() || letter.is_whitespace() || letter == ',';
        if !is_kind || what.is_empty() || text.len() > 255 || what.contains(bad) {
            return Err(error());
        }
        Ok(Self(Arc::from(text)))
    }
}

impl TryFrom<String> for Capability {
    type Error = CapabilityError;

    fn try_from(text: String) -> Result<Self, CapabilityError> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.as_str().to_owned()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

/// What a tenant's modules may be granted. Nothing, unless it is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(Vec<Capability>);

impl Capabilities {
    /// Whatever there is: what the default tenant has, whose machine it is.
    pub fn everything() -> Self {
        Self(vec![Capability(Arc::from("*"))])
    }

    /// Whether one of them covers what is wanted. A wish for many, such as `enqueue:*`, needs a grant
    /// that says as much.
    pub fn allow(&self, wanted: &Capability) -> bool {
        self.0.iter().any(|grant| matches(grant.as_str(), wanted.as_str()))
    }

    /// Whether any of them is of this kind, such as `http`.
    pub fn has_kind(&self, kind: &str) -> bool {
        self.0.iter().any(|grant| matches(grant.kind(), kind))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.0.iter()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Capability};

    #[test]
    fn a_grant_covers_what_it_names_and_what_its_stars_stand_for() {
        let grants: Capabilities = ["http:*.bank.example", "kv:read", "enqueue:shop.*"]
            .iter()
            .map(|grant| grant.parse().unwrap())
            .collect();
        let allowed = |wanted: &str| grants.allow(&wanted.parse::<Capability>().unwrap());
        for wanted in ["http:api.bank.example", "kv:read", "enqueue:shop.charge", "enqueue:shop.*"]
        {
            assert!(allowed(wanted), "{wanted}");
        }
        for wanted in ["http:bank.example", "kv:read-write", "enqueue:*", "enqueue:other", "x:y"] {
            assert!(!allowed(wanted), "{wanted}");
        }
        assert!(Capabilities::everything().allow(&"kv:read-write".parse().unwrap()));
        assert!(grants.has_kind("http") && !grants.has_kind("config"));
        assert!(Capabilities::everything().has_kind("config"));
        assert!(!Capabilities::default().allow(&"kv:read".parse().unwrap()));
    }

    #[test]
    fn what_is_no_capability_is_refused() {
        for text in ["", "http", "http:", ":x", "HTTP:x", "http:a b", "http:a,b", "kv:\n"] {
            assert!(text.parse::<Capability>().is_err(), "{text:?}");
        }
    }
}
