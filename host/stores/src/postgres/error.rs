//! What PostgreSQL's refusals mean to a port: whether to try again.

use deadpool_postgres::PoolError;
use lovage_core::ports::PortError;
use tokio_postgres::Error;

/// Classes of answers that may be another one later: connections, conflicts, resources, operators.
const PASSING: [&str; 7] = ["08", "25", "40", "53", "55", "57", "58"];

/// The error of a port that stands for `error`, which kept `what` from being done.
pub(super) fn port_error(what: &str, error: Error) -> PortError {
    let passing = error
        .code()
        .is_none_or(|state| PASSING.iter().any(|class| state.code().starts_with(class)));
    if passing {
        PortError::transient(format!("{what} failed"), error)
    } else {
        PortError::permanent(format!("{what} was refused"), error)
    }
}

/// The same for a connection that could not be had.
pub(super) fn pool_error(what: &str, error: PoolError) -> PortError {
    match error {
        PoolError::Backend(error) => port_error(what, error),
        other => PortError::transient(format!("{what}: no connection"), other),
    }
}
