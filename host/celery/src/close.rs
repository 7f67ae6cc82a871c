//! From a verdict to all that has to be made true for it.
use lovage_core::{Closing, Failure, Invocation, QueueName, Timestamp, Verdict};

use crate::Undecoded;

/// What closing a call depends on besides the call: the worker's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseSettings {
    /// Whether failures are kept even of calls whose results nobody wants
    /// (`task_store_errors_even_if_ignored`).
    pub store_errors_even_if_ignored: bool,
    /// Whether result documents name the task, its arguments and its worker (`result_extended`).
    pub extended: bool,
    /// The worker's node name, such as `celery@box`.
    pub hostname: String,
    /// Where a call goes that names no queue (`task_default_queue`).
    pub default_queue: QueueName,
}

impl Default for CloseSettings {
    fn default() -> Self {
        Self {
            store_errors_even_if_ignored: false,
            extended: false,
            hostname: "celery@localhost".into(),
            default_queue: "celery".into(),
        }
    }
}

/// All that settling this verdict has to make true; `None` for [`Settlement::Forget`], which makes
/// nothing true because another worker has the right to the call.
///
/// [`Settlement::Forget`]: lovage_core::Settlement::Forget
pub fn close(verdict: &Verdict, settings: &CloseSettings) -> Option<Closing> {
    let _ = (verdict, settings);
    None
}

/// The closing of a message that cannot be read: it is kept whole, under the error's code.
pub fn quarantine(undecoded: &Undecoded, at: Timestamp) -> Closing {
    let _ = (undecoded, at);
    Closing::only(undecoded.delivery.receipt, lovage_core::Disposal::Acknowledge)
}

/// Why the call must not be run yet: what follows it cannot be sent by this version, so that it
/// would be done by halves. To be asked before a call is admitted; the text is a reason to park it.
pub fn unsupported(invocation: &Invocation) -> Option<&'static str> {
    let _ = invocation;
    None
}

/// The failure of a call whose arguments are not a list, or whose keyword arguments are not a map:
/// the same `TypeError` that the caller would get from Python.
pub fn arguments_error(invocation: &Invocation) -> Option<Failure> {
    let _ = invocation;
    None
}
