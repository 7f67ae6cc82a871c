//! What an executor does to itself before it reads its first frame.
//!
//! Limits of a child are usually set between `fork` and `exec`, which takes `unsafe` code. An
//! executor is our own program and not yet hostile when it starts, so it sets them itself, and they
//! cannot be taken back afterwards.

use std::io;

use rustix::process::{Resource, Rlimit, Signal};

/// How far an executor's priority is below the worker's: the worker feeds all executors, and a
/// broker on the same machine feeds the worker, so both get the processor first.
pub const NICE: i32 = 5;

/// Open files at most. A loaded module keeps its file open, because its initial memory is mapped
/// from it; everything else takes about ten.
const FILES_MAX: u64 = 1_024;

/// How much more likely than the worker the kernel is to end this process when memory runs out.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// Confines the calling process, for good: it dies with the worker, gains no privileges by starting
/// programs, leaves no core dump with a guest's data in it, opens few files, and yields the
/// processor and its memory to the worker. To be called by an executor's main thread, first thing,
/// while it is the only one.
///
/// # Errors
/// When the kernel refuses one of these; the executor must not run then.
pub fn confine(nice: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, FILES_MAX)?;
    rustix::process::nice(nice)?;
    // Without `/proc` the kernel chooses by size alone, which is no reason not to run.
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    Ok(())
}

/// Lowers a limit, hard and soft, to `most`, or to what it is already if that is less.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let most = Some(most.min(now));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most })?)
}
