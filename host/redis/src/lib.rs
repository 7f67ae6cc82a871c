//! Redis, wrapped once, for the adapters that speak to it.
//!
//! * [`Address`]: a URL as Celery writes it, checked once.
//! * [`Link`]: a connection that comes back, with full jitter; its errors say whether to try again.
//! * [`Subscription`]: what is published on a channel, as long as it is listened to.
//! * [`Script`] and [`Call`]: Lua with all arguments of a batch in one round trip.
//! * [`ScriptPart`]: a piece of a script that one adapter writes and another one runs, so that a
//!   whole verdict is made true in one step although neither knows the other.
//! * [`KeptStream`]: kept messages, which a queue of Redis and the custody of another's both have.
//!
//! Deliberately absent: what else the keys mean, Redis Cluster (the keys of one task would fall into
//! different slots, so a cluster is refused), and typed commands.

mod address;
mod backoff;
mod error;
mod kept;
mod link;
mod part;
mod script;
mod subscription;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use error::port_error;
pub use kept::KeptStream;
pub use link::{Link, LinkOptions, Listener, Pushed};
pub use part::{Arguments, Batch, ScriptPart, Steps, quote};
pub use redis::{Cmd, Pipeline, Value};
pub use script::{Call, Script};
pub use subscription::Subscription;
