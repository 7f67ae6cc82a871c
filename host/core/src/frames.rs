//! The frames that a worker and its executor processes exchange over a Unix socket.
//!
//! A frame is four bytes of length (little-endian, the length not counted) and a value in postcard's
//! encoding. Texts are borrowed from the buffer they arrived in. Many frames travel in one write.
//!
//! Each side takes the other for hostile: an executor may have been taken over by a guest, so
//! whatever it says is checked here or where it is used, and a frame that breaks the rules ends the
//! executor, never the worker.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{
    Death, Failure, JobNumber, Json, JsonError, Limits, LogLevel, LogLine, OutboxCall, Outcome,
    Report, TaskId, Usage, outbox_task_id,
};

/// The version of the frames. Both ends are the same binary, so any difference is an error.
pub const PROTOCOL: u32 = 1;

/// The largest frame, in bytes; above the largest argument, result or host call by a margin.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

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
    /// `progress.update`.
    Progress {
        /// The custom state.
        state: &'a str,
        /// Its meta value, a JSON text.
        meta: &'a str,
    },
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
    /// `begun.run`, with the step's key.
    StepRun(String),
    /// `begun.replay`, with the value.
    StepReplay(String),
    /// `begun.ambiguous`, with the step's key.
    StepAmbiguous(String),
    /// The step's fate is unknown and its author wants the task parked: the attempt ends here.
    StepDoubt,
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
    /// Its outbox, in order.
    #[serde(borrow)]
    pub outbox: Vec<OutboxFrame<'a>>,
    /// Its log lines, in order: level, message, fields.
    #[serde(borrow)]
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
    /// `error.retry`, with the delay asked for.
    Retry(#[serde(borrow)] FailureFrame<'a>, Option<Duration>),
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

/// An outbox call on its way. Its id is computed where it arrives.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxFrame<'a> {
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

/// Why bytes are no frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame says that it is larger than any may be.
    #[error("a frame of {0} bytes is larger than the {FRAME_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// A frame's bytes are no value of the expected type.
    #[error("a frame holds no value of its type")]
    Malformed(#[from] postcard::Error),
}

/// Appends a frame to a buffer that is to be written.
///
/// # Errors
/// When the value is larger than a frame may be; the buffer is as it was then.
pub fn append<T: Serialize>(buffer: &mut Vec<u8>, value: &T) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    if let Err(error) = postcard::to_io(value, &mut *buffer) {
        buffer.truncate(start);
        return Err(error.into());
    }
    let length = buffer.len() - start - 4;
    let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX) else {
        buffer.truncate(start);
        return Err(FrameError::TooLarge(length));
    };
    if let Some(place) = buffer.get_mut(start..start + 4) {
        place.copy_from_slice(&prefix.to_le_bytes());
    }
    Ok(())
}

/// The first frame's bytes in `buffer` and how many bytes it occupies, `None` until it is complete.
///
/// # Errors
/// When it says that it is too large.
pub fn first(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    Ok(rest.get(..length).map(|frame| (frame, length + 4)))
}

/// Reads a frame's value.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, FrameError> {
    Ok(postcard::from_bytes(frame)?)
}

/// Reads a frame's value that borrows nothing.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode_owned<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    Ok(postcard::from_bytes(frame)?)
}

impl Done<'_> {
    /// The report that this is about the call `caller`, with everything the executor says checked.
    ///
    /// A result that is no JSON, or larger than `limits` allow, is the guest's own death; a
    /// malformed outbox, too, because a call must not be lost in silence.
    pub fn report(&self, caller: &TaskId, limits: &Limits) -> Report {
        let outbox = (0..)
            .zip(&self.outbox)
            .map(|(index, call)| call.outbox_call(caller, index))
            .collect::<Result<Vec<_>, _>>();
        let outcome = match (&self.end, &outbox) {
            (End::Succeed(_), Err(error)) => killed(Death::InvalidResult, &error.to_string()),
            (end, _) => end.outcome(limits),
        };
        let logs = self.logs.iter().map(|(level, message, fields)| LogLine {
            level: *level,
            message: (*message).into(),
            fields: Json::parse(*fields).ok().filter(Json::is_object),
        });
        Report {
            outcome,
            usage: self.usage,
            outbox: outbox.unwrap_or_default(),
            logs: logs.collect(),
            logs_dropped: self.logs_dropped,
        }
    }
}

