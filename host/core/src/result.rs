//! What a result backend keeps.

use std::time::Duration;

use crate::{Failure, Json, QueueName, TaskId, TaskName, TenantId, Timestamp};

/// The state of a task towards its caller.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskState {
    /// An attempt is running.
    Started {
        /// The worker's process id.
        process_id: u32,
        /// The worker's node name.
        hostname: String,
    },
    /// It returned this.
    Success(Json),
    /// It failed for good.
    Failure(Failure),
    /// It failed and will be run again.
    Retry(Failure),
    /// It is not wanted any more: revoked, terminated or expired; the text says which.
    Revoked(&'static str),
    /// A state of the task's own.
    Custom {
        /// Its name.
        name: String,
        /// Its meta value.
        meta: Json,
    },
}

impl TaskState {
    /// Celery's name of the state.
    pub fn name(&self) -> &str {
        match self {
            Self::Started { .. } => "STARTED",
            Self::Success(_) => "SUCCESS",
            Self::Failure(_) => "FAILURE",
            Self::Retry(_) => "RETRY",
            Self::Revoked(_) => "REVOKED",
            Self::Custom { name, .. } => name,
        }
    }

    /// Whether the task is over in this state; only then has its document a `date_done`.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Success(_) | Self::Failure(_) | Self::Revoked(_))
    }
}

/// All that is needed to write a result document of any backend.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRecord {
    /// The task.
    pub task_id: TaskId,
    /// Its state and what goes with it.
    pub state: TaskState,
    /// When the state was reached.
    pub at: Timestamp,
    /// The group it is a member of.
    pub group: Option<TaskId>,
    /// The call that sent it.
    pub parent_id: Option<TaskId>,
    /// What it sent itself, in order.
    pub children: Vec<Child>,
    /// Where an `rpc://` result goes.
    pub reply_to: Option<Box<str>>,
    /// What an `rpc://` result is labelled with.
    pub correlation_id: Option<Box<str>>,
    /// What `result_extended` adds; `None` when it is off.
    pub extended: Option<Box<Extended>>,
    /// Whose call it is; `None` for the default tenant, whose documents are as Celery's.
    pub tenant: Option<TenantId>,
    /// How long it is kept; as long as the backend keeps all, without.
    pub life: Option<Duration>,
}

/// What a task sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    /// One call.
    Task(TaskId),
    /// Calls that left as one group.
    Group {
        /// The group's id.
        id: TaskId,
        /// Its members, in order.
        members: Vec<TaskId>,
    },
}

/// The fields that `result_extended` adds to a result document.
#[derive(Debug, Clone, PartialEq)]
pub struct Extended {
    /// The task's name.
    pub name: TaskName,
    /// Positional arguments.
    pub args: Json,
    /// Keyword arguments.
    pub kwargs: Json,
    /// The worker's node name.
    pub worker: String,
    /// How often it was retried.
    pub retries: u32,
    /// The queue it came from.
    pub queue: QueueName,
    /// `stamped_headers` of the message, with every stamp: a JSON object, empty when there are none.
    pub stamps: Json,
}
