//! Who may do what over the API, and what was done: tokens, scopes, and the audit log.

mod audit;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use audit::{AuditEntry, AuditRow, Tampered, verify_audit};

use crate::{Digest, QueueName, TaskId, TaskName, TenantId, Timestamp};

/// What a token may do. Each names one thing; none includes another, except that `admin` may do all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Send, cancel and retry calls.
    #[serde(rename = "tasks:send")]
    TasksSend,
    /// See calls, their results, queues and events.
    #[serde(rename = "tasks:read")]
    TasksRead,
    /// See modules.
    #[serde(rename = "modules:read")]
    ModulesRead,
    /// Upload modules, and say which version answers.
    #[serde(rename = "modules:write")]
    ModulesWrite,
    /// See what was kept.
    #[serde(rename = "dlq:read")]
    DlqRead,
    /// Replay and purge what was kept.
    #[serde(rename = "dlq:write")]
    DlqWrite,
    /// Everything, and tenants and tokens on the admin listener.
    #[serde(rename = "admin")]
    Admin,
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no scope; there are tasks:send, tasks:read, modules:read, modules:write, dlq:read, dlq:write and admin"
)]
pub struct ScopeError(pub String);

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TasksSend,
        Self::TasksRead,
        Self::ModulesRead,
        Self::ModulesWrite,
        Self::DlqRead,
        Self::DlqWrite,
        Self::Admin,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TasksSend => "tasks:send",
            Self::TasksRead => "tasks:read",
            Self::ModulesRead => "modules:read",
            Self::ModulesWrite => "modules:write",
            Self::DlqRead => "dlq:read",
            Self::DlqWrite => "dlq:write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        named.ok_or_else(|| ScopeError(text.chars().take(40).collect()))
    }
}

/// A token as it is stored: its secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public part.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The SHA-256 of its secret.
    pub secret_hash: Digest,
    /// What people call it.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is good now.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whether it may do this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|own| *own == scope || *own == Scope::Admin)
    }
}

/// A call that the API knows of, for whoever asks what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// The call's id.
    pub id: TaskId,
    /// Its task.
    pub task: TaskName,
    /// Its queue.
    pub queue: QueueName,
    /// Celery's word for its state.
    pub state: String,
    /// When it was sent, or seen first.
    pub sent_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
    /// The module version that it was admitted with last.
    pub digest: Option<Digest>,
    /// What it failed with, in one line.
    pub error: Option<String>,
}

/// Which calls are meant; what is said must all fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// In this state.
    pub state: Option<String>,
    /// Of this task.
    pub task: Option<TaskName>,
    /// From this queue.
    pub queue: Option<QueueName>,
    /// Whose error contains this.
    pub error: Option<String>,
    /// Sent at this moment or later.
    pub since: Option<Timestamp>,
}

/// Where a list of calls goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCursor {
    /// The last row's place in the history.
    pub place: i64,
}

/// Some calls, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskPage {
    /// The calls.
    pub rows: Vec<TaskRow>,
    /// Where to go on, if there may be more.
    pub next: Option<TaskCursor>,
}

/// A submission that names the key under which it happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Whose it is.
    pub tenant: TenantId,
    /// The SHA-256 of the key.
    pub key_hash: Digest,
    /// The SHA-256 of what was submitted.
    pub body_hash: Digest,
    /// The id that the call has if this is the first.
    pub id: TaskId,
    /// When.
    pub at: Timestamp,
}

/// Whether somebody submitted under this key before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Nobody: it is the first.
    First,
    /// The same call was submitted, with this id; whether it is known to have been sent.
    Again {
        /// The first one's id.
        id: TaskId,
        /// Whether it was sent; otherwise whoever asks sends it, under that id.
        is_sent: bool,
    },
    /// Another call has the key.
    Other,
}
