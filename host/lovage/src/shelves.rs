//! What is on the shelves of the registry becomes the tasks of this worker, while it works.
//!
//! A change is seen within a fraction of a second. The new modules are compiled and loaded first, then
//! a tenant's tasks are replaced in one step, so no call ever finds neither version. What cannot be
//! loaded is told, and what answered before goes on answering.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use lovage_api::Placement;
use lovage_core::admin_ports::{InspectError, Inspector, ModuleStore, Records};
use lovage_core::ports::{Clock as _, Registry, Resolved};
use lovage_core::{
    AuditEntry, Digest, Module, ModuleName, Percentage, Shelf, Shelved, TaskId, TaskName, TenantId,
    TenantTable, Tenants,
};
use lovage_worker::{Modules, Route};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::wiring::SystemClock;

/// Between two looks for calls that nobody knows, however many there are.
const PACE: Duration = Duration::from_millis(100);

/// How long such a call may wait for what was pushed to be loaded.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a change may go unseen where its mark is, as on some shared folders.
const LONGEST: Duration = Duration::from_secs(5);

/// Which shelves are in place, for whoever waits for one; and how to have it looked at now.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    revisions: watch::Sender<HashMap<TenantId, u64>>,
    look: Notify,
    /// Calls that nobody knew, counted; and how many of these were looked for.
    unknown: AtomicU64,
    looked_for: watch::Sender<u64>,
    ask: Notify,
}

impl Placed {
    /// Has it looked at now, once for all who ask meanwhile, and waits for the end of that.
    async fn refresh(&self) {
        let mut looked_for = self.looked_for.subscribe();
        let number = self.unknown.fetch_add(1, Ordering::AcqRel) + 1;
        self.ask.notify_one();
        // What takes longer is parked, and runs when it is there.
        let looked = looked_for.wait_for(|looked_for| *looked_for >= number);
        let _ = tokio::time::timeout(PATIENCE, looked).await;
    }
}

/// The tasks of a worker whose modules are uploaded.
pub(crate) struct Uploaded {
    pub(crate) modules: Arc<Modules>,
    pub(crate) placed: Arc<Placed>,
}

#[async_trait]
impl Registry for Uploaded {
    fn resolve(&self, tenant: &TenantId, task: &TaskName, call: &TaskId) -> Option<Resolved> {
        self.modules.resolve(tenant, task, call)
    }

    fn generation(&self) -> u64 {
        self.modules.generation()
    }

    async fn refresh(&self) {
        self.placed.refresh().await;
    }
}

#[async_trait]
impl Placement for Placed {
    async fn placed(&self, tenant: &TenantId, revision: u64) {
        self.look.notify_one();
        let mut revisions = self.revisions.subscribe();
        let is_in_place = |revisions: &HashMap<TenantId, u64>| {
            revisions.get(tenant).is_some_and(|placed| *placed >= revision)
        };
        // That nobody places anything any more is the end of this process.
        let _ = revisions.wait_for(is_in_place).await;
    }
}

/// Keeps a worker's tasks as the shelves say.
pub(crate) struct Shelves {
    store: Arc<dyn ModuleStore>,
    inspector: Arc<dyn Inspector>,
    records: Arc<dyn Records>,
    modules: Arc<Modules>,
    configured: Tenants,
    tenants: Arc<TenantTable>,
    /// What of each tenant's shelf is in place, and what of it was loaded.
    placed: HashMap<TenantId, InPlace>,
    told_placed: Arc<Placed>,
    /// What tenants have from a folder besides.
    folder: HashMap<TenantId, Vec<Arc<Module>>>,
    /// Bytes that could not be loaded: told once.
    told: HashSet<Digest>,
}

#[derive(Default)]
struct InPlace {
    revision: u64,
    loaded: HashMap<Digest, Arc<Module>>,
    /// What answers each module's calls: what goes on answering when the next one cannot be loaded.
    live: HashMap<ModuleName, Arc<Module>>,
}

impl Shelves {
    pub(crate) fn new(
        (store, inspector): (Arc<dyn ModuleStore>, Arc<dyn Inspector>),
        records: Arc<dyn Records>,
        modules: Arc<Modules>,
        (configured, tenants, told_placed): (Tenants, Arc<TenantTable>, Arc<Placed>),
    ) -> Self {
        Self {
            store,
            inspector,
            records,
            modules,
            configured,
            tenants,
            placed: HashMap::new(),
            told_placed,
            folder: HashMap::new(),
            told: HashSet::new(),
        }
    }

    /// The same, with what a folder gave each tenant.
    pub(crate) fn beside(self, folder: HashMap<TenantId, Vec<Arc<Module>>>) -> Self {
        Self { folder, ..self }
    }

