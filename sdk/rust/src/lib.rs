//! Write Lovage tasks in Rust.
//!
//! A task is an ordinary function with an attribute. Its arguments come by position or by name, as
//! a Python caller sends them; what it returns is what the caller's `AsyncResult.get()` returns;
//! an error is raised at the caller under the name of its type.
//!
//! ```
//! use lovage::prelude::*;
//!
//! /// Adds two numbers.
//! #[lovage::task(name = "demo.add")]
//! fn add(x: i64, y: i64) -> i64 {
//!     x + y
//! }
//!
//! lovage::module!();
//! # fn main() {}
//! ```
//!
//! Built for `wasm32-wasip2` the crate is a component that exports `lovage:task/handler` and
//! `lovage:task/catalog`. On every other target the same functions run natively, against the fake
//! host of [`testing`], so that `cargo test` needs no sandbox.
//!
//! Every attempt runs in an instance that nothing ran in before. So a `static` never outlives an
//! attempt, and whatever work is done before the task starts is paid for each time: this crate does
//! none, and asks the host only for what the task asks of its [`Ctx`].
//!
//! What it keeps out: JSON trees (arguments are split by position and each is parsed once, into its
//! own type), threads, and anything asynchronous. A guest that waits yields to the host by waiting.

mod args;
mod context;
mod error;
mod host;
pub mod http;
mod json;
pub mod log;
mod outbox;
mod step;
mod task;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
#[cfg(target_family = "wasm")]
mod guest;

pub use context::Ctx;
pub use error::{Failure, TaskError};
pub use host::{Attempt, HostError, TimeLeft};
pub use json::Json;
pub use lovage_sdk_macros::task;
pub use outbox::Call;
pub use step::{OnDoubt, Step};

/// What a module of tasks needs in scope.
pub mod prelude {
    pub use crate::{Ctx, Json, OnDoubt, Step, TaskError};
}

/// Makes the crate a module: its exports answer for every `#[lovage::task]` in it.
///
/// Say it once, at the top level of the library. The module has the crate's name, or the one given:
/// `lovage::module!("shop")`.
#[macro_export]
macro_rules! module {
    () => {
        $crate::module!(env!("CARGO_CRATE_NAME"));
    };
    ($name:expr) => {
        $crate::__exports!($name);
    };
}

/// The exports of a component. Elsewhere a module is an ordinary library.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    ($name:expr) => {
        const _: () = {
            struct Module;

            impl $crate::bindings::exports::lovage::task::catalog::Guest for Module {
                fn describe() -> $crate::__private::String {
                    $crate::__private::manifest($name)
                }
            }

            impl $crate::bindings::exports::lovage::task::handler::Guest for Module {
                fn run(
                    task: $crate::__private::String,
                    args: $crate::__private::String,
                    kwargs: $crate::__private::String,
                ) -> $crate::__private::RunResult {
                    $crate::__private::run_exported(&task, &args, &kwargs)
                }
            }

    $crate::bindings::export_task!(Module with_types_in $crate::bindings);
        };
    };
}

/// The exports of a component. Elsewhere a module is an ordinary library.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    ($name:expr) => {
        const _: &str = $name;
    };
}

/// What the macros expand to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use std::string::String;

    pub use inventory;

    pub use crate::args::{Parameter, Signature, bind, optional, required, required_exact};
    #[cfg(target_family = "wasm")]
    pub use crate::guest::{RunResult, run_exported};
    pub use crate::json::{Argument, Reply};
    pub use crate::task::{Task, manifest, reply, reply_result};
}
