//! What runs inside an executor process: wasmtime, narrowed to one fresh instance an attempt. And the
//! compiler, which runs in a throw-away process of its own.
//!
//! Three doors lead in, two of them inner commands of the binary:
//!
//! * [`serve`] is the whole life of an executor process (`lovage executor`).
//! * [`compile_main`] is the whole life of a compiler process (`lovage compile`).
//! * [`Compiler`] is the worker's side: it starts compiler processes, and keeps what they wrote.
//!
//! An attempt that is in an executor belongs to these: `places` gives it a place and turns, `queue`
//! says whose turn it is, `instance` runs it, `guest` is what the host keeps for it, `imports` what
//! it may call, `limits` and `deadline` what it may use, and `trap` tells of what it died.
//!
//! Deliberately absent: brokers, stores, the network, files other than native code to load, and any
//! trust in what a guest says.

mod cache;
mod child;
mod command;
mod compile;
mod deadline;
mod engine;
mod guest;
mod imports;
mod instance;
mod limits;
mod link;
mod module;
mod places;
mod queue;
mod serve;
mod shelf;
mod streams;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trap;

pub use cache::{CompileError, Compiled, Compiler};
pub use compile::{ModuleKind, Refusal, compile_main};
pub use places::EXECUTOR_SLOTS_MAX;
pub use serve::{ServeError, serve};
