//! Stores: result backends, and what is kept beside them.
//!
//! One module and one feature an adapter; each implements
//! [`ResultBackend`](lovage_core::ports::ResultBackend).
//!
//! Deliberately absent: waiting for results (that is the caller's side), and queues.

#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
