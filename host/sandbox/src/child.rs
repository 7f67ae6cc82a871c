//! Starts a compiler process and waits for it, not for ever.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::compile::Description;
use crate::{CompileError, Refusal};

/// Runs `program compile --out output input` with an empty environment, and returns what it says.
///
/// It says it into the file `answer`, and not into a pipe, which would be one more thing to wait for.
pub(crate) fn compile(
    program: &Path,
    [input, output, answer]: [&Path; 3],
    time: Duration,
) -> Result<Description, CompileError> {
    let started = File::create(answer).and_then(|answer| {
        Command::new(program)
            .args(["compile".as_ref(), "--out".as_ref(), output, input])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(answer)
            .stderr(Stdio::null())
            .spawn()
    });
    let mut child = started.map_err(CompileError::host("a compiler process cannot be started"))?;
    let ended = ended_in_time(&child, time);
    if !matches!(ended, Ok(true)) {
        // It is our child and not yet waited for, so the signal meets nobody else.
        let _ = child.kill();
    }
    let status = child.wait().map_err(CompileError::host("a compiler process is lost"))?;
    if !ended.map_err(CompileError::host("a compiler process cannot be watched"))? {
        return Err(CompileError::TooExpensive("time"));
    }
    what_it_says(answer, status)
}

fn what_it_says(answer: &Path, status: ExitStatus) -> Result<Description, CompileError> {
    let mut said = Vec::new();
    File::open(answer)
        .and_then(|file| file.take(ANSWER_BYTES_MAX).read_to_end(&mut said))
        .map_err(CompileError::host("a compiler process cannot be heard"))?;
    if let Ok(answer) = serde_json::from_slice::<Result<Description, Refusal>>(&said) {
        return answer.map_err(CompileError::Refused);
    }
    // It died without an answer: of its limits, whose signals these are.
    Err(match status.signal() {
        Some(KILL | CPU_TIME) => CompileError::TooExpensive("CPU time"),
        Some(ABORT | SEGMENT | BUS) => CompileError::TooExpensive("memory"),
        _ => CompileError::host("a compiler process died without an answer")(io::Error::other(
            status.to_string(),
        )),
    })
}

/// Bytes of an answer with the largest manifest that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

const ABORT: i32 = 6;
const BUS: i32 = 7;
const KILL: i32 = 9;
const SEGMENT: i32 = 11;
const CPU_TIME: i32 = 24;

/// Whether the process ended before the time was over.
fn ended_in_time(child: &Child, time: Duration) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let process = pidfd_open(pid.ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::empty())?;
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
