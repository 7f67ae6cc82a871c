//! A child process that is listened to while it runs and ended, by its id, when it is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::paths;

/// How long a helper waits for an event before it fails the test. Generous, because tests share
/// two cores; an event that comes is never waited for any longer than it takes.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A child process whose lines are collected, both of its outputs in the order they arrived.
///
/// Dropping it kills it with SIGKILL and collects it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Lines>,
}

impl Process {
    /// Starts `command` with both outputs collected and nothing on its input.
    pub fn start(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start `{name}`: {error}"),
        };
        let lines = Arc::new(Lines::default());
        lines.listen(child.stdout.take());
        lines.listen(child.stderr.take());
        Self { name, child, lines }
    }

    /// The operating system's id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains `text`, and returns it. Lines that came before the call
    /// count too. Fails the test if the process closes its outputs or [`PATIENCE`] ends first.
    pub fn wait_for_line(&self, text: &str) -> String {
        match self.lines.find(text, 0, PATIENCE) {
            Some((_, line)) => line,
            None => {
                panic!("`{}` never printed `{text}`; it printed:\n{}", self.name, self.output())
            }
        }
    }

    /// As [`Process::wait_for_line`], but `None` where that would fail the test.
    pub fn find_line(&self, text: &str, patience: Duration) -> Option<String> {
        self.lines.find(text, 0, patience).map(|(_, line)| line)
    }

    /// Waits for a line that contains `text` among those from number `from` on; returns the number
    /// to go on from and the line. For what is printed again and again.
    pub fn wait_for_line_from(&self, text: &str, from: usize) -> (usize, String) {
        match self.lines.find(text, from, PATIENCE) {
            Some((number, line)) => (number + 1, line),
            None => panic!("`{}` never printed `{text}` again:\n{}", self.name, self.output()),
        }
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        self.lines.lock().seen.join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process(self.pid(), signal) {
            panic!("cannot signal `{}`: {error}", self.name);
        }
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills the process (SIGKILL) and waits for it.
    pub fn kill(mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Waits for the process to end by itself. Fails the test when [`PATIENCE`] ends first.
    pub fn wait(&mut self) -> ExitStatus {
        match self.wait_within(PATIENCE) {
            Some(status) => status,
            None => panic!("`{}` did not end; it printed:\n{}", self.name, self.output()),
        }
    }

    /// Waits at most `patience` for the process to end.
    pub fn wait_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let handle = match pidfd_open(self.pid(), PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(error) => panic!("cannot watch `{}`: {error}", self.name),
        };
        let timeout = Timespec::try_from(patience).ok();
        let mut watched = [PollFd::new(&handle, PollFlags::IN)];
        let _ready = poll(&mut watched, timeout.as_ref());
        self.child.try_wait().ok().flatten()
    }

    fn pid(&self) -> Pid {
        match Pid::from_raw(self.child.id().cast_signed()) {
            Some(pid) => pid,
            None => panic!("`{}` has no process id", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// The `lovage` binary with its arguments, in an environment that says nothing else about Lovage.
#[derive(Debug)]
pub struct LovageCommand {
    command: Command,
}

impl LovageCommand {
    /// The binary without any argument yet.
    pub fn new() -> Self {
        let mut command = Command::new(paths::lovage());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("LOVAGE_") || name.starts_with("CELERY_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1");
        Self { command }
    }

    /// `lovage worker --modules <the example modules>`.
    pub fn worker() -> Self {
        Self::new().arg("worker").arg("--modules").arg(paths::guests())
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in `folder`.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it.
    pub fn start(self) -> Process {
        Process::start(self.command)
    }

    /// Starts it and waits for a line that contains `text`.
    pub fn start_until(self, text: &str) -> Process {
        let process = self.start();
        process.wait_for_line(text);
        process
    }

    /// Starts it, waits for its end, and returns its exit code and everything it printed.
    pub fn finish(self) -> (Option<i32>, String) {
        let mut process = self.start();
        let status = process.wait();
        process.lines.wait_for_end();
        (status.code().or_else(|| status.signal().map(|signal| 128 + signal)), process.output())
    }
}

impl Default for LovageCommand {
    fn default() -> Self {
        Self::new()
    }
}

/// Lines as they arrive, and somebody to tell of each.
#[derive(Debug, Default)]
struct Lines {
    heard: Mutex<Heard>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    seen: Vec<String>,
    /// Outputs that are still open.
    open: usize,
}

impl Lines {
    fn listen(self: &Arc<Self>, output: Option<impl Read + Send + 'static>) {
        let Some(output) = output else { return };
        self.lock().open += 1;
        let lines = Arc::clone(self);
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().seen.push(text);
                lines.news.notify_all();
                line.clear();
            }
            lines.lock().open -= 1;
            lines.news.notify_all();
        });
    }

    fn find(&self, text: &str, from: usize, patience: Duration) -> Option<(usize, String)> {
        let deadline = Instant::now() + patience;
        let mut heard = self.lock();
        let mut next = from;
        loop {
            let fresh = heard.seen.iter().enumerate().skip(next);
            if let Some((number, line)) = fresh.into_iter().find(|(_, line)| line.contains(text)) {
                return Some((number, line.clone()));
            }
            next = next.max(heard.seen.len());
            let left = deadline.checked_duration_since(Instant::now())?;
            if heard.open == 0 {
                return None;
            }
            heard = self.news.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_end(&self) {
        let closed = self.news.wait_timeout_while(self.lock(), PATIENCE, |heard| heard.open > 0);
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command)
    }

    #[test]
    fn a_line_is_found_whenever_it_comes_and_on_either_output() {
        let process = shell("echo one; echo two ready >&2; read _ || true");
        assert_eq!(process.wait_for_line("ready"), "two ready");
        assert_eq!(process.wait_for_line("one"), "one");
    }

    #[test]
    fn an_end_without_the_line_is_noticed_at_once() {
        let process = shell("echo no");
        assert_eq!(process.find_line("ready", PATIENCE), None);
    }

    #[test]
    fn an_exit_code_and_a_signal_are_told_apart() {
        assert_eq!(shell("exit 3").wait().code(), Some(3));
        let stubborn = shell("trap 'exit 7' TERM; echo up; while :; do :; done");
        stubborn.wait_for_line("up");
        assert_eq!(stubborn.terminate().code(), Some(7));
        let looping = shell("echo up; while :; do :; done");
        looping.wait_for_line("up");
        assert_eq!(looping.kill().signal(), Some(9));
    }

    #[test]
    fn dropping_ends_the_process() {
        let process = shell("echo up; while :; do :; done");
        process.wait_for_line("up");
        let pid = process.pid();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
