//! The use cases of a worker: the main path of a message, and what keeps it going.
//!
//! * [`Worker`] is one worker's life: consume, keep the lease, drain.
//! * `pipeline` is a message's life, top to bottom.
//! * [`Services`] answers the guests that run meanwhile.
//! * [`Modules`] knows which module implements which task.
//!
//! Deliberately absent: every name of a broker, a store or an engine. They come in through the ports
//! of `lovage-core`, and only the binary knows which ones they are.

mod admit;
mod arrivals;
mod attempts;
mod backoff;
mod borders;
mod breaker;
mod budget;
mod builtins;
mod chords;
mod claims;
mod consumer;
mod control;
mod effect_sink;
mod event;
mod events;
mod failpoint;
mod in_order;
mod keeper;
mod lease;
mod modules;
mod operations;
mod outbound;
mod pipeline;
mod quotas;
mod replies;
mod restraint;
mod running;
#[cfg(test)]
mod samples;
mod schemas;
mod services;
mod settler;
mod shares;
mod steps;
mod unpark;
mod waits;
mod worker;

pub use control::{Control, ControlParts, Facts, fits_node, mingle};
pub use effect_sink::EffectSink;
pub use event::{Event, Observer};
pub use events::{Events, Identity, TaskNews, Ticks};
pub use failpoint::{Failpoint, NoFailpoint};
pub use in_order::InOrder;
pub use modules::{Conflict, Modules, Route};
pub use operations::{
    Begun, OperationSettings, Operations, Rate, RateError, RateSettings, Revoked, Roster,
    SharedRate, Slots, Sources, TimeLimits,
};
pub use outbound::HttpSettings;
pub use quotas::LocalMeter;
pub use replies::Replies;
pub use schemas::{SchemaError, check_schema};
pub use services::Services;
pub use unpark::unpark;
pub use worker::{Drained, Options, Ports, Shutdown, Worker};
