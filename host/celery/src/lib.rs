//! Celery's wire format: bytes to vocabulary and back; no I/O.
//!
//! A message comes in by [`decode`], which reads both message protocols in every encoding that a
//! Celery producer can be told to use, pickle excepted. What a [`Verdict`] asks for goes out by
//! [`close`]: the result documents, the next attempt, the calls that follow, and what becomes of the
//! message. [`result_document`] and [`encode_envelope`] turn those into the text that backends and
//! brokers keep.
//!
//! Values are never built as trees on the way: arguments and results are JSON text that is checked
//! once and handed on, so that bare `NaN`, integers of any size and kombu's typed values arrive as
//! they left.
//!
//! Deliberately absent: sockets, clocks and chance (everything here is a function of its arguments),
//! and pickle.
//!
//! ```
//! use lovage_celery::{Accept, decode};
//! use lovage_core::{Delivery, Message, Receipt};
//!
//! let envelope = r#"{"body": "W1syLCAzXSwge30sIHt9XQ==", "content-encoding": "utf-8",
//!     "content-type": "application/json", "headers": {"task": "shop.add", "id": "1"},
//!     "properties": {"body_encoding": "base64"}}"#;
//! let delivery = Delivery {
//!     queue: "celery".into(),
//!     receipt: Receipt(1),
//!     message: Message::Envelope(envelope.into()),
//!     redelivered: false,
//!     deliveries: 1,
//! };
//! let invocation = decode(delivery, &Accept::default()).map_err(|bad| bad.error)?;
//! assert_eq!(invocation.task.as_str(), "shop.add");
//! assert_eq!(invocation.args.as_str(), "[2, 3]");
//! # Ok::<(), lovage_celery::DecodeError>(())
//! ```
//!
//! [`Verdict`]: lovage_core::Verdict

mod accept;
mod body;
mod builtin;
mod canvas;
mod close;
mod compression;
mod control;
mod decode;
mod envelope;
mod errback;
mod error;
mod event;
mod exception;
mod fields;
mod follow_ups;
mod iso;
mod msgpack;
mod next_attempt;
mod number;
mod opened;
mod outgoing;
mod reason;
mod repr;
mod request;
mod result;
mod result_format;
mod routing;
mod signature;
mod told;
mod typed;
mod yaml;
mod yaml_writer;

pub use accept::{Accept, AcceptError, ContentType};
pub use builtin::{Builtin, Unlock, builtin, fixed, is_builtin};
pub use canvas::{SignatureError, frozen_result};
pub use close::{CloseSettings, arguments_error, chord_closing, close, quarantine};
pub use compression::Compression;
pub use control::{
    ControlReply, ControlRequest, ReplyTo, control_question, control_reply, decode_control,
    decode_reply, request_info,
};
pub use decode::decode;
pub use envelope::{
    Route, encode_envelope, mark_redelivered, parts_of_envelope, unmark_redelivered,
};
pub use errback::errback_arguments;
pub use error::{DecodeError, Settled, Undecoded};
pub use event::{EventStamp, Heart, TaskEvent, event_batch, event_parts, worker_event};
pub use follow_ups::call_message;
pub use iso::{format_timestamp, parse_timestamp};
pub use repr::value as python_repr;
pub use request::request_text;
pub use result::chord_entry;
pub use result::{DatabaseRow, database_row, is_result_of, result_document};
pub use result_format::{ResultFormat, ResultSerializer, UnwritableResult};
pub use routing::TaskRoute;
pub use told::started;
