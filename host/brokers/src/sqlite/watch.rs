//! Notices that another process has written to the file, without asking it again and again.
//!
//! The kernel tells of every write to the write-ahead log. But a commit is visible only *after* its
//! last write: the writer waits for the disk first, and then publishes in shared memory, of which the
//! kernel tells nobody. So a write starts a short series of looks, each after twice the time of the
//! one before. Whatever slips through is seen by the look that comes every second anyway.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;
use tracing::warn;

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// The same where the kernel cannot tell of writes.
const LOOK_UNTOLD: Duration = Duration::from_millis(50);

/// The first look after a write.
const FIRST: Duration = Duration::from_millis(1);

/// Watches one write-ahead log.
pub(super) struct Watch {
    log: PathBuf,
    /// Not a pipe, but all that is asked of one: it tells when it can be read.
    events: Option<Receiver>,
    /// How long until the next look. It outlives a call to wait: a series that was interrupted goes
    /// on with the next one.
    pause: Mutex<Duration>,
}

impl Watch {
    /// Watches the log, or says why it cannot and looks more often instead.
    pub(super) fn new(log: PathBuf) -> Self {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(Receiver::from_owned_fd_unchecked);
        let events = match events {
            Ok(events) => Some(events),
            Err(error) => {
                warn!(%error, "Cannot be told of writes to the queue's file, so looking often");
                None
            }
        };
        let watch = Self { log, events, pause: Mutex::new(FIRST) };
        watch.arm();
        watch
    }

    /// Waits until it is time to look again: after a write, or because it is time, which is after
    /// `most` at the latest.
    pub(super) async fn time_to_look(&self, most: Duration) {
        let pause = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let written = tokio::select! {
            () = self.written() => true,
            () = tokio::time::sleep(pause.min(most)) => false,
        };
        let longest = if self.events.is_some() { LOOK } else { LOOK_UNTOLD };
        let next = if written { FIRST } else { (pause * 2).min(longest) };
        if next == longest {
            // The log may have been made anew: watching what is watched already changes nothing.
            self.arm();
        }
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn arm(&self) {
        if let Some(events) = &self.events {
            // A log that is missing is there as soon as somebody writes, and looked at by then.
            let _ = inotify::add_watch(events, &self.log, WatchFlags::MODIFY);
        }
    }

    async fn written(&self) {
        let Some(events) = &self.events else { return std::future::pending().await };
        if events.readable().await.is_err() {
            return std::future::pending().await;
        }
        // What happened is known: there is one watch, and it tells of one kind of event.
        let _ = events.try_read(&mut [0; 1024]);
    }
}
