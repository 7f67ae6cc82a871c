//! Celery's events: what monitors are told of workers and tasks.
//!
//! An event is a flat JSON object. Every one begins alike: who says it, when, and at which tick of
//! the clock that all workers and monitors keep together (Lamport's: monitors sort by it).

use std::time::Duration;

use lovage_core::{
    Failure, Invocation, Json, JsonPart, Parts, TaskId, Timestamp, write_json_string,
};

use crate::iso::format_timestamp;
use crate::number::float;
use crate::outgoing::Object;
use crate::repr;

/// What every event says of its sender and its moment.
#[derive(Debug, Clone, Copy)]
pub struct EventStamp<'a> {
    /// The worker's node name.
    pub hostname: &'a str,
    /// Hours by which the worker's local time is *west* of UTC: monitors correct timestamps by it.
    pub utcoffset: i32,
    /// The worker's process.
    pub pid: u32,
    /// The tick of the common clock.
    pub clock: u64,
    /// When it happened.
    pub at: Timestamp,
}

/// What a worker's own events say of it.
#[derive(Debug, Clone, Copy)]
pub struct Heart {
    /// Seconds until the next heartbeat: twice that without one, and monitors call the worker dead.
    pub freq: f64,
    /// Calls that run.
    pub active: usize,
    /// Calls that were begun since the start.
    pub processed: u64,
    /// Load of the machine over 1, 5 and 15 minutes.
    pub loadavg: [f64; 3],
}

/// Something that happened to a task.
#[derive(Debug, Clone, Copy)]
pub enum TaskEvent<'a> {
    /// A message with it came in.
    Received(&'a Invocation),
    /// It began to run.
    Started(&'a TaskId),
    /// It returned.
    Succeeded {
        /// The call.
        id: &'a TaskId,
        /// What it returned.
        result: &'a Json,
        /// How long it ran.
        runtime: Duration,
    },
    /// It failed for good.
    Failed {
        /// The call.
        id: &'a TaskId,
        /// Why.
        failure: &'a Failure,
    },
    /// It failed and will be run again.
    Retried {
        /// The call.
        id: &'a TaskId,
        /// Why.
        failure: &'a Failure,
    },
    /// It refused its message.
    Rejected(&'a TaskId),
    /// It is not wanted any more.
    Revoked {
        /// The call.
        id: &'a TaskId,
        /// The signal that it was ended with while it ran, `None` if it had not begun.
        signum: Option<i32>,
        /// Whether its time was over.
        expired: bool,
    },
    /// This worker gave it back while it ran.
    Cancelled(&'a TaskId),
    /// It waits for a person or a module; ours, passed over by monitors that do not know it.
    Parked {
        /// The call.
        id: &'a TaskId,
        /// What it waits for.
        reason: &'a str,
    },
}

impl TaskEvent<'_> {
    /// The event's type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Received(_) => "task-received",
            Self::Started(_) => "task-started",
            Self::Succeeded { .. } => "task-succeeded",
            Self::Failed { .. } => "task-failed",
            Self::Retried { .. } => "task-retried",
            Self::Rejected(_) => "task-rejected",
            Self::Revoked { .. } => "task-revoked",
            Self::Cancelled(_) => "task-cancelled",
            Self::Parked { .. } => "task-parked",
        }
    }

    /// The call that it happened to.
    pub fn id(&self) -> &TaskId {
        match self {
            Self::Received(invocation) => &invocation.id,
            Self::Started(id) | Self::Rejected(id) | Self::Cancelled(id) => id,
            Self::Succeeded { id, .. }
            | Self::Failed { id, .. }
            | Self::Retried { id, .. }
            | Self::Revoked { id, .. }
            | Self::Parked { id, .. } => id,
        }
    }

    /// The event as JSON.
    pub fn text(&self, stamp: &EventStamp<'_>) -> String {
        let mut text = String::with_capacity(320);
        let mut event = begin(&mut text, stamp);
        event.text("uuid", Some(self.id().as_str()));
        match self {
            Self::Received(invocation) => push_received(&mut event, invocation),
            Self::Started(_) | Self::Cancelled(_) => {}
            Self::Succeeded { result, runtime, .. } => {
                event.text("result", Some(&repr::value(result.as_part())));
                event.json("runtime", &float(runtime.as_secs_f64()));
            }
            Self::Failed { failure, .. } | Self::Retried { failure, .. } => {
                let exception = exception(failure);
                event.text("exception", Some(&exception));
                event.text("traceback", Some(failure.traceback.as_deref().unwrap_or(&exception)));
            }
            Self::Rejected(_) => event.json("requeue", "false"),
            Self::Revoked { signum, expired, .. } => {
                event.json("terminated", truth(signum.is_some()));
                event.json("signum", &signum.map_or("null".into(), |signum| signum.to_string()));
                event.json("expired", truth(*expired));
            }
            Self::Parked { reason, .. } => event.text("reason", Some(reason)),
        }
        end(event, stamp, self.kind());
        text
    }
}

