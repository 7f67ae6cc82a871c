//! An admitted call.

use std::sync::Arc;

use crate::{Invocation, Limits, Module, RetryPolicy, TaskSpec, Tenant, Timestamp};

/// A call that may run: what answers it, under which limits, and what happens if it fails.
#[derive(Debug, Clone)]
pub struct Job {
    /// The call.
    pub invocation: Invocation,
    /// Who owns the queue it came from.
    pub tenant: Arc<Tenant>,
    /// The module that the task was resolved to; the job keeps it, whatever is uploaded meanwhile.
    pub module: Arc<Module>,
    /// The task's entry in that module's manifest.
    pub task: Arc<TaskSpec>,
    /// The smallest of what operator, task and message allow.
    pub limits: Limits,
    /// What becomes of a failure.
    pub retry: RetryPolicy,
    /// The key under which the call happens once, in words.
    pub key: Box<str>,
    /// Whether the caller or the task gave that key; otherwise it is the call's id.
    pub key_is_explicit: bool,
}

/// Why a call is not admitted now although nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Its ETA, or the delay of its retry, has not come.
    Until(Timestamp),
}
