//! What the sandbox says after one attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Json, OutboxItem};

/// The end of one attempt: an outcome, and what it used.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it put in its outbox; it leaves only if it succeeded, was ignored or is replaced.
    pub outbox: Vec<OutboxItem>,
    /// What it logged, in order.
    pub logs: Vec<LogLine>,
    /// Log lines that were dropped at the limit.
    pub logs_dropped: u32,
}

impl Report {
    /// A report of an attempt that used nothing, because it was never started or is lost.
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            outbox: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
        }
    }
}

/// How an attempt ended. What a guest does is one of these, never an error of ours.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The task returned this value.
    Succeed(Json),
    /// The task failed; the retry policy decides.
    Fail(Failure),
    /// The task failed and says that trying again is of no use.
    Reject(Failure),
    /// The task wants to be run again.
    Retry {
        /// Why.
        failure: Failure,
        /// After how long; the policy says where the guest does not.
        after: Option<Duration>,
        /// What the next attempt has other than this one: a JSON object.
        options: Option<Json>,
    },
    /// The task ended, and nobody is to hear of it.
    Ignore,
    /// The task wants its message delivered again, as the same attempt.
    Requeue(Failure),
    /// This signature takes the task's place.
    Replace(Json),
    /// A step was found begun, and its author said not to repeat it in doubt.
    Ambiguous {
        /// The step's name.
        step: String,
    },
    /// The sandbox ended the attempt.
    Killed {
        /// Of what it died.
        death: Death,
        /// The same in the caller's words, with the guest's frames where they are known.
        failure: Failure,
    },
}

/// Each way to die in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Death {
    /// The fuel is used up.
    OutOfFuel,
    /// It asked for more memory or table elements than it may have.
    OutOfMemory,
    /// The hard time limit is over.
    TimedOut,
    /// The CPU time is used up.
    OutOfCpuTime,
    /// Its stack overflowed.
    StackOverflow,
    /// It trapped: a panic, an abort, a wild pointer, a division by zero.
    Trapped,
    /// It ended itself by `exit` with a status that is not success.
    Exited,
    /// Its result, or the data of one host call, is larger than allowed.
    OutputTooLarge,
    /// Its arguments are larger than allowed; it was not started.
    ArgumentsTooLarge,
    /// It called the host more often than allowed.
    TooManyHostCalls,
    /// What it returned is no JSON value.
    InvalidResult,
    /// It was revoked while it ran.
    Revoked,
    /// The worker lost the right to run it (a lease ran out): whoever has it now settles it.
    LeaseLost,
    /// Its executor process died under it.
    ExecutorLost,
    /// The host could not start it. No fault of the guest, and no attempt.
    NotStarted,
}

impl Death {
    /// The name in metrics, logs and dead letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfFuel => "out-of-fuel",
            Self::OutOfMemory => "out-of-memory",
            Self::TimedOut => "timed-out",
            Self::OutOfCpuTime => "out-of-cpu-time",
            Self::StackOverflow => "stack-overflow",
            Self::Trapped => "trapped",
            Self::Exited => "exited",
            Self::OutputTooLarge => "output-too-large",
            Self::ArgumentsTooLarge => "arguments-too-large",
            Self::TooManyHostCalls => "too-many-host-calls",
            Self::InvalidResult => "invalid-result",
            Self::Revoked => "revoked",
            Self::LeaseLost => "lease-lost",
            Self::ExecutorLost => "executor-lost",
            Self::NotStarted => "not-started",
        }
    }

    /// The exception that a Python caller sees: its module and its class.
    ///
    /// Where Celery, billiard or Python have a class of that meaning it is theirs, so that callers
    /// catch what they always caught; otherwise it is in `lovage.exceptions`, a module that cannot
    /// clash with one of the caller's.
    pub const fn exception(self) -> (&'static str, &'static str) {
        match self {
            Self::TimedOut => ("billiard.exceptions", "TimeLimitExceeded"),
            Self::ExecutorLost => ("billiard.exceptions", "WorkerLostError"),
            Self::Revoked => ("celery.exceptions", "TaskRevokedError"),
            Self::OutOfMemory => ("builtins", "MemoryError"),
            Self::StackOverflow => ("builtins", "RecursionError"),
            Self::OutOfFuel => ("lovage.exceptions", "FuelExhausted"),
            Self::OutOfCpuTime => ("lovage.exceptions", "CpuTimeLimitExceeded"),
            Self::Trapped => ("lovage.exceptions", "GuestTrapped"),
            Self::Exited => ("lovage.exceptions", "GuestExited"),
            Self::OutputTooLarge => ("lovage.exceptions", "OutputTooLarge"),
            Self::ArgumentsTooLarge => ("lovage.exceptions", "ArgumentsTooLarge"),
            Self::TooManyHostCalls => ("lovage.exceptions", "TooManyHostCalls"),
            Self::InvalidResult => ("lovage.exceptions", "InvalidResult"),
            Self::LeaseLost => ("lovage.exceptions", "LeaseLost"),
            Self::NotStarted => ("lovage.exceptions", "NotStarted"),
        }
    }

    /// The failure that this death is, with one argument for the exception's constructor.
    pub fn failure(self, argument: &Json, traceback: Option<String>) -> Failure {
        let (module, name) = self.exception();
        Failure {
            exception_type: name.into(),
            exception_module: Some(module.into()),
            arguments: Json::array([argument]),
            traceback,
        }
    }
}

/// Why an attempt failed, in the words of the exception that the caller will see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The qualified name of the class.
    pub exception_type: String,
    /// The module of the class; `None` leaves the choice to the result's encoder.
    pub exception_module: Option<String>,
    /// The constructor's arguments, a JSON array.
    pub arguments: Json,
    /// Frames of the author's source, if any are known.
    pub traceback: Option<String>,
}

impl Failure {
    /// A failure with one text as argument.
    pub fn new(module: &str, name: &str, message: &str) -> Self {
        Self {
            exception_type: name.into(),
            exception_module: Some(module.into()),
            arguments: Json::array([&Json::string(message)]),
            traceback: None,
        }
    }
}

/// `Name('text')`, as Python's `repr` writes an exception and as monitors parse it.
impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arguments = self.arguments.as_str();
        let inside = arguments.trim().trim_start_matches('[').trim_end_matches(']');
        write!(formatter, "{}({inside})", self.exception_type)
    }
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Units of fuel.
    pub fuel: u64,
    /// CPU time inside the guest and its host calls.
    pub cpu: Duration,
    /// Wall-clock time from the start of the instance to its end.
    pub wall: Duration,
    /// The most bytes of memories and tables held at once.
    pub memory_bytes: u64,
    /// Host calls made.
    pub host_calls: u32,
}

/// One line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The text, as the guest gave it: not yet escaped for a terminal.
    pub message: String,
    /// A JSON object of fields, or `None`.
    pub fields: Option<Json>,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For whoever debugs the task.
    Debug,
    /// What happened.
    Info,
    /// What should not have happened and was coped with.
    Warn,
    /// What went wrong.
    Error,
}
