//! Starting an executor process, and ending it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lovage_core::frames::{self, FromExecutor, PROTOCOL, ToExecutor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::options::Options;

/// The largest first frame of an executor, in bytes.
const READY_BYTES_MAX: u32 = 64;
/// What is kept of a line that an executor writes to its standard error, in bytes.
const LINE_BYTES_MAX: usize = 1 << 10;
/// Lines of one executor that are logged; the rest is read and dropped.
const LINES_MAX: usize = 200;
/// How long the last words of a process that has ended are waited for.
const LAST_WORDS_TIME: Duration = Duration::from_millis(100);

/// Why an executor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket pair could not be made.
    #[error("no socket pair for an executor")]
    Socket(#[source] io::Error),
    /// The program could not be started.
    #[error("the executor's program could not be started")]
    Spawn(#[source] io::Error),
    /// It ended before it was ready.
    #[error("the executor ended before it was ready ({status}): {said}")]
    Ended {
        /// How.
        status: String,
        /// The last line that it wrote to its standard error.
        said: String,
    },
    /// It was not ready in time.
    #[error("the executor was not ready after {0:?}")]
    NotReady(Duration),
    /// It speaks another version of the frames.
    #[error("the executor speaks version {0} of the frames, this worker {PROTOCOL}")]
    Protocol(u32),
    /// It said something else than that it is ready.
    #[error("the executor's first words are not those of an executor")]
    FirstWords,
}

/// An executor process that said that it is ready.
pub(crate) struct Process {
    /// Its number in the system.
    pub(crate) id: u32,
    /// Its end of the socket is its standard input.
    pub(crate) socket: UnixStream,
    /// The process; dropping it kills it.
    pub(crate) child: Child,
    /// Logs what it writes to its standard error, and returns the last line.
    pub(crate) said: Said,
}

/// The task that listens to a process's standard error; dropped, it listens no more. Otherwise a
/// process that the executor left behind could keep it for ever.
pub(crate) struct Said(JoinHandle<String>);

impl Process {
    /// Starts an executor and waits until it is ready.
    ///
    /// # Errors
    /// When it is not; nothing is left of it then.
    pub(crate) async fn launch(options: &Options) -> Result<Self, StartError> {
        let mut process = Self::spawn(options)?;
        let error = match timeout(options.start_time, greet(&mut process.socket, options)).await {
            Ok(Ok(())) => return Ok(process),
            Ok(Err(Greeting::Refused(error))) => error,
            Ok(Err(Greeting::Broken)) => {
                let (status, said) = process.kill().await;
                return Err(StartError::Ended { status: describe(status.as_ref()), said });
            }
            Err(_) => StartError::NotReady(options.start_time),
        };
        process.kill().await;
        Err(error)
    }

    /// The process gets one end of a socket as its standard input, and nothing else of the worker:
    /// no environment, no other descriptor, no terminal, no working directory. A group of its own
    /// keeps a terminal's interrupt from it, which is meant for the worker alone.
    fn spawn(options: &Options) -> Result<Self, StartError> {
        // What we open ourselves is closed on `exec`; what we inherited may not be.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(StartError::Socket)?;
        ours.set_nonblocking(true).map_err(StartError::Socket)?;
        let socket = UnixStream::from_std(ours).map_err(StartError::Socket)?;
        let mut child = Command::new(&options.program)
            .args(&options.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(StartError::Spawn)?;
        let id = child.id().unwrap_or_default();
        let stderr = child.stderr.take();
        let said = tokio::spawn(async move {
            match stderr {
                Some(stderr) => listen(stderr, id).await,
                None => String::new(),
            }
        });
        Ok(Self { id, socket, child, said: Said(said) })
    }

    /// Kills it, and returns its status and the last line it wrote.
    async fn kill(mut self) -> (Option<ExitStatus>, String) {
        let status = end(&mut self.child, Duration::ZERO).await;
        let said = timeout(LAST_WORDS_TIME, &mut self.said.0).await;
        (status, said.ok().and_then(Result::ok).unwrap_or_default())
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits `patience` for a process to end, kills it if it does not, and reaps it.
pub(crate) async fn end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    if let Ok(status) = timeout(patience, child.wait()).await {
        return status.ok();
    }
    // An error means that it has ended, and the next line says how.
    let _ = child.start_kill();
    child.wait().await.ok()
}

/// A process's status in words.
pub(crate) fn describe(status: Option<&ExitStatus>) -> String {
    status.map_or_else(|| "status unknown".into(), ToString::to_string)
}

enum Greeting {
    /// The socket was closed.
    Broken,
    Refused(StartError),
}

impl From<io::Error> for Greeting {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Says `Hello` and takes nothing but `Ready` for an answer.
async fn greet(socket: &mut UnixStream, options: &Options) -> Result<(), Greeting> {
    let first_words = || Greeting::Refused(StartError::FirstWords);
    let mut buffer = Vec::new();
    let hello = ToExecutor::Hello {
        protocol: PROTOCOL,
        slots: options.slots,
        memory_bytes_max: options.memory_bytes_max,
    };
    frames::append(&mut buffer, &hello).map_err(|_| first_words())?;
    socket.write_all(&buffer).await?;
    let length = socket.read_u32_le().await?;
    if length > READY_BYTES_MAX {
        return Err(first_words());
    }
    buffer.clear();
    buffer.resize(length as usize, 0);
    socket.read_exact(&mut buffer).await?;
    match frames::decode(&buffer) {
        Ok(FromExecutor::Ready { protocol: PROTOCOL }) => Ok(()),
        Ok(FromExecutor::Ready { protocol }) => {
            Err(Greeting::Refused(StartError::Protocol(protocol)))
        }
        _ => Err(first_words()),
    }
}

/// Logs the lines that an executor writes to its standard error, each bounded and with whatever
/// could steer a terminal made harmless, and returns the last.
async fn listen(mut stderr: ChildStderr, process: u32) -> String {
    let mut chunk = [0; 1 << 12];
    let (mut line, mut last, mut lines) = (Vec::new(), String::new(), 0);
    loop {
        let length = stderr.read(&mut chunk).await.unwrap_or(0);
        let ended = length == 0;
        for &byte in chunk.get(..length).unwrap_or_default().iter().chain(ended.then_some(&b'\n')) {
            if byte != b'\n' {
                if line.len() < LINE_BYTES_MAX {
                    line.push(byte);
                }
                continue;
            }
            if !line.is_empty() {
                last = String::from_utf8_lossy(&line).escape_debug().to_string();
                line.clear();
                lines += 1;
                if lines <= LINES_MAX {
                    tracing::warn!(executor.process = process, "An executor says: {last}");
                }
            }
        }
        if ended {
            return last;
        }
    }
}