    /// Looks once: tenants and shelves.
    ///
    /// # Errors
    /// When the store or the records cannot be reached; what was in place stays.
    pub(crate) async fn look(&mut self) -> anyhow::Result<()> {
        lovage_api::refresh_tenants(&*self.records, &self.configured, &self.tenants)
            .await
            .context("cannot read the tenants")?;
        let revisions = self.store.revisions().await.context("cannot read the registry")?;
        for (tenant, revision) in revisions {
            let known = self.placed.get(&tenant).map_or(0, |placed| placed.revision);
            if revision != known {
                let shelf = self.store.shelf(&tenant).await.context("cannot read a shelf")?;
                self.place(&tenant, &shelf).await;
            }
        }
        Ok(())
    }

    /// Looks again and again.
    pub(crate) async fn watch(mut self) {
        let placed = Arc::clone(&self.told_placed);
        let (mut is_well, mut next) = (true, Instant::now());
        loop {
            let asked = async {
                placed.ask.notified().await;
                tokio::time::sleep_until(next).await;
            };
            let is_asked = tokio::select! {
                () = self.store.changed(LONGEST) => false,
                () = placed.look.notified() => false,
                () = asked => true,
            };
            let unknown = placed.unknown.load(Ordering::Acquire);
            if !is_asked || !is_well || self.store.is_changed().await {
                let looked = self.look().await;
                is_well = looked.is_ok();
                if let Err(error) = looked {
                    warn!(error = format!("{error:#}"), "Cannot look at the registry");
                }
            }
            placed.looked_for.send_replace(unknown);
            next = Instant::now() + PACE;
        }
    }

    async fn place(&mut self, tenant: &TenantId, shelf: &Shelf) {
        let mut placed = self.placed.remove(tenant).unwrap_or_default();
        let (mut routes, mut next) = (Vec::new(), InPlace::default());
        next.revision = shelf.revision;
        for (name, module) in &shelf.modules {
            for (digest, canary) in channels(module) {
                let before = placed.loaded.remove(&digest);
                let found = match before.map_or_else(|| next.loaded.get(&digest).cloned(), Some) {
                    Some(found) => Ok(found),
                    None => self.load(tenant, name, module, &digest).await,
                };
                let found = found.map_err(|again| {
                    // A fault of this machine may pass: look at the same revision again.
                    next.revision = if again { 0 } else { next.revision };
                });
                let former = || placed.live.get(name).filter(|_| canary.is_none()).cloned();
                if let Some(found) = found.ok().or_else(former) {
                    if canary.is_none() {
                        next.live.insert(name.clone(), Arc::clone(&found));
                    }
                    next.loaded.insert(found.digest, Arc::clone(&found));
                    routes.push(Route { module: found, canary });
                }
            }
        }
        let folder = self.folder.get(tenant).into_iter().flatten();
        routes.extend(folder.map(|it| Route { module: Arc::clone(it), canary: None }));
        for conflict in self.modules.replace(tenant, &routes) {
            warn!(tenant = tenant.as_str(), %conflict, "Left out a module");
        }
        let modules = routes.len();
        info!(tenant = tenant.as_str(), revision = shelf.revision, modules, "Placed a shelf");
        self.placed.insert(tenant.clone(), next);
        self.told_placed.revisions.send_modify(|revisions| {
            revisions.insert(tenant.clone(), shelf.revision);
        });
    }

    /// Loads a version; says whether it may work later when it does not now.
    async fn load(
        &mut self,
        tenant: &TenantId,
        name: &ModuleName,
        module: &Shelved,
        digest: &Digest,
    ) -> Result<Arc<Module>, bool> {
        let version = module.version(digest).ok_or(false)?;
        let loaded = match self.store.place(tenant, digest).await {
            Ok(place) => self.inspector.load(&place, digest, &version.manifest).await,
            Err(error) => Err(InspectError::Host(error)),
        };
        let problem = match loaded {
            Ok(module) => return Ok(Arc::new(module)),
            Err(problem) => problem,
        };
        let again = matches!(problem, InspectError::Host(_));
        let problem = format!("{:#}", anyhow::Error::from(problem));
        if self.told.insert(*digest) {
            error!(
                tenant = tenant.as_str(),
                module = name.as_str(),
                problem,
                "Cannot load a module"
            );
            let entry = AuditEntry {
                at: SystemClock.now(),
                actor: "worker".into(),
                tenant: tenant.clone(),
                action: "module.load-failed".into(),
                subject: name.to_string(),
                detail: format!("{digest}: {problem}"),
            };
            if let Err(problem) = self.records.audit(entry).await {
                let error = &problem as &dyn std::error::Error;
                warn!(error, "The audit log does not have it");
            }
        }
        Err(again)
    }
}

/// The versions that answer calls: the live one, then the canary.
fn channels(module: &Shelved) -> Vec<(Digest, Option<Percentage>)> {
    let canary = module.canary.map(|canary| (canary.digest, Some(canary.share)));
    module.live.map(|digest| (digest, None)).into_iter().chain(canary).collect()
}
