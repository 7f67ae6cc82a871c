//! A decoded call.

use std::time::Duration;

use crate::{Delivery, Json, QueueName, RetryMarks, TaskId, TaskName, Timestamp};

/// A call, decoded from a delivery of either message protocol.
///
/// What the host acts on has a field. Everything else a message carries stays in [`headers`] and in
/// the delivery itself, from which a retry is built, so that nothing unknown is lost on the way.
///
/// [`headers`]: Self::headers
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The task that is called.
    pub task: TaskName,
    /// The call's id.
    pub id: TaskId,
    /// The first call of the tree this one belongs to.
    pub root_id: Option<TaskId>,
    /// The call that sent this one.
    pub parent_id: Option<TaskId>,
    /// The group it is a member of.
    pub group: Option<TaskId>,
    /// Its place in that group, which decides the order of a chord's results.
    pub group_index: Option<i64>,
    /// How often it was retried before.
    pub retries: u32,
    /// What the message says of its retries.
    pub retry: RetryMarks,
    /// Not to be run before.
    pub eta: Option<Timestamp>,
    /// Not to be run after.
    pub expires: Option<Timestamp>,
    /// What the caller allows it to take.
    pub time_limit: TimeLimit,
    /// Whether nobody wants the result; `None` means that the task's own setting holds.
    pub ignore_result: Option<bool>,
    /// The name to show in events and logs instead of the task's.
    pub shadow: Option<Box<str>>,
    /// Where an `rpc://` result goes.
    pub reply_to: Option<Box<str>>,
    /// What an `rpc://` result is labelled with; the id where the message has none.
    pub correlation_id: Option<Box<str>>,
    /// The message's priority, in the broker's own meaning.
    pub priority: Option<u8>,
    /// The caller's own key for "this happens once": header `idempotency-key`.
    pub idempotency_key: Option<Box<str>>,
    /// How often the task was replaced by another under the same id.
    pub replaced_task_nesting: u32,
    /// Positional arguments: a JSON array, or whatever else the caller sent in its place.
    pub args: Json,
    /// Keyword arguments: a JSON object, or whatever else the caller sent in its place.
    pub kwargs: Json,
    /// What an errback is told besides the failed call's id, as whoever sent it knows it: an object
    /// with `request`, `exc` and `tb`.
    pub errback: Option<Json>,
    /// What is to be sent after it.
    pub links: Links,
    /// All headers as a JSON object: the unknown ones, too.
    pub headers: Json,
    /// What it was decoded from.
    pub delivery: Delivery,
}

impl Invocation {
    /// The queue the call came from.
    pub fn queue(&self) -> &QueueName {
        &self.delivery.queue
    }

    /// The name to show to people.
    pub fn shown_name(&self) -> &str {
        self.shadow.as_deref().unwrap_or(self.task.as_str())
    }
}

/// The message's `timelimit`. On the wire the hard limit comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeLimit {
    /// The attempt is ended after this long.
    pub hard: Option<Duration>,
    /// The attempt is warned after this long.
    pub soft: Option<Duration>,
}

/// What is to be sent after a call: each as the JSON the message has, `None` where it has null.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// Signatures to send after success.
    pub callbacks: Option<Json>,
    /// Signatures to send after failure.
    pub errbacks: Option<Json>,
    /// The rest of the chain, in reverse: the next link is the last element.
    pub chain: Option<Json>,
    /// The body of the chord that this call is a header member of.
    pub chord: Option<Json>,
}
