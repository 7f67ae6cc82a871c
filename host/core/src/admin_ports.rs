//! The seams that the API and the registry stand on. None is on the main path of a message.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use crate::ports::PortError;
use crate::{
    AuditEntry, AuditRow, Digest, Manifest, Module, ModuleName, QueueName, Shelf, Submission,
    Submitted, TaskCursor, TaskFilter, TaskId, TaskPage, TaskRow, Tenant, TenantId, Token,
};

/// Where modules are kept: their bytes, and a shelf for each tenant that says what they are for.
///
/// Shared by all workers and by whoever uploads. A shelf is changed by compare-and-set, so that no
/// server is needed to keep two writers apart.
#[async_trait]
pub trait ModuleStore: Send + Sync {
    /// The tenants that have a shelf, each with its revision. Cheap: asked whenever something may
    /// have changed.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn revisions(&self) -> Result<Vec<(TenantId, u64)>, PortError>;

    /// A tenant's shelf; an empty one when it never had any.
    ///
    /// # Errors
    /// When the store cannot be reached, or what is there cannot be read.
    async fn shelf(&self, tenant: &TenantId) -> Result<Shelf, PortError>;

    /// Replaces the shelf of that revision, which is counted up. Whether it was: otherwise somebody
    /// else changed it meanwhile, and nothing was done.
    ///
    /// # Errors
    /// When the store cannot be reached; it may have been replaced.
    async fn replace(&self, tenant: &TenantId, shelf: &Shelf) -> Result<bool, PortError>;

    /// A file for bytes that arrive. It is removed when the guard is dropped, or when nobody has
    /// touched it for an hour.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn incoming(&self) -> Result<Incoming, PortError>;

    /// Keeps what arrived, under what its bytes are; the digest must be theirs. May be repeated.
    ///
    /// # Errors
    /// When the store cannot be reached, or is full.
    async fn keep(
        &self,
        tenant: &TenantId,
        digest: &Digest,
        incoming: Incoming,
    ) -> Result<(), PortError>;

    /// Where the bytes of a version are on this machine; they are brought here if they are elsewhere.
    /// They must be hashed before they are used.
    ///
    /// # Errors
    /// When they have to be brought and cannot.
    async fn place(&self, tenant: &TenantId, digest: &Digest) -> Result<PathBuf, PortError>;

    /// Forgets the bytes of versions that no shelf has any more.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn discard(&self, tenant: &TenantId, digests: &[Digest]) -> Result<(), PortError>;

    /// Returns when something may have changed since this returned last, or when `longest` is over.
    /// Asked by one worker, which looks at all after each time.
    async fn changed(&self, longest: Duration);

    /// Whether something has changed since this or [`changed`](Self::changed) said so last. Asked by the
    /// same worker, ten times a second at most.
    async fn is_changed(&self) -> bool;
}

/// A file that is gone when this is dropped, unless it was kept.
pub struct Incoming {
    path: PathBuf,
    _guard: Box<dyn std::any::Any + Send + Sync>,
}

impl Incoming {
    /// A file, and what removes it when it is dropped.
    pub fn new(path: PathBuf, guard: impl std::any::Any + Send + Sync) -> Self {
        Self { path, _guard: Box::new(guard) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What was found out about bytes that somebody uploaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The module, compiled and described.
    pub module: Module,
    /// What it imports from its host.
    pub imports: Vec<String>,
}

/// Why bytes are no module for us.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// They are at fault: looking again is of no use.
    #[error("{detail}")]
    Refused {
        /// What is wrong, as a code.
        code: &'static str,
        /// What is wrong, in words.
        detail: String,
    },
    /// This machine is at fault.
    #[error("the module cannot be looked at")]
    Host(#[source] PortError),
}

/// Looks at bytes that come from anyone, where they can do no harm.
#[async_trait]
pub trait Inspector: Send + Sync {
    /// Compiles the file in a process of its own, has it describe itself in the tightest sandbox, and
    /// compares that with the manifest it carries.
    ///
    /// # Errors
    /// When the bytes are refused, or this machine failed.
    async fn inspect(&self, wasm: &Path, name: &ModuleName) -> Result<Inspected, InspectError>;

    /// The module of a version that was inspected before and is on a shelf with this manifest.
    ///
    /// # Errors
    /// When the bytes are not those of the digest, or this machine failed.
    async fn load(
        &self,
        wasm: &Path,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<Module, InspectError>;
}

/// Tokens, tenants made at run time, the audit log, and what became of calls.
///
/// Every change comes with its audit entry, and both happen or neither.
#[async_trait]
pub trait Records: Send + Sync {
    /// A token by its public part.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn token(&self, id: &str) -> Result<Option<Token>, PortError>;

    /// A tenant's tokens, the newest last.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn tokens(&self, tenant: &TenantId) -> Result<Vec<Token>, PortError>;

    /// Whether there is any token at all.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn has_tokens(&self) -> Result<bool, PortError>;

    /// Adds a token.
    ///
    /// # Errors
    /// When the store cannot be reached, or the id is taken.
    async fn add_token(&self, token: &Token, audit: AuditEntry) -> Result<(), PortError>;

    /// Revokes a tenant's token at the entry's moment. Whether there was one that was not revoked.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn revoke_token(
        &self,
        tenant: &TenantId,
        id: &str,
        audit: AuditEntry,
    ) -> Result<bool, PortError>;

    /// The tenants that were made at run time.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn tenants(&self) -> Result<Vec<Tenant>, PortError>;

    /// Makes a tenant, or replaces it.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn put_tenant(&self, tenant: &Tenant, audit: AuditEntry) -> Result<(), PortError>;

    /// Forgets a tenant that was made at run time, with its tokens. Whether there was one.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn remove_tenant(&self, tenant: &TenantId, audit: AuditEntry) -> Result<bool, PortError>;

    /// Adds an entry to the audit log.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn audit(&self, entry: AuditEntry) -> Result<(), PortError>;

    /// Rows of the audit log behind the one of this number, at most `most`.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn audit_rows(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, PortError>;

    /// Whether somebody submitted under this key before; if nobody did, this is the first.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn submit(&self, submission: &Submission) -> Result<Submitted, PortError>;

    /// Remembers that the submission was sent.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn submitted(&self, submission: &Submission) -> Result<(), PortError>;

    /// Remembers what became of calls; an older state never replaces a final one.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn remember(&self, rows: Vec<TaskRow>) -> Result<(), PortError>;

    /// What is known of a tenant's call.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn task(&self, tenant: &TenantId, id: &TaskId) -> Result<Option<TaskRow>, PortError>;

    /// A tenant's calls, the newest first, from behind `after`. It looks at a few thousand rows a
    /// call: whoever wants all goes on while there is a [`next`](TaskPage::next).
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn tasks(
        &self,
        tenant: &TenantId,
        filter: &TaskFilter,
        after: Option<&TaskCursor>,
        most: usize,
    ) -> Result<TaskPage, PortError>;

    /// A tenant's queues that calls of the history came from, with how many.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn queues(&self, tenant: &TenantId) -> Result<Vec<(QueueName, u64)>, PortError>;
}
