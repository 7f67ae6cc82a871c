//! A module: what a task's name is resolved to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Digest, Manifest, TaskId};

/// A module that was compiled and described: ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// The SHA-256 of the bytes that were uploaded.
    pub digest: Digest,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The native code an executor loads. Written by our own compiler process only.
    pub compiled: PathBuf,
}

/// A share of calls, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percentage(u8);

/// A number that is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is 0 to 100 percent")]
pub struct PercentageError;

impl Percentage {
    /// This many of a hundred; `None` above 100.
    pub const fn new(of_a_hundred: u8) -> Option<Self> {
        if of_a_hundred <= 100 { Some(Self(of_a_hundred)) } else { None }
    }

    /// How many of a hundred.
    pub const fn of_a_hundred(self) -> u8 {
        self.0
    }

    /// Whether a call is in the share: the same call always is, or never.
    pub fn takes(self, call: &TaskId) -> bool {
        // FNV-1a, with a last mix because ids that people count up differ in their last byte only.
        let hash = call.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        mixed % 100 < u64::from(self.0)
    }
}

impl TryFrom<u8> for Percentage {
    type Error = PercentageError;

    fn try_from(of_a_hundred: u8) -> Result<Self, PercentageError> {
        Self::new(of_a_hundred).ok_or(PercentageError)
    }
}

impl From<Percentage> for u8 {
    fn from(percentage: Percentage) -> Self {
        percentage.0
    }
}

#[cfg(test)]
mod tests {
    use super::Percentage;

    #[test]
    fn nothing_and_everything_are_exact() {
        let taken = |percent: u8| {
            let share = Percentage::new(percent).unwrap();
            (0..1_000).filter(|call: &u32| share.takes(&call.to_string().into())).count()
        };
        assert_eq!((taken(0), taken(100)), (0, 1_000));
        assert!(taken(10) > 50 && taken(10) < 150, "{}", taken(10));
        assert_eq!(Percentage::new(101), None);
    }
}
