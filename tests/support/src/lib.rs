//! What end-to-end tests share: real servers, the real `lovage` binary and real Celery.
//!
//! A test starts what it needs, on free ports of 127.0.0.1 and in folders of its own, waits for
//! *events* (a line, an answer, an exit) and never for time, and ends every process it started by
//! its id: dropping a [`Process`] or a [`RedisServer`] is enough.
//!
//! Whatever is missing fails the test with one line that says what to do. Nothing is skipped: a
//! test that did not run proves nothing.
//!
//! ```no_run
//! use lovage_test_support::{LovageCommand, RedisServer, python};
//!
//! let redis = RedisServer::start();
//! let worker = LovageCommand::worker().arg("-b").arg(redis.url(0)).start_until("ready");
//! let out = python::run("print(1 + 1)", &[], &[]);
//! assert_eq!(out.stdout.trim(), "2");
//! assert!(worker.terminate().success());
//! ```
//!
//! Kept out: an async runtime (a test may bring its own) and every crate of Lovage's (a test of a
//! binary must not share its code).
#![expect(clippy::panic, reason = "what is missing fails the test loudly, with one line")]
#![expect(clippy::disallowed_methods, reason = "the environment says what is under test")]

pub mod paths;
mod postgres;
mod process;
mod proxy;
pub mod python;
mod rabbitmq;
mod redis;

pub use postgres::PostgresServer;
pub use process::{LovageCommand, PATIENCE, Process};
pub use proxy::Proxy;
pub use rabbitmq::RabbitServer;
pub use redis::{RedisOptions, RedisServer, free_port};
