//! Which record a call is about, and whether it is the same call.

use std::fmt;

use sha2::{Digest as _, Sha256};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Json, TaskId, TaskName};

/// Names a record: 128 bits of the SHA-256 of tenant, task name and key.
///
/// The task name is part of it because Celery's `replace` runs another task under the same id. What
/// the caller's key says is hashed, so a store shows nobody's order numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerKey([u8; 16]);

impl LedgerKey {
    /// The record of a key that a caller or a task's template gives.
    pub fn explicit(tenant: &str, task: &TaskName, key: &str) -> Self {
        Self::hashed(b'E', tenant, task, key)
    }

    /// The record of a call's id.
    pub fn implicit(tenant: &str, task: &TaskName, id: &TaskId) -> Self {
        Self::hashed(b'I', tenant, task, id.as_str())
    }

    fn hashed(kind: u8, tenant: &str, task: &TaskName, key: &str) -> Self {
        let mut hash = Sha256::new_with_prefix([kind]);
        for part in [tenant, task.as_str(), key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(first(&hash.finalize()))
    }

    /// The key that these bytes are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for LedgerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// As 32 hexadecimal digits.
impl Serialize for LedgerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LedgerKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let number = (text.len() == 32).then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        let number = number
            .ok_or_else(|| serde::de::Error::custom("a ledger's key is 32 hexadecimal digits"))?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Debug for LedgerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LedgerKey({self})")
    }
}

/// What a call is called with, as a hash; it also says which kind of key the record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Of an implicit key: the arguments as they stand in the message. A redelivery has the same
    /// bytes; nothing but an accident brings others, so that four bytes of hash are enough.
    Raw([u8; 4]),
    /// Of an explicit key: task name and arguments in canonical form, since whoever calls a second
    /// time may write the same values otherwise.
    Canonical([u8; 32]),
}

impl Payload {
    /// The payload of a call by its id.
    pub fn raw(args: &Json, kwargs: &Json) -> Self {
        let hash = Sha256::new_with_prefix((args.as_str().len() as u64).to_be_bytes())
            .chain_update(args.as_str())
            .chain_update(kwargs.as_str());
        Self::Raw(first(&hash.finalize()))
    }

    /// The payload of a call by an explicit key.
    pub fn canonical(task: &TaskName, args: &Json, kwargs: &Json) -> Self {
        let hash = Sha256::new_with_prefix((task.as_str().len() as u64).to_be_bytes())
            .chain_update(task.as_str())
            .chain_update(args.canonical())
            .chain_update([0])
            .chain_update(kwargs.canonical());
        Self::Canonical(hash.finalize().into())
    }

    /// The payload that a store kept as these bytes; `None` when there are neither 4 nor 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            4 => bytes.try_into().ok().map(Self::Raw),
            _ => bytes.try_into().ok().map(Self::Canonical),
        }
    }

    /// The bytes that stores keep.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Canonical(bytes) => bytes,
        }
    }

    /// Whether the record has an explicit key.
    pub const fn is_explicit(&self) -> bool {
        matches!(self, Self::Canonical(_))
    }
}

fn first<const N: usize>(hash: &[u8]) -> [u8; N] {
    let mut short = [0; N];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    short
}

#[cfg(test)]
mod tests {
    use super::{LedgerKey, Payload};
    use crate::Json;

    #[test]
    fn tenant_task_kind_and_key_all_tell_records_apart() {
        let key = |tenant, task: &str, key| LedgerKey::explicit(tenant, &task.into(), key);
        let one = key("a", "b", "c");
        assert_eq!(one, key("a", "b", "c"));
        for other in [key("ab", "", "c"), key("a", "bc", ""), key("a", "b", "d")] {
            assert_ne!(one, other);
        }
        assert_ne!(one, LedgerKey::implicit("a", &"b".into(), &"c".into()));
    }

    #[test]
    fn a_canonical_payload_knows_values_and_a_raw_one_only_bytes() {
        let json = |text: &str| Json::parse(text).unwrap();
        let (tight, loose) = (json(r#"{"a":1,"b":2}"#), json(r#"{ "b": 2, "a": 1 }"#));
        let args = json("[]");
        let canonical = |kwargs| Payload::canonical(&"t".into(), &args, kwargs);
        assert_eq!(canonical(&tight), canonical(&loose));
        assert_ne!(Payload::raw(&args, &tight), Payload::raw(&args, &loose));
        let other = Payload::canonical(&"u".into(), &args, &tight);
        assert_ne!(canonical(&tight), other);
        assert_eq!(Payload::from_bytes(other.as_bytes()), Some(other));
    }
}
