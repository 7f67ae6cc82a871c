//! The frames that a worker and its executor processes exchange over a Unix socket.
//!
//! A frame is four bytes of length (little-endian, the length not counted) and a value in postcard's
//! encoding. Texts are borrowed from the buffer they arrived in. Many frames travel in one write.
//!
//! Each side takes the other for hostile: an executor may have been taken over by a guest, so
//! whatever it says is checked here or where it is used, and a frame that breaks the rules ends the
//! executor, never the worker.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::http::{HEADERS_MAX, HttpError, HttpResponse};
use crate::{Death, JobNumber, Limits, LogLevel, Usage};

mod report;
mod wire;

pub use wire::{FrameError, append, decode, decode_owned, first};

/// The version of the frames. Both ends are the same binary, so any difference is an error.
pub const PROTOCOL: u32 = 3;

/// The largest frame, in bytes; above the largest argument, result or host call by a margin.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// The most calls in an outbox that an executor says, whatever an attempt's limits are: an entry of a
/// few bytes in a frame is a few hundred in memory.
pub const OUTBOX_MAX: usize = 10_000;

/// The most log lines that an executor says of one attempt, likewise.
pub const LOGS_MAX: usize = 100_000;

/// Names a loaded module towards one executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModuleNumber(pub u32);

/// What a worker says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum ToExecutor<'a> {
    /// The first frame.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Attempts that may be in flight at once.
        slots: u32,
        /// The largest memory that any attempt may have, in bytes.
        memory_bytes_max: u64,
    },
    /// Load this native code; answered by `Loaded`.
    Load {
        /// The number it will have.
        module: ModuleNumber,
        /// Where it is.
        path: &'a str,
    },
    /// Forget a module; attempts that run in it go on. Its number may be loaded again.
    Unload {
        /// Its number.
        module: ModuleNumber,
    },
    /// Run an attempt; answered by `Done`.
    #[serde(borrow)]
    Run(Run<'a>),
    /// End an attempt; it is answered by `Done` all the same.
    Cancel {
        /// The attempt.
        job: JobNumber,
        /// What it is to die of.
        death: Death,
    },
    /// The answer to a `Call`.
    Reply {
        /// The attempt.
        job: JobNumber,
        /// The call's number.
        call: u32,
        /// The answer.
        reply: HostReply,
    },
}

/// An attempt to run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Run<'a> {
    /// Its number.
    pub job: JobNumber,
    /// The module.
    pub module: ModuleNumber,
    /// What to call in it.
    #[serde(borrow)]
    pub entry: Entry<'a>,
    /// What it may use.
    pub limits: Limits,
    /// With whom it may share an instance; with nobody, without.
    #[serde(borrow)]
    pub share: Option<Share<'a>>,
}

/// With whom an attempt may share an instance, one after another: attempts of this module and tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share<'a> {
    /// How many attempts there may be in one instance.
    pub attempts: u32,
    /// Whose task it is.
    pub tenant: &'a str,
}

/// What to call in a module.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// Its catalog.
    Describe,
    /// One of its tasks.
    #[serde(borrow)]
    Task(Box<Attempt<'a>>),
}

/// What a guest is given, and what it may ask about itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Positional arguments, a JSON array.
    pub args: &'a str,
    /// Keyword arguments, a JSON object.
    pub kwargs: &'a str,
    /// The call's id.
    pub id: &'a str,
    /// The root of its tree.
    pub root_id: Option<&'a str>,
    /// Who sent it.
    pub parent_id: Option<&'a str>,
    /// Its group.
    pub group: Option<&'a str>,
    /// How often it took another's place.
    pub nesting: u32,
    /// Whether it is a member of a chord.
    pub in_chord: bool,
    /// Retries so far.
    pub retries: u32,
    /// Retries allowed.
    pub max_retries: Option<u32>,
    /// Its idempotency key.
    pub key: &'a str,
    /// The queue it came from.
    pub queue: &'a str,
    /// Its ETA, ISO 8601.
    pub eta: Option<&'a str>,
    /// Its expiry, ISO 8601.
    pub expires: Option<&'a str>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// All headers, a JSON object.
    pub headers: &'a str,
}

/// What an executor says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum FromExecutor<'a> {
    /// The answer to `Hello`.
    Ready {
        /// [`PROTOCOL`].
        protocol: u32,
    },
    /// The answer to `Load`.
    Loaded {
        /// The module.
        module: ModuleNumber,
        /// Why it was not loaded, if it was not.
        error: Option<&'a str>,
    },
    /// A guest calls the host.
    Call {
        /// The attempt.
        job: JobNumber,
        /// The call's number within the attempt.
        call: u32,
        /// The call.
        #[serde(borrow)]
        request: HostCall<'a>,
    },
    /// An attempt has ended.
    #[serde(borrow)]
    Done(Box<Done<'a>>),
}

/// A host call that needs the worker.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum HostCall<'a> {
    /// `steps.begin`.
    StepBegin {
        /// The step's name.
        name: &'a str,
        /// What it depends on, a JSON text.
        input: &'a str,
        /// What to do when its fate is unknown.
        doubt: OnDoubt,
    },
    /// `step.commit`.
    StepCommit {
        /// The step's name.
        name: &'a str,
        /// What came of it, a JSON text.
        value: &'a str,
    },
    /// `step.abandon`.
    StepAbandon {
        /// The step's name.
        name: &'a str,
    },
    /// `context.request`.
    Request,
    /// `progress.update`.
    Progress {
        /// The custom state.
        state: &'a str,
        /// Its meta value, a JSON text.
        meta: &'a str,
    },
    /// `wasi:http`'s `outgoing-handler.handle`.
    #[serde(borrow)]
    Http(Box<HttpCall<'a>>),
}