fn killed(death: Death, why: &str) -> Outcome {
    Outcome::Killed { death, failure: death.failure(&Json::string(why), None) }
}

impl End<'_> {
    fn outcome(&self, limits: &Limits) -> Outcome {
        match self {
            Self::Succeed(text) if text.len() > limits.result_bytes as usize => killed(
                Death::OutputTooLarge,
                &format!(
                    "the result has {} bytes, {} are allowed",
                    text.len(),
                    limits.result_bytes
                ),
            ),
            Self::Succeed(text) => match Json::parse(*text) {
                Ok(result) => Outcome::Succeed(result),
                Err(error) => killed(Death::InvalidResult, &format!("the result is {error}")),
            },
            Self::Fail(failure) => Outcome::Fail(failure.failure()),
            Self::Reject(failure) => Outcome::Reject(failure.failure()),
            Self::Retry(failure, after) => {
                Outcome::Retry { failure: failure.failure(), after: *after }
            }
            Self::Ambiguous(step) => Outcome::Ambiguous { step: (*step).into() },
            Self::Killed(death, argument, traceback) => {
                let argument = Json::parse(*argument).unwrap_or_else(|_| Json::string(argument));
                let failure = death.failure(&argument, traceback.map(Into::into));
                Outcome::Killed { death: *death, failure }
            }
        }
    }
}

impl FailureFrame<'_> {
    /// The failure, its arguments made an array if the guest gave something else.
    fn failure(&self) -> Failure {
        let arguments = match Json::parse(self.arguments) {
            Ok(array) if array.is_array() => array,
            Ok(value) => Json::array([&value]),
            Err(_) => Json::array([&Json::string(self.arguments)]),
        };
        Failure {
            exception_type: self.exception_type.into(),
            exception_module: self.exception_module.map(Into::into),
            arguments,
            traceback: self.traceback.map(Into::into),
        }
    }
}

