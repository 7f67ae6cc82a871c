//! The exports' side: from a task's result to the contract's words, and what a panic leaves behind.

use crate::{
    bindings::{exports::lovage::task::handler, lovage::task::types},
    error::{Ending, Failure},
    host, task,
};

/// What `run` answers.
pub type RunResult = Result<String, handler::Error>;

/// Runs one attempt.
///
/// # Errors
/// How the attempt ended, when it did not succeed.
pub fn run_exported(name: &str, args: &str, kwargs: &str) -> RunResult {
    std::panic::set_hook(Box::new(report));
    task::run(name, args, kwargs).map_err(|error| {
        let (ending, failure) = error.into_parts();
        let failure = into_wire(failure, name);
        match ending {
            Ending::Fail => handler::Error::Failed(failure),
            Ending::Reject => handler::Error::Rejected(failure),
            Ending::Retry(after) => handler::Error::Retry(handler::Retry {
                reason: failure,
                after_ms: after.map(host::milliseconds),
                options: None,
            }),
            Ending::RetryWith(after, options) => handler::Error::Retry(handler::Retry {
                reason: failure,
                after_ms: after.map(host::milliseconds),
                options: Some(options),
            }),
            Ending::Ignore => handler::Error::Ignored,
            Ending::Requeue => handler::Error::Requeued(failure),
            Ending::Replace(signature) => handler::Error::Replaced(signature),
        }
    })
}

/// A guest that panics ends in a trap, which has no words of its own. The standard error stream is
/// where every language's runtime leaves its last ones, and what the host shows beside the trap.
#[expect(clippy::print_stderr, reason = "a last word, in the one place that every host reads")]
fn report(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => eprintln!("panicked at {place}: {message}"),
        None => eprintln!("panicked: {message}"),
    }
}

fn into_wire(failure: Failure, task: &str) -> types::Failure {
    types::Failure {
        traceback: Some(failure.traceback(task)),
        exception_type: failure.exception_type,
        exception_module: failure.exception_module,
        arguments: failure.arguments,
    }
}
