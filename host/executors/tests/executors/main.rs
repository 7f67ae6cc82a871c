//! The executors of a worker, driven with a fake executor: this very binary, started as
//! `executors executor <behaviour>`. `executors --measure` says what an attempt costs the worker.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail loudly, and this is their runner"
)]

mod cases;
mod fake;
mod life;
mod measure;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

/// One test.
type Test = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// No test may take longer.
const TIME_MAX: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["executor", behaviour] => return fake::run(behaviour),
        ["worker"] => return in_runtime(life::worker),
        ["--measure"] => return in_runtime(measure::measure),
        _ if words.contains(&"--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    let filter = words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default();
    let mut failed = 0;
    for (name, test) in cases::TESTS.iter().chain(life::TESTS).filter(|at| at.0.contains(filter)) {
        let passed = catch_unwind(AssertUnwindSafe(|| in_runtime(*test))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The runtime that a worker has: one thread.
fn in_runtime(test: Test) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(TIME_MAX, test()).await }).expect("in time");
    ExitCode::SUCCESS
}
