//! The executor's main loop: frames in, turns for guests, frames out.
//!
//! One thread does everything, in turns. In each it reads what has come, polls who is ready for a few
//! milliseconds, gives one guest that computes its slice, and writes everything that came of it at
//! once. Between turns the runtime looks for input and for timers. So a short job waits for one
//! slice and its own work, however many others compute.

use std::io;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use lovage_core::frames::{FrameError, FromExecutor, ToExecutor, decode, first};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::link::Link;
use crate::places::Places;
use crate::queue::Queue;

/// How long guests that are ready may run before one that computes has its slice.
const READY_TIME: Duration = Duration::from_millis(4);

/// Bytes read in one turn before guests have theirs.
const READ_BYTES: usize = 256 << 10;

/// Bytes that the worker has not taken, above which nothing new is begun.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// Why an executor ended other than by the end of its socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket failed.
    #[error("the socket to the worker failed")]
    Socket(#[from] io::Error),
    /// What arrived is no frame.
    #[error("the worker sent what is no frame")]
    Frame(#[from] FrameError),
    /// The worker is of another version.
    #[error("the worker speaks version {0} of the frames, this executor another")]
    Version(u32),
    /// A frame came when it makes no sense.
    #[error("the worker broke the protocol: {0}")]
    Protocol(&'static str),
    /// The engine cannot have what the worker asks for.
    #[error("there is no engine for {slots} slots")]
    Engine {
        /// Attempts at once.
        slots: u32,
        /// Why.
        #[source]
        source: wasmtime::Error,
    },
}

/// Runs attempts for the worker at the other end of `socket` until it is closed.
///
/// # Errors
/// When the socket fails or what arrives on it breaks the protocol.
pub fn serve(socket: UnixStream) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    socket.set_nonblocking(true)?;
    runtime.block_on(async {
        let mut server = Server::new(tokio::net::UnixStream::from_std(socket)?);
        // Unconstrained: the runtime's own budget would keep timers from guests that are due.
        tokio::task::unconstrained(std::future::poll_fn(|context| server.turn(context))).await
    })
}

struct Server {
    socket: tokio::net::UnixStream,
    input: Vec<u8>,
    filled: usize,
    link: Arc<Link>,
    queue: Arc<Queue>,
    places: Option<Places>,
    alarm: Pin<Box<tokio::time::Sleep>>,
    alarm_at: Option<Instant>,
}

impl Server {
    fn new(socket: tokio::net::UnixStream) -> Self {
        Self {
            socket,
            input: vec![0; INPUT_BYTES],
            filled: 0,
            link: Arc::new(Link::default()),
            queue: Arc::new(Queue::default()),
            places: None,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm_at: None,
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ServeError>> {
        self.queue.serve_with(context.waker());
        if self.link.unsent() <= UNSENT_BYTES_MAX {
            if let Poll::Ready(ended) = self.read(context) {
                return Poll::Ready(ended);
            }
            if let Err(error) = self.run() {
                return Poll::Ready(Err(error));
            }
        }
        if let Poll::Ready(Err(error)) = self.write(context) {
            return Poll::Ready(Err(error.into()));
        }
        self.set_alarm(context);
        if !self.queue.is_empty() && self.link.unsent() <= UNSENT_BYTES_MAX {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads what has come; ready when the socket is closed or the protocol broken.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ServeError>> {
        let mut read = 0;
        while read < READ_BYTES {
            let mut room = ReadBuf::new(self.input.get_mut(self.filled..).unwrap_or_default());
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut room))?;
            let came = room.filled().len();
            if came == 0 {
                return Poll::Ready(Ok(()));
            }
            self.filled += came;
            read += came;
            if let Err(error) = self.take_frames() {
                return Poll::Ready(Err(error));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the complete frames in the buffer say, and keeps the beginning of the next.
    fn take_frames(&mut self) -> Result<(), ServeError> {
        let mut input = std::mem::take(&mut self.input);
        let mut taken = 0;
        let mut rest = input.get(..self.filled).unwrap_or_default();
        while let Some((frame, length)) = first(rest)? {
            self.take(frame)?;
            taken += length;
            rest = rest.get(length..).unwrap_or_default();
        }
        let wanted = match rest.first_chunk() {
            Some(prefix) => u32::from_le_bytes(*prefix) as usize + 4,
            None => 0,
        };
        input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        // Room for the whole next frame; a large one is not held on to.
        let size = wanted.max(INPUT_BYTES);
        if size != input.len() {
            input.resize(size, 0);
            input.shrink_to_fit();
        }
        self.input = input;
        Ok(())
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), ServeError> {
        let said = decode(frame)?;
        let Some(places) = &mut self.places else {
            let ToExecutor::Hello { protocol, slots, memory_bytes_max } = said else {
                return Err(ServeError::Protocol("its first frame is no greeting"));
            };
            if protocol != lovage_core::frames::PROTOCOL {
                return Err(ServeError::Version(protocol));
            }
            let places = Places::new(slots, memory_bytes_max, &self.queue, &self.link)
                .map_err(|source| ServeError::Engine { slots, source })?;
            self.places = Some(places);
            self.link.say(&FromExecutor::Ready { protocol })?;
            return Ok(());
        };
        match said {
            ToExecutor::Hello { .. } => return Err(ServeError::Protocol("it greeted twice")),
            ToExecutor::Load { module, path } => {
                let error = places.load(module, path.as_ref()).err();
                let error = error.map(|error| format!("{error:#}"));
                self.link.say(&FromExecutor::Loaded { module, error: error.as_deref() })?;
            }
            ToExecutor::Unload { module } => places.unload(module),
            ToExecutor::Run(run) => places.begin(frame, &run)?,
            ToExecutor::Cancel { job, death } => places.cancel(job, death),
            ToExecutor::Reply { job, call, reply } => self.link.reply(job, call, reply),
        }
        Ok(())
    }

    /// Polls who is ready, for a while, and one that computes.
    fn run(&mut self) -> Result<(), ServeError> {
        let Some(places) = &mut self.places else { return Ok(()) };
        let begun = Instant::now();
        places.do_what_is_due(begun)?;
        while let Some(index) = self.queue.next_ready() {
            places.poll(index);
            if begun.elapsed() >= READY_TIME {
                break;
            }
        }
        if let Some(index) = self.queue.next_spinning() {
            places.poll(index);
        }
        Ok(())
    }

    /// Writes everything there is, as far as the worker takes it.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.link.state();
        state.serve_with(context.waker());
        while state.written < state.output.len() {
            let rest = state.output.get(state.written..).unwrap_or_default();
            state.written += ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
        }
        state.output.clear();
        state.output.shrink_to(OUTPUT_BYTES);
        state.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Sees to it that there is a turn when something is due.
    fn set_alarm(&mut self, context: &mut Context<'_>) {
        let Some(first) = self.places.as_ref().and_then(Places::first_deadline) else { return };
        if self.alarm_at.is_none_or(|at| first < at) {
            self.alarm_at = Some(first);
            self.alarm.as_mut().reset(first.into());
        }
        if self.alarm.as_mut().poll(context).is_ready() {
            self.alarm_at = None;
            context.waker().wake_by_ref();
        }
    }
}

/// What is read at once.
const INPUT_BYTES: usize = 64 << 10;

/// What is kept of the buffer for writing.
const OUTPUT_BYTES: usize = 256 << 10;
