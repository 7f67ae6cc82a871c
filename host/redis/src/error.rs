//! What went wrong, as a port's error.

use lovage_core::ports::PortError;
use redis::{ErrorKind, RedisError};

/// Answers of a server that may be another one in a while: it starts, is full, is busy with a
/// script, follows a leader that is gone, or cannot write its disk.
const PASSING: [&str; 10] = [
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
];

/// Answers after which another connection may find a better server.
const ELSEWHERE: [&str; 4] = ["LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED"];

/// A failed call as an error that says whether to try again.
pub fn port_error(what: &str, error: RedisError) -> PortError {
    if is_passing(&error) {
        PortError::transient(format!("{what} failed"), error)
    } else {
        PortError::permanent(format!("{what} was refused"), error)
    }
}

/// Whether an answer that a script collected (`OOM command not allowed …`) may be another one later.
pub(crate) fn is_passing_answer(text: &str) -> bool {
    let code = text.trim_start_matches('-').split_ascii_whitespace().next().unwrap_or_default();
    PASSING.contains(&code)
}

/// Whether a connection is worth nothing after this error.
pub(crate) fn ends_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => true,
        _ => error.code().is_some_and(|code| ELSEWHERE.contains(&code)),
    }
}

fn is_passing(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => true,
        _ => error.code().is_some_and(|code| PASSING.contains(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_passing_answer, port_error};

    fn answer(code: &str) -> redis::RedisError {
        redis::make_extension_error(code.to_owned(), Some("because".to_owned()))
    }

    #[test]
    fn a_busy_or_full_server_is_asked_again() {
        for code in ["LOADING", "READONLY", "OOM", "BUSY", "MASTERDOWN", "NOSCRIPT"] {
            assert!(port_error("it", answer(code)).is_transient(), "{code}");
            assert!(is_passing_answer(&format!("{code} because")), "{code}");
        }
    }

    #[test]
    fn a_wrong_password_and_a_wrong_type_are_not() {
        for code in ["WRONGPASS", "NOAUTH", "WRONGTYPE", "NOPERM", "ERR"] {
            assert!(!port_error("it", answer(code)).is_transient(), "{code}");
            assert!(!is_passing_answer(&format!("{code} because")), "{code}");
        }
    }

    #[test]
    fn a_lost_connection_is_made_again() {
        let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(port_error("it", error.into()).is_transient());
    }
}