impl OutboxFrame<'_> {
    fn outbox_call(&self, caller: &TaskId, index: u32) -> Result<OutboxCall, JsonError> {
        Ok(OutboxCall {
            id: outbox_task_id(caller, index),
            task: self.task.into(),
            args: Json::parse(self.args)?,
            kwargs: Json::parse(self.kwargs)?,
            queue: self.queue.map(Into::into),
            countdown: self.countdown,
            expires: self.expires,
            priority: self.priority,
            ignore_result: self.ignore_result,
            headers: self.headers.map(Json::parse).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Done, End, FRAME_BYTES_MAX, FailureFrame, FrameError, FromExecutor, OutboxFrame, PROTOCOL,
        ToExecutor, append, decode, first,
    };
    use crate::{Death, JobNumber, Limits, LogLevel, Outcome, Report, TaskId, Usage};

    fn done(end: End<'_>) -> Done<'_> {
        Done {
            job: JobNumber(7),
            end,
            usage: Usage::default(),
            outbox: Vec::new(),
            logs: vec![(LogLevel::Info, "said", "{\"a\": 1}"), (LogLevel::Warn, "said", "no JSON")],
            logs_dropped: 2,
        }
    }

    fn report(end: End<'_>) -> Report {
        done(end).report(&TaskId::from("caller"), &Limits { result_bytes: 8, ..Limits::default() })
    }

    fn death(report: &Report) -> Option<Death> {
        match report.outcome {
            Outcome::Killed { death, .. } => Some(death),
            _ => None,
        }
    }

    #[test]
    fn frames_in_one_write_are_read_one_after_the_other() {
        let hello = ToExecutor::Hello { protocol: PROTOCOL, slots: 4, memory_bytes_max: 1 << 27 };
        let cancel = ToExecutor::Cancel { job: JobNumber(3), death: Death::Revoked };
        let mut buffer = Vec::new();
        append(&mut buffer, &hello).unwrap();
        append(&mut buffer, &cancel).unwrap();
        let (frame, used) = first(&buffer).unwrap().unwrap();
        assert_eq!(decode::<ToExecutor<'_>>(frame).unwrap(), hello);
        let rest = &buffer[used..];
        let (frame, used) = first(rest).unwrap().unwrap();
        assert_eq!(decode::<ToExecutor<'_>>(frame).unwrap(), cancel);
        assert_eq!(rest.len(), used);
        assert_eq!(first(&rest[..used - 1]), Ok(None), "a frame that is not whole yet");
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_it_is_there() {
        let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
        assert_eq!(first(&length.to_le_bytes()), Err(FrameError::TooLarge(FRAME_BYTES_MAX + 1)));
        let mut buffer = b"before".to_vec();
        let long = "x".repeat(FRAME_BYTES_MAX + 1);
        assert!(append(&mut buffer, &long).is_err());
        assert_eq!(buffer, b"before");
    }

    #[test]
    fn what_an_executor_says_is_checked() {
        assert!(matches!(report(End::Succeed("[1, 2]")).outcome, Outcome::Succeed(_)));
        assert_eq!(death(&report(End::Succeed("[1, 2"))), Some(Death::InvalidResult));
        assert_eq!(death(&report(End::Succeed("[1, 2, 3]"))), Some(Death::OutputTooLarge));
        let logs = report(End::Succeed("1")).logs;
        assert!(logs[0].fields.is_some() && logs[1].fields.is_none());
    }

    #[test]
    fn arguments_of_an_exception_become_a_list_whatever_they_are() {
        let frame = |arguments| FailureFrame {
            exception_type: "E",
            exception_module: None,
            arguments,
            traceback: None,
        };
        let texts = ["[1]", "1", "no JSON"].map(|arguments| frame(arguments).failure().arguments);
        assert_eq!(texts.map(|it| it.to_string()), ["[1]", "[1]", "[\"no JSON\"]"]);
    }

    #[test]
    fn a_malformed_outbox_fails_the_attempt_instead_of_losing_a_call() {
        let call = |args| OutboxFrame {
            task: "demo.add",
            args,
            kwargs: "{}",
            queue: None,
            countdown: None,
            expires: None,
            priority: None,
            ignore_result: false,
            headers: None,
        };
        let caller = TaskId::from("caller");
        let good = Done { outbox: vec![call("[]"), call("[]")], ..done(End::Succeed("1")) };
        let ids = good.report(&caller, &Limits::default()).outbox;
        assert_ne!(ids[0].id, ids[1].id);
        let bad = Done { outbox: vec![call("[")], ..done(End::Succeed("1")) };
        assert_eq!(death(&bad.report(&caller, &Limits::default())), Some(Death::InvalidResult));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = first(&bytes);
            let _ = decode::<ToExecutor<'_>>(&bytes);
            if let Ok(FromExecutor::Done(done)) = decode(&bytes) {
                let _ = done.report(&TaskId::from("caller"), &Limits::default());
            }
        }

        #[test]
        fn a_damaged_frame_is_an_error_and_nothing_worse(at in 0usize..60, byte: u8) {
            let mut buffer = Vec::new();
            let done = FromExecutor::Done(Box::new(done(End::Killed(Death::Trapped, "\"x\"", Some("y")))));
            append(&mut buffer, &done).unwrap();
            if let Some(place) = buffer.get_mut(at) {
                *place = byte;
            }
            if let Ok(Some((frame, _))) = first(&buffer) {
                let _ = decode::<FromExecutor<'_>>(frame);
            }
        }
    }
}
