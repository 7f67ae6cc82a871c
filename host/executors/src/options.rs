//! How many executors there are, and what each may hold.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lovage_core::Limits;
use lovage_core::frames::FRAME_BYTES_MAX;

/// How executors are started and bounded. Every bound is finite.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that an executor is; an absolute path, because it starts in `/`.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// Executor processes. Default: one for each core that this process may use.
    pub processes: usize,
    /// Attempts in flight in one executor at most; more wait in the worker. Default: 1,000.
    pub slots: u32,
    /// The largest memory limit that any attempt has, in bytes. Default: that of [`Limits`].
    pub memory_bytes_max: u64,
    /// Modules that one executor has loaded at most; the one that was not used for the longest time
    /// goes, unless it runs. Each is about 0.3 MiB of its memory, most of it shared with the other
    /// executors. Default: 1,000.
    pub modules_max: usize,
    /// Bytes queued for one executor above which it gets no further attempt until it has read some.
    /// Twice as many may be held: one part queued, one being written. Default: 4 MiB.
    pub queue_bytes_max: usize,
    /// Bytes of host calls of one executor that may be unanswered at once; above it nothing more is
    /// read from that executor. Default: 64 MiB, the size of one frame at most.
    pub call_bytes_max: usize,
    /// From the start of a process until it must be ready. Default: 10 s.
    pub start_time: Duration,
    /// From the end of an attempt's time limit, or from its cancellation, until its executor counts
    /// as hung and is killed. Default: 5 s.
    pub grace: Duration,
    /// From the end of its socket until an executor is killed. Default: 1 s.
    pub stop_time: Duration,
}

impl Options {
    /// The defaults, for executors that are started as `program arguments…`.
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            processes: std::thread::available_parallelism().map_or(1, usize::from),
            slots: 1_000,
            memory_bytes_max: Limits::default().memory_bytes,
            modules_max: 1_000,
            queue_bytes_max: 4 << 20,
            call_bytes_max: FRAME_BYTES_MAX,
            start_time: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            stop_time: Duration::from_secs(1),
        }
    }
}