/// A worker's own event as JSON: `worker-online`, `worker-heartbeat` or `worker-offline`.
pub fn worker_event(kind: &str, stamp: &EventStamp<'_>, heart: &Heart) -> String {
    let mut text = String::with_capacity(320);
    let mut event = begin(&mut text, stamp);
    event.json("freq", &float(heart.freq));
    event.json("active", &heart.active.to_string());
    event.json("processed", &heart.processed.to_string());
    let [one, five, fifteen] = heart.loadavg.map(float);
    event.json("loadavg", &format!("[{one}, {five}, {fifteen}]"));
    event.text("sw_ident", Some("lovage"));
    event.text("sw_ver", Some(env!("CARGO_PKG_VERSION")));
    event.text("sw_sys", Some("Linux"));
    end(event, stamp, kind);
    text
}

/// The message that carries one event, or a [batch](event_batch) of them.
pub fn event_parts(hostname: &str, body: String) -> Parts {
    let mut headers = String::from("{\"hostname\": ");
    write_json_string(&mut headers, hostname);
    headers.push('}');
    Parts {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        headers,
        properties: "{\"delivery_mode\": 1}".into(),
        body: body.into(),
    }
}

/// Events of tasks in one body.
pub fn event_batch<'a>(events: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from("[");
    for (position, event) in events.into_iter().enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        text.push_str(event);
    }
    text.push(']');
    text
}

/// An exception as Python's `repr` writes it: `ValueError('no')`. Monitors take the class from what
/// stands before the parenthesis, so that it has no dots.
pub(crate) fn exception(failure: &Failure) -> String {
    let qualified = failure.exception_type.as_str();
    let name = qualified.rsplit('.').next().unwrap_or(qualified);
    let arguments = repr::arguments(failure.arguments.as_part());
    let inside = arguments.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let inside = inside.unwrap_or(&arguments);
    format!("{name}({})", inside.strip_suffix(',').unwrap_or(inside))
}

/// Arguments as the message shows them, or as they are if it shows none.
pub(crate) fn shown_arguments(invocation: &Invocation) -> [String; 2] {
    let headers = invocation.headers.as_part();
    let shown = |name| headers.member(name).and_then(JsonPart::as_text).map(String::from);
    [
        shown("argsrepr").unwrap_or_else(|| repr::arguments(invocation.args.as_part())),
        shown("kwargsrepr").unwrap_or_else(|| repr::value(invocation.kwargs.as_part())),
    ]
}

fn push_received(event: &mut Object<'_, '_>, invocation: &Invocation) {
    let [args, kwargs] = shown_arguments(invocation);
    event.text("name", Some(invocation.shown_name()));
    event.text("args", Some(&args));
    event.text("kwargs", Some(&kwargs));
    event.text("root_id", invocation.root_id.as_ref().map(TaskId::as_str));
    event.text("parent_id", invocation.parent_id.as_ref().map(TaskId::as_str));
    event.json("retries", &invocation.retries.to_string());
    event.text("eta", invocation.eta.map(format_timestamp).as_deref());
    event.text("expires", invocation.expires.map(format_timestamp).as_deref());
}

fn begin<'t>(text: &'t mut String, stamp: &EventStamp<'_>) -> Object<'t, 'static> {
    let mut event = Object::new(text, JsonPart::EMPTY_OBJECT);
    event.text("hostname", Some(stamp.hostname));
    event.json("utcoffset", &stamp.utcoffset.to_string());
    event.json("pid", &stamp.pid.to_string());
    event.json("clock", &stamp.clock.to_string());
    event
}

fn end(mut event: Object<'_, '_>, stamp: &EventStamp<'_>, kind: &str) {
    event.json("timestamp", &float(stamp.at.as_seconds()));
    event.text("type", Some(kind));
    event.end();
}

fn truth(is_so: bool) -> &'static str {
    if is_so { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lovage_core::{Failure, Json, Timestamp};

    use super::{EventStamp, TaskEvent, event_batch, exception};

    const STAMP: EventStamp<'_> = EventStamp {
        hostname: "w1@box",
        utcoffset: -2,
        pid: 7,
        clock: 3,
        at: Timestamp::from_micros(1_795_171_299_256_254),
    };

    #[test]
    fn an_event_is_a_flat_object_that_begins_and_ends_as_celerys() {
        let (id, result) = ("a".into(), Json::parse(r#"{"b": "c"}"#).unwrap());
        let runtime = Duration::from_micros(1_500);
        let event = TaskEvent::Succeeded { id: &id, result: &result, runtime };
        assert_eq!(
            event.text(&STAMP),
            r#"{"hostname": "w1@box", "utcoffset": -2, "pid": 7, "clock": 3, "uuid": "a", "result": "{'b': 'c'}", "runtime": 0.0015, "timestamp": 1795171299.256254, "type": "task-succeeded"}"#
        );
        assert_eq!(event_batch(["{}", "{}"]), "[{}, {}]");
    }

    #[test]
    fn an_exception_looks_as_monitors_parse_it() {
        let shown = |name: &str, arguments: &str| {
            exception(&Failure {
                exception_type: name.into(),
                exception_module: None,
                arguments: Json::parse(arguments).unwrap(),
                traceback: None,
            })
        };
        assert_eq!(shown("ValueError", r#"["boom"]"#), "ValueError('boom')");
        assert_eq!(shown("Outer.Inner", r#"["a", 1]"#), "Inner('a', 1)");
        assert_eq!(shown("KeyError", "[]"), "KeyError()");
    }
}
