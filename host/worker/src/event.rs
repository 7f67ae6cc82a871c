//! What happens in a worker, told once, for logs, metrics and whoever watches.

use lovage_core::{
    Invocation, Job, Json, LogLevel, LogLine, Publication, Report, Settlement, Usage, Verdict,
};
use tracing::{debug, info, warn};

/// Something that happened to a message.
#[derive(Debug)]
pub enum Event<'a> {
    /// A message with a call came in that was not here before.
    Received {
        /// The call.
        invocation: &'a Invocation,
    },
    /// A call begins to run.
    Started {
        /// The call, with all that it runs as.
        job: &'a Job,
    },
    /// Messages are about to leave: retries, and what follows calls or was sent by them.
    Sent {
        /// The messages.
        publications: &'a [Publication],
    },
    /// A call was decided on, by running it or by looking at it, and settled.
    Settled {
        /// What became of it.
        verdict: &'a Verdict,
        /// What the attempt used; all zero when it was not run.
        usage: &'a Usage,
    },
    /// A message came again whose call was over, and everybody had heard of it.
    Known {
        /// The call.
        invocation: &'a Invocation,
    },
    /// A message that nobody can read was put aside.
    Quarantined {
        /// The queue it came from.
        queue: &'a str,
        /// Why, in a word.
        code: &'a str,
    },
}

/// Somebody who is told of every [`Event`], on the main path: an observer must not block.
pub trait Observer: Send + Sync {
    /// It happened.
    fn observe(&self, event: &Event<'_>);
}

impl Event<'_> {
    /// Writes the event's log line, which is only built when somebody listens.
    pub(crate) fn log(&self) {
        match self {
            Self::Quarantined { queue, code } => {
                warn!(queue.name = queue, code, "Quarantined a message that cannot be read");
            }
            Self::Known { invocation } => {
                let (id, name) = (&invocation.id, invocation.shown_name());
                info!(task.id = %id, task.name = name, "Task was done before");
            }
            Self::Settled { verdict, usage } => log_settled(verdict, usage),
            Self::Received { invocation } => {
                let (id, name) = (&invocation.id, invocation.shown_name());
                debug!(task.id = %id, task.name = name, "Task received");
            }
            Self::Sent { publications } => debug!(count = publications.len(), "Messages leave"),
            Self::Started { job } => {
                let (id, name) = (&job.invocation.id, job.invocation.shown_name());
                debug!(task.id = %id, task.name = name, "Task started");
            }
        }
    }
}

fn log_settled(verdict: &Verdict, usage: &Usage) {
    let (id, name) = (&verdict.invocation.id, verdict.invocation.shown_name());
    let runtime_ms = usage.wall.as_millis();
    match &verdict.settlement {
        Settlement::Succeed { .. } => {
            info!(task.id = %id, task.name = name, runtime_ms, fuel = usage.fuel, "Task succeeded");
        }
        Settlement::Bury(failure) => {
            let exception = failure.to_string();
            warn!(task.id = %id, task.name = name, runtime_ms, exception, "Task failed for good");
        }
        Settlement::Ignore { .. } => {
            info!(task.id = %id, task.name = name, runtime_ms, "Task ended unseen");
        }
        Settlement::Replace { .. } => {
            info!(task.id = %id, task.name = name, runtime_ms, "Task was replaced");
        }
        Settlement::Retry { failure, at, .. } => {
            let exception = failure.to_string();
            let wait_ms = at.until(verdict.at).as_millis();
            info!(task.id = %id, task.name = name, wait_ms, exception, "Task will be retried");
        }
        Settlement::Drop(reason) => {
            info!(task.id = %id, task.name = name, reason = reason.as_str(), "Task is not wanted");
        }
        Settlement::Park(reason) => {
            warn!(task.id = %id, task.name = name, ?reason, "Parked a task");
        }
        Settlement::Release(at) => {
            debug!(task.id = %id, task.name = name, ?at, "Handed a task back to its queue");
        }
        Settlement::Forget => {
            warn!(task.id = %id, task.name = name, "Lost the right to a task while it ran");
        }
    }
}

/// Writes what a guest logged.
pub(crate) fn tell_logs(job: &Job, report: &Report) {
    for line in &report.logs {
        log_guest_line(&job.invocation, line);
    }
    if report.logs_dropped > 0 {
        warn!(task.id = %job.invocation.id, dropped = report.logs_dropped,
            "A task logged more than it may; the rest is dropped");
    }
}

/// Writes one line that a guest logged. Its text is the guest's: escaped, so that no terminal and no
/// log reader acts on it.
fn log_guest_line(invocation: &Invocation, line: &LogLine) {
    let (id, name) = (invocation.id.as_str(), invocation.shown_name());
    let message = line.message.escape_debug();
    let fields = line.fields.as_ref().map(Json::as_str);
    macro_rules! write {
        ($level:ident) => {
            tracing::$level!(target: "guest", { task.id = id, task.name = name, fields }, "{message}")
        };
    }
    match line.level {
        LogLevel::Trace => write!(trace),
        LogLevel::Debug => write!(debug),
        LogLevel::Info => write!(info),
        LogLevel::Warn => write!(warn),
        LogLevel::Error => write!(error),
    }
}
