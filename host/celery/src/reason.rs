//! The word under which a dead letter is filtered.

use lovage_core::{Death, Failure};

/// The reason under which a message is kept that names another tenant than the one that owns its queue.
pub(crate) const TENANT_MISMATCH: &str = "tenant-mismatch";

/// Each way to die that can be told by its exception alone.
const DEATHS: [Death; 12] = [
    Death::OutOfFuel,
    Death::OutOfMemory,
    Death::TimedOut,
    Death::OutOfCpuTime,
    Death::StackOverflow,
    Death::Trapped,
    Death::Exited,
    Death::OutputTooLarge,
    Death::ArgumentsTooLarge,
    Death::TooManyHostCalls,
    Death::InvalidResult,
    Death::ExecutorLost,
];

/// The word under which a dead letter is filtered: how it died, or that it failed by itself.
pub(crate) fn reason_of(failure: &Failure) -> &'static str {
    let matches = |death: &&Death| {
        let (module, name) = death.exception();
        name == failure.exception_type && failure.exception_module.as_deref() == Some(module)
    };
    match failure.exception_type.as_str() {
        "ArgumentsInvalid" if is_ours(failure) => "arguments-invalid",
        "TenantMismatch" if is_ours(failure) => TENANT_MISMATCH,
        _ => DEATHS.iter().find(matches).map_or("failed", |death| death.as_str()),
    }
}

fn is_ours(failure: &Failure) -> bool {
    failure.exception_module.as_deref() == Some("lovage.exceptions")
}
