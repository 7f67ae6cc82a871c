//! Uploaded modules, and what is recorded beside them.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use lovage_core::admin_ports::{Inspector, ModuleStore, Records};
use lovage_core::ports::{Registry, Sandbox};
use lovage_sandbox::Compiler;
use lovage_stores::registry::FolderRegistry;
use lovage_stores::sqlite::SqliteRecords;
use lovage_worker::Modules;

use crate::config::Config;
use crate::inspector::Workbench;
use crate::shelves::{Placed, Uploaded};

/// Uploaded modules, and what is recorded beside them.
#[derive(Clone)]
pub(crate) struct Library {
    pub(crate) store: Arc<dyn ModuleStore>,
    pub(crate) inspector: Arc<dyn Inspector>,
    pub(crate) records: Arc<dyn Records>,
    /// What of it this worker runs.
    pub(crate) placed: Arc<Placed>,
}

impl Library {
    /// The registry, if the configuration names one.
    ///
    /// # Errors
    /// When the folder or the records cannot be used.
    pub(super) async fn open(
        config: &Config,
        compiler: &Compiler,
        sandbox: &Arc<dyn Sandbox>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(folder) = &config.registry else { return Ok(None) };
        let url = folder.to_str().filter(|text| text.contains("://"));
        let store = if let Some(url) = url {
            objects(url, config).await.context("registry.folder")?
        } else {
            // The compiler process works elsewhere: what it is given must not depend on where.
            let folder = std::path::absolute(folder)?;
            Arc::new(FolderRegistry::open(folder).await.context("registry.folder")?)
        };
        let records = SqliteRecords::open(&config.records, config.api.history).await;
        let inspector = Workbench::new(compiler.clone(), Arc::clone(sandbox));
        Ok(Some(Self {
            store,
            inspector: Arc::new(inspector),
            records: Arc::new(records.context("registry.records")?),
            placed: Arc::default(),
        }))
    }
}

/// The registry in an object store, with copies of modules beside their native code.
#[cfg(feature = "s3")]
async fn objects(url: &str, config: &Config) -> anyhow::Result<Arc<dyn ModuleStore>> {
    use lovage_stores::registry::ObjectRegistry;

    use crate::config::Surroundings;

    if config.records.starts_with(url) {
        bail!("registry.records has to name a file where registry.folder is a URL");
    }
    let copies = std::path::absolute(config.cache.join("modules"))?;
    let environment = Surroundings::of_process().texts();
    Ok(Arc::new(ObjectRegistry::at(url, environment, copies).await?))
}

#[cfg(not(feature = "s3"))]
#[expect(clippy::unused_async, reason = "with the feature it waits")]
async fn objects(url: &str, _config: &Config) -> anyhow::Result<Arc<dyn ModuleStore>> {
    bail!("{url} is a URL, and this program was built without the feature `s3`")
}

/// What calls are answered by: modules that somebody may push at any moment, or those there are.
pub(super) fn registry(library: Option<&Library>, modules: &Arc<Modules>) -> Arc<dyn Registry> {
    let modules = Arc::clone(modules);
    match library {
        Some(Library { placed, .. }) => Arc::new(Uploaded { modules, placed: Arc::clone(placed) }),
        None => modules,
    }
}
