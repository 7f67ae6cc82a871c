//! The worker's side of the sandbox: starts, feeds and watches executor processes.
//!
//! Guests run in executors: single-threaded processes, one a core, each joined to the worker by one
//! socket. This crate keeps that many alive, gives each attempt to one of them, answers what guests
//! ask of the host, and tells every waiting caller when an executor dies.
//!
//! ```text
//!          run(job)                  frames, many in one write
//! worker ───────────▶ Pool ─▶ link ═══════════════════════════▶ executor
//!          Report  ◀── jobs ◀─ link ◀══════════════════════════
//!                               └─▶ HostServices
//! ```
//!
//! * [`Executors`] is the [`Sandbox`](lovage_core::ports::Sandbox) port.
//! * Each executor has a *seat*, in which processes follow one another. A task of its own starts the
//!   process, drives the link, and accounts for the death of the one before it starts the next.
//! * An executor is never trusted: what it says is checked, and the worst it can do by breaking the
//!   rules is to end itself and to fail the attempts it holds.
//!
//! Deliberately absent: the engine (`lovage-sandbox` is what runs inside), retries and the isolation
//! of suspects (the pipeline decides), and the environment (the caller passes the command).

mod accounting;
mod confine;
mod executors;
mod jobs;
mod link;
mod options;
mod placement;
mod pool;
mod process;
mod request;
mod seat;

pub use accounting::{Cause, ExecutorState, Loss, Suspect};
pub use confine::{NICE, confine};
pub use executors::Executors;
pub use options::Options;
pub use process::StartError;
