//! Modules as they are shown.

use lovage_core::{ModuleName, Shelved, Version};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::time;

/// A module with its versions and channels.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModuleView {
    name: String,
    /// The digest of the version that answers calls.
    live: Option<String>,
    canary: Option<CanaryView>,
    /// Where a rollback goes.
    previous: Option<String>,
    /// The newest last.
    versions: Vec<VersionView>,
}

/// A version that answers a share of the calls.
#[derive(Debug, Serialize, ToSchema)]
struct CanaryView {
    digest: String,
    percentage: u8,
}

/// A version in short.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionView {
    digest: String,
    bytes: u64,
    uploaded_at: String,
    uploaded_by: String,
    signed_by: Option<String>,
    tasks: Vec<String>,
}

/// A version with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionDetail {
    #[serde(flatten)]
    version: VersionView,
    imports: Vec<String>,
    /// What it says of itself.
    #[schema(value_type = Object)]
    manifest: Value,
}

impl ModuleView {
    pub(super) fn of(name: &ModuleName, module: &Shelved) -> Self {
        Self {
            name: name.to_string(),
            live: module.live.map(|digest| digest.to_string()),
            canary: module.canary.map(|canary| CanaryView {
                digest: canary.digest.to_string(),
                percentage: canary.share.of_a_hundred(),
            }),
            previous: module.before.last().map(ToString::to_string),
            versions: module.versions.iter().map(VersionView::of).collect(),
        }
    }
}

impl VersionView {
    fn of(version: &Version) -> Self {
        Self {
            digest: version.digest.to_string(),
            bytes: version.bytes,
            uploaded_at: time::text(version.at),
            uploaded_by: version.by.clone(),
            signed_by: version.signed_by.clone(),
            tasks: version.manifest.tasks.iter().map(|task| task.name.to_string()).collect(),
        }
    }
}

impl VersionDetail {
    pub(super) fn of(version: &Version) -> Self {
        Self {
            imports: version.imports.clone(),
            manifest: serde_json::to_value(&version.manifest).unwrap_or_default(),
            version: VersionView::of(version),
        }
    }
}
