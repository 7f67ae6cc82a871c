//! What a tenant has in the registry: modules, their versions, and which of them answer calls.
//!
//! A version is named by the SHA-256 of its bytes and never changes. A channel is a pointer to one:
//! `live` answers calls, `canary` a share of them. Everything here is pure: a change is made to a
//! copy of the shelf, and the store takes it only if nobody else changed it meanwhile.

mod change;
mod diff;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use change::{Placement, Removal, ShelfError};
pub use diff::permission_changes;

use crate::{Digest, Manifest, NameError, Percentage, Timestamp, is_plain_name};

/// A module's name towards people: 1 to 64 of `a-z 0-9 - _ .`, and no dot first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleName(Arc<str>);

impl ModuleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ModuleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_plain_name(text) { Ok(Self(Arc::from(text))) } else { Err(NameError) }
    }
}

impl TryFrom<String> for ModuleName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ModuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

/// One upload that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The SHA-256 of its bytes: its name.
    pub digest: Digest,
    /// How many bytes.
    pub bytes: u64,
    /// When it was uploaded.
    pub at: Timestamp,
    /// Who uploaded it: the id of a token.
    pub by: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it imports from its host.
    #[serde(default)]
    pub imports: Vec<String>,
    /// The public key that signed it, in hexadecimal.
    #[serde(default)]
    pub signed_by: Option<String>,
}

/// A version that answers a share of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Which version.
    pub digest: Digest,
    /// How large a share.
    pub share: Percentage,
}

/// A module with all its versions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Shelved {
    /// Its versions, the newest last.
    pub versions: Vec<Version>,
    /// The version that answers calls.
    #[serde(default)]
    pub live: Option<Digest>,
    /// The version that is tried on some of them.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// What was live before, the latest last: where a rollback goes.
    #[serde(default)]
    pub before: Vec<Digest>,
}

impl Shelved {
    /// The version of this digest.
    pub fn version(&self, digest: &Digest) -> Option<&Version> {
        self.versions.iter().find(|version| version.digest == *digest)
    }

    /// The version that answers calls.
    pub fn live_version(&self) -> Option<&Version> {
        self.live.as_ref().and_then(|digest| self.version(digest))
    }
}

/// Why an upload of these bytes is refused again without looking at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The code of the refusal.
    pub code: String,
    /// What it said.
    pub detail: String,
    /// When.
    pub at: Timestamp,
    /// The version of the host that refused it: another one looks again.
    pub host: String,
}

/// Everything that a tenant has in the registry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Shelf {
    /// Counts changes: a store takes a shelf only as the next of the one it was made from.
    pub revision: u64,
    /// The modules by their names.
    pub modules: BTreeMap<ModuleName, Shelved>,
    /// Uploads that were refused for good, by what they were.
    #[serde(default)]
    pub rejected: BTreeMap<String, Rejection>,
}

impl Shelf {
    /// Bytes of all versions.
    pub fn bytes(&self) -> u64 {
        self.modules.values().flat_map(|module| &module.versions).map(|it| it.bytes).sum()
    }

    /// Whether any module has a version of these bytes.
    pub fn has(&self, digest: &Digest) -> bool {
        self.modules.values().any(|module| module.version(digest).is_some())
    }
}
