//! The host, as the rest of this crate sees it: the same calls on every target.
//!
//! In a guest they are the imports of `lovage:task`; elsewhere the fake host of `testing` answers.

#[cfg(target_family = "wasm")]
mod imports;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
#[cfg(target_family = "wasm")]
mod sending;

use std::{fmt, time::Duration};

#[cfg(target_family = "wasm")]
pub(crate) use imports::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(target_family = "wasm")]
pub(crate) use sending::send_http;

use crate::TaskError;

/// The attempt that a task is run for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// The task's id: the same over all its attempts.
    pub task_id: String,
    /// The first task of the tree that this one belongs to.
    pub root_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// The group that this task is a member of.
    pub group_id: Option<String>,
    /// How often the task was retried before this attempt; 0 at the first.
    pub retries: u32,
    /// How many retries the policy allows; `None` means no bound.
    pub max_retries: Option<u32>,
    /// The key under which this task happens once.
    pub idempotency_key: String,
    /// The queue that the message came from.
    pub queue: String,
    /// When the caller wanted the task to run, in ISO 8601.
    pub eta: Option<String>,
    /// When the task is no longer wanted, in ISO 8601.
    pub expires: Option<String>,
    /// Whether the broker delivered this message before.
    pub redelivered: bool,
    /// All headers of the message, a JSON object.
    pub headers: String,
}

/// How much time an attempt has left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeLeft {
    /// Until the soft limit; `None` when there is none, zero when it is over.
    pub soft: Option<Duration>,
    /// Until the hard limit, at which the instance is dropped.
    pub hard: Duration,
}

/// What the host says when a call cannot be honoured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostError {
    /// The soft time limit is over: tidy up and return, the hard limit is near.
    SoftTimeLimit,
    /// The host offers nothing behind this call as it is configured.
    Unavailable(String),
    /// The call itself is wrong.
    Invalid(String),
    /// A limit of this attempt is reached; the text names it.
    Limit(String),
    /// Anything else; taken to be transient.
    Other(String),
}

impl fmt::Display for HostError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SoftTimeLimit => formatter.write_str("the soft time limit is over"),
            Self::Unavailable(what) => write!(formatter, "the host does not offer this: {what}"),
            Self::Invalid(what) => write!(formatter, "the host refuses this call: {what}"),
            Self::Limit(what) => write!(formatter, "a limit is reached: {what}"),
            Self::Other(what) => write!(formatter, "the host failed: {what}"),
        }
    }
}

/// `HostError` is no `std::error::Error`, so that each kind can have its own consequence: what no
/// retry can mend is rejected, and the soft limit raises what Celery raises.
impl From<HostError> for TaskError {
    #[track_caller]
    fn from(error: HostError) -> Self {
        match error {
            HostError::SoftTimeLimit => Self::fail("SoftTimeLimitExceeded()")
                .exception("SoftTimeLimitExceeded")
                .module("billiard.exceptions")
                .arguments(&[(); 0]),
            HostError::Unavailable(_) => Self::reject(error).exception("Unavailable"),
            HostError::Invalid(_) => Self::reject(error).exception("InvalidCall"),
            HostError::Limit(_) => Self::reject(error).exception("LimitExceeded"),
            HostError::Other(_) => Self::fail(error).exception("HostError"),
        }
    }
}

/// How a step begins.
pub(crate) enum Begun {
    Run(StepHandle),
    Replay(String),
    Ambiguous(StepHandle),
}

/// How a call is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOptions {
    pub(crate) queue: Option<String>,
    pub(crate) countdown: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) priority: Option<u8>,
    pub(crate) ignore_result: bool,
    pub(crate) headers: Option<String>,
}
