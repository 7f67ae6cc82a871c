//! Who died with what, and what an operator may want to know about executors.

use std::fmt;
use std::time::Duration;

use lovage_core::{Digest, ExecutorNumber, JobNumber, TaskId};

/// An executor that ended although nobody asked it to, and what was in it.
///
/// Every attempt in it was reported as killed by the loss of its executor. One of them may have
/// caused it; this is the list of suspects.
#[derive(Debug)]
pub struct Loss {
    /// Which executor.
    pub executor: ExecutorNumber,
    /// The process it was.
    pub process: u32,
    /// What it ended of.
    pub cause: Cause,
    /// How long it had been ready.
    pub lived: Duration,
    /// The attempts that were in it.
    pub suspects: Vec<Suspect>,
}

/// An attempt that was in an executor when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The attempt.
    pub job: JobNumber,
    /// The call's id; `None` when it was a module that was asked for its manifest.
    pub task: Option<TaskId>,
    /// The module's digest.
    pub module: Digest,
}

/// What an executor ended of.
#[derive(Debug)]
pub enum Cause {
    /// Its process ended, with this status.
    Ended(String),
    /// Its end of the socket was closed, and the process was killed for it.
    Closed(String),
    /// It said something that no executor says, and was killed for it.
    BrokeRules(String),
    /// It said nothing about this attempt long after its time, and was killed for it.
    Hung(JobNumber),
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(formatter, "it ended by itself: {status}"),
            Self::Closed(why) => write!(formatter, "its socket was lost: {why}"),
            Self::BrokeRules(why) => write!(formatter, "it broke the rules: {why}"),
            Self::Hung(job) => write!(formatter, "it hung over attempt {}", job.0),
        }
    }
}

/// One executor at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorState {
    /// Which executor.
    pub executor: ExecutorNumber,
    /// Its process; `None` while there is none that is ready.
    pub process: Option<u32>,
    /// Attempts in it.
    pub in_flight: usize,
    /// The most attempts that were ever in it at once.
    pub in_flight_peak: usize,
    /// Modules that it has loaded.
    pub modules: usize,
    /// Bytes that wait to be written to it.
    pub queued_bytes: usize,
    /// Attempts that ended in it, over all its processes.
    pub finished: u64,
    /// Processes that became ready.
    pub started: u64,
    /// Processes that ended although nobody asked them to.
    pub lost: u64,
    /// Processes that could not be started or never became ready.
    pub failed_starts: u64,
}
