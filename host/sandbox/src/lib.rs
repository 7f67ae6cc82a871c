//! What runs inside an executor process: wasmtime, narrowed to one fresh instance an attempt. And the
//! compiler, which runs in a throw-away process of its own.
//!
//! Three doors lead in, two of them inner commands of the binary:
//!
//! * [`serve`] is the whole life of an executor process (`lovage executor`).
//! * [`compile_main`] is the whole life of a compiler process (`lovage compile`).
//! * [`Compiler`] is the worker's side: it starts compiler processes, and keeps what they wrote.
//!
//! Deliberately absent: brokers, stores, the network, files other than native code to load, and any
//! trust in what a guest says.

mod cache;
mod compile;
mod serve;

pub use cache::Compiler;
pub use compile::{CompileError, Compiled, ModuleKind, Refusal, compile_main};
pub use serve::{ServeError, serve};
