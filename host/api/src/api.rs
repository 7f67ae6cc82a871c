//! What every handler shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::admin_ports::{Inspector, ModuleStore, Records};
use lovage_core::ports::{Broker, Clock, KeptMessages, Ledger, PortError, Registry, ResultBackend};
use lovage_core::{QueueName, TaskId, TenantId, TenantTable, Tenants};
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::backlog::Backlog;
use crate::events::TaskEvent;
use crate::rates::Rates;

/// Ends calls that somebody regrets.
#[async_trait]
pub trait Cancel: Send + Sync {
    /// Keeps the call from running, and ends it if it runs and `terminate` says so.
    ///
    /// # Errors
    /// When nobody can be told.
    async fn cancel(&self, id: &TaskId, terminate: bool) -> Result<(), PortError>;
}

/// A worker that runs what is on the shelves.
#[async_trait]
pub trait Placement: Send + Sync {
    /// Returns when the worker of this process runs what is on a tenant's shelf of this revision.
    async fn placed(&self, tenant: &TenantId, revision: u64);
}

/// What a worker says of itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkerState {
    /// Its node name.
    pub hostname: String,
    /// Calls that it may have in work.
    pub slots: usize,
    /// Its executor processes.
    pub executors: usize,
    /// The queues it takes from.
    pub queues: Vec<String>,
    /// The tasks it knows, of all tenants.
    pub tasks: Vec<String>,
}

/// The outside, as the binary wired it.
pub struct Ports {
    /// Tokens, tenants, the audit log and the history.
    pub records: Arc<dyn Records>,
    /// The modules.
    pub store: Arc<dyn ModuleStore>,
    /// What looks at uploads.
    pub inspector: Arc<dyn Inspector>,
    /// Who owns which queues now.
    pub tenants: Arc<TenantTable>,
    /// Where calls go.
    pub broker: Arc<dyn Broker>,
    /// Where results are.
    pub results: Arc<dyn ResultBackend>,
    /// What was kept.
    pub kept: Arc<dyn KeptMessages>,
    /// What knows the calls that were kept, if anything does.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// Which module implements which task.
    pub registry: Arc<dyn Registry>,
    /// What ends calls, if anything does.
    pub cancel: Option<Arc<dyn Cancel>>,
    /// The worker of this process: a change is answered when it runs what was changed.
    pub placement: Arc<dyn Placement>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What the worker of this process says of itself.
    pub worker: Arc<dyn Fn() -> WorkerState + Send + Sync>,
}

/// How the API is to work.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The host's version: a refusal of another version's is looked at again.
    pub version: String,
    /// What the host calls itself in messages.
    pub hostname: String,
    /// The queue of the default tenant's calls that name none.
    pub default_queue: QueueName,
    /// Bytes of an upload, and of what it becomes when it is decompressed.
    pub upload_bytes_max: u64,
    /// The tenants that the configuration names; they cannot be changed at run time.
    pub configured: Tenants,
}

/// Everything that handlers share.
pub struct Api {
    pub(crate) ports: Ports,
    pub(crate) options: ApiOptions,
    pub(crate) rates: Rates,
    pub(crate) backlog: Backlog,
    pub(crate) events: broadcast::Sender<Arc<TaskEvent>>,
    /// A tenant's uploads are looked at one after the other.
    inspecting: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
}

/// Events that a slow reader may be behind; then it is told how many it missed.
const EVENTS_BEHIND_MAX: usize = 1_024;

impl Api {
    /// An API on these ports.
    pub fn new(ports: Ports, options: ApiOptions) -> Arc<Self> {
        Arc::new(Self {
            ports,
            options,
            rates: Rates::default(),
            backlog: Backlog::default(),
            events: broadcast::channel(EVENTS_BEHIND_MAX).0,
            inspecting: Mutex::default(),
        })
    }

    /// A tenant's turn to have an upload looked at.
    pub(crate) fn turn(&self, tenant: &TenantId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.inspecting.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(tenant.clone()).or_default())
    }
}

/// How long anything but an upload may take to arrive.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(10);

/// Bytes of any body but an upload.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;
