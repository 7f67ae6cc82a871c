//! Why a request has no answer.

use serde::{Deserialize, Serialize};

/// Why a request has no answer. A guest is told so in the words of `wasi:http`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HttpError {
    /// The task was not granted that host.
    #[error("the host {0} is not granted to this task")]
    NotGranted(String),
    /// Its name stands for an address that guests may not reach.
    #[error("the address of {0} is not one that tasks may reach")]
    AddressRefused(String),
    /// Nobody knows the name.
    #[error("the name {0} is not known")]
    NameUnknown(String),
    /// Nobody listens there.
    #[error("the connection is refused")]
    Refused,
    /// There is no way there, or it broke.
    #[error("the host cannot be reached")]
    Unreachable,
    /// No connection came about in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The answer was not complete in time.
    #[error("no complete answer in time")]
    Timeout,
    /// There is no secure connection, as with a certificate that nobody vouches for.
    #[error("no secure connection: {0}")]
    Insecure(String),
    /// The request is none that is sent: its method, its target, or a header.
    #[error("the request is refused: {0}")]
    Invalid(String),
    /// Its body has more bytes than allowed; as many.
    #[error("the request's body has more than the {0} bytes allowed")]
    RequestTooLarge(u32),
    /// Its headers have more bytes than allowed.
    #[error("the request's headers are too large")]
    RequestHeadersTooLarge,
    /// The answer's body has more bytes than allowed; as many.
    #[error("the answer's body has more than the {0} bytes allowed")]
    ResponseTooLarge(u32),
    /// The answer's headers have more bytes than allowed.
    #[error("the answer's headers are too large")]
    ResponseHeadersTooLarge,
    /// The connection ended before the answer did.
    #[error("the answer is not complete")]
    Incomplete,
    /// What came is no HTTP.
    #[error("the answer is no HTTP")]
    Protocol,
    /// The attempt made as many requests as it may.
    #[error("{0} requests are as many as an attempt may make")]
    TooMany(u32),
    /// The right to run the call is nearly over, or the attempt is: nothing leaves any more.
    #[error("the attempt is about to end: nothing is sent any more")]
    Ending,
    /// The soft time limit is over.
    #[error("the soft time limit is over")]
    SoftTimeLimit,
    /// There is nobody here who would send it.
    #[error("nothing is sent from here")]
    Unavailable,
}
