//! What builders need of the environment: where programs are, and where to keep things.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The environment of this process, read once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings(BTreeMap<String, OsString>);

impl Surroundings {
    /// Reads it.
    pub(crate) fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "config is what reads the environment")]
        let variables = std::env::vars_os();
        Self(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect(),
        )
    }

    /// The value of a variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// All variables that are text.
    #[cfg(feature = "s3")]
    pub(crate) fn texts(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().filter_map(|(name, value)| Some((name, value.into_string().ok()?)))
    }

    /// The folders in which programs are looked for.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        let path = self.variable("PATH").unwrap_or_default();
        std::env::split_paths(&path).collect()
    }

    /// Where finished builds are kept: `LOVAGE_BUILD_CACHE`, or the user's cache.
    pub(crate) fn build_cache(&self) -> PathBuf {
        if let Some(named) = self.variable("LOVAGE_BUILD_CACHE") {
            return named.into();
        }
        let base = self
            .variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| self.variable("HOME").map(|home| PathBuf::from(home).join(".cache")));
        base.unwrap_or_else(std::env::temp_dir).join("lovage")
    }
}
