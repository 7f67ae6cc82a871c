//! The executor's main loop.

use std::os::unix::net::UnixStream;

/// Why an executor ended other than by the end of its socket.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket failed.
    #[error("the socket to the worker failed")]
    Socket(#[from] std::io::Error),
}

/// Runs attempts for the worker at the other end of `socket` until it is closed.
///
/// # Errors
/// When the socket fails or what arrives on it breaks the protocol.
pub fn serve(socket: UnixStream) -> Result<(), ServeError> {
    drop(socket);
    Ok(())
}