/// A request that a guest wants to be sent, its body complete.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpCall<'a> {
    /// The method.
    pub method: &'a str,
    /// Whether it is `https`.
    pub is_secure: bool,
    /// The host, and the port if it is not the usual one.
    pub authority: &'a str,
    /// The path with its query.
    pub target: &'a str,
    /// The headers.
    #[serde(borrow, deserialize_with = "wire::at_most::<HEADERS_MAX, _, _>")]
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The body.
    pub body: Bytes,
    /// The step that the guest is in, if it is in one.
    pub step: Option<&'a str>,
    /// How long the guest would wait for a connection, if it says so.
    pub connect_within: Option<Duration>,
    /// How long it may wait for the answer.
    pub within: Duration,
}

/// What is to happen when a step was begun before and its fate is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDoubt {
    /// Do it again under the same key.
    Retry,
    /// Park the task.
    Fail,
    /// Ask the guest.
    Ask,
}

/// The host's answer to a [`HostCall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostReply {
    /// Done.
    Done,
    /// What `context.request` answers: a JSON object.
    Request(String),
    /// `begun.run`, with the step's key.
    StepRun(String),
    /// `begun.replay`, with the value.
    StepReplay(String),
    /// `begun.ambiguous`, with the step's key.
    StepAmbiguous(String),
    /// The step's fate is unknown and its author wants the task parked: the attempt ends here.
    StepDoubt,
    /// The answer to a request.
    Http(Box<HttpResponse>),
    /// Why a request has no answer.
    HttpError(HttpError),
    /// `host-error.unavailable`: what is missing.
    Unavailable(String),
    /// `host-error.invalid`: what is wrong.
    Invalid(String),
    /// `host-error.limit`: which one is reached.
    Limit(String),
    /// `host-error.other`.
    Other(String),
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Done<'a> {
    /// The attempt.
    pub job: JobNumber,
    /// How it ended.
    #[serde(borrow)]
    pub end: End<'a>,
    /// What it used.
    pub usage: Usage,
    /// Its outbox, in order; at most [`OUTBOX_MAX`].
    #[serde(borrow, deserialize_with = "wire::at_most::<OUTBOX_MAX, _, _>")]
    pub outbox: Vec<OutboxFrame<'a>>,
    /// Its log lines, in order: level, message, fields; at most [`LOGS_MAX`].
    #[serde(borrow, deserialize_with = "wire::at_most::<LOGS_MAX, _, _>")]
    pub logs: Vec<(LogLevel, &'a str, &'a str)>,
    /// Log lines dropped.
    pub logs_dropped: u32,
}

/// An outcome on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum End<'a> {
    /// It returned this JSON text.
    Succeed(&'a str),
    /// `error.failed`.
    #[serde(borrow)]
    Fail(FailureFrame<'a>),
    /// `error.rejected`.
    #[serde(borrow)]
    Reject(FailureFrame<'a>),
    /// `error.retry`, with the delay asked for, and what the next attempt has other: a JSON text.
    Retry(#[serde(borrow)] FailureFrame<'a>, Option<Duration>, Option<&'a str>),
    /// `error.ignored`.
    Ignore,
    /// `error.requeued`.
    Requeue(FailureFrame<'a>),
    /// `error.replaced`, with the signature, a JSON text.
    Replace(&'a str),
    /// A step in doubt ended it.
    Ambiguous(&'a str),
    /// The sandbox ended it: of what, the argument of the exception (a JSON text), the frames.
    Killed(Death, &'a str, Option<&'a str>),
}

/// A failure on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureFrame<'a> {
    /// The class.
    pub exception_type: &'a str,
    /// Its module.
    pub exception_module: Option<&'a str>,
    /// The constructor's arguments, a JSON text.
    pub arguments: &'a str,
    /// Frames of the author's source.
    pub traceback: Option<&'a str>,
}

/// Something of an outbox on its way. Its ids are computed where it arrives.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum OutboxFrame<'a> {
    /// One call.
    #[serde(borrow)]
    Call(CallFrame<'a>),
    /// A signature, a JSON text.
    Signature(&'a str),
    /// A signature for the caller's chord, a JSON text.
    Member(&'a str),
}

/// An outbox call on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct CallFrame<'a> {
    /// The task.
    pub task: &'a str,
    /// Positional arguments, a JSON text.
    pub args: &'a str,
    /// Keyword arguments, a JSON text.
    pub kwargs: &'a str,
    /// The queue.
    pub queue: Option<&'a str>,
    /// The earliest start, from the success on.
    pub countdown: Option<Duration>,
    /// How long it is wanted, from the success on.
    pub expires: Option<Duration>,
    /// Its priority.
    pub priority: Option<u8>,
    /// Whether nobody wants the result.
    pub ignore_result: bool,
    /// More headers, a JSON text.
    pub headers: Option<&'a str>,
}
