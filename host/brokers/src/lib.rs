//! Brokers: where deliveries come from and follow-ups go.
//!
//! One module and one feature an adapter; each implements [`Broker`](lovage_core::ports::Broker),
//! [`KeptMessages`](lovage_core::ports::KeptMessages),
//! and [`Settle`](lovage_core::ports::Settle) where it can make a whole verdict true in one step.
//! What every adapter promises is written down as a test suite in `tests/conformance`.
//!
//! Deliberately absent: decoding (a delivery is bytes here), result documents, and any knowledge of
//! what runs the calls.

#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
