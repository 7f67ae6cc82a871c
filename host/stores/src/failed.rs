//! One failure of a call that did several things.

use lovage_core::ports::PortError;

/// The error once for each of `count` things that were to be done together.
pub(crate) fn each<T>(what: &str, error: &PortError, count: usize) -> Vec<Result<T, PortError>> {
    let again = || {
        if error.is_transient() {
            PortError::transient(what, error.to_string())
        } else {
            PortError::permanent(what, error.to_string())
        }
    };
    (0..count).map(|_| Err(again())).collect()
}
