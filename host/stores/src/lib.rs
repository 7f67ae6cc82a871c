//! Stores: result backends, ledgers, the registry of modules, and what the API keeps.
//!
//! One module and one feature an adapter; each implements
//! [`Ledger`](lovage_core::ports::Ledger),
//! [`ResultBackend`](lovage_core::ports::ResultBackend), and
//! [`Custody`](lovage_core::ports::Custody) for brokers that can neither delay nor keep.
//!
//! Deliberately absent: waiting for results (that is the caller's side), and queues.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod columns;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod failed;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod kept_ids;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
pub mod registry;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod table;
