//! SQLite, wrapped once: a thread a file, and commits that many share.
//!
//! A [`Database`] owns one connection on one thread. Work is a closure that is sent there, so that
//! nothing of SQLite ever blocks an async runtime. Works that wait at the same time are run in *one*
//! transaction and share its cost, the wait for the disk above all; each answers only once that
//! transaction is durable. A work that fails takes nothing of its neighbours' with it.
//!
//! Every file is in WAL mode with `synchronous = FULL`: what was answered survives a power cut. Works
//! that need less say so ([`Database::write_unsynced`]) and wait for no disk.
//! Transactions begin as `BEGIN IMMEDIATE`, so that they wait for other processes at one place only,
//! and no longer than a bound.
//!
//! Deliberately absent: tables (each adapter brings its own), pools of connections (a file has one
//! writer at a time anyway), and files in memory.

mod database;
mod error;
mod location;
mod open;
mod participant;
mod work;

pub use database::{Database, Settings};
pub use error::port_error;
pub use location::{LocationError, path_of_url};
pub use participant::Participant;
