//! Requests that guests make of the world: what they are, and who may make which.
//!
//! Three things have to agree before one is sent: the task asks for the host in its manifest
//! (`http:HOST`), the operator grants it, and the address that its name stands for is one that the
//! public may reach, or is in a network that the operator names. All of that is decided here, from
//! values; an adapter resolves names and sends.

mod address;
mod failure;
mod headers;
mod host;

use std::time::Duration;

use bytes::Bytes;

pub use address::{Network, NetworkError, Networks, is_public};
pub use failure::HttpError;
pub use headers::{HeaderFault, is_hop_by_hop, request_headers};
pub use host::{Destination, HostPattern, HostPatternError};

/// The kind of a capability that lets a task make requests, as in `http:api.bank.example`.
pub const HTTP_KIND: &str = "http";

/// Bytes of all headers of a request, or of an answer, names and values together.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// Headers of a request, or of an answer.
pub const HEADERS_MAX: usize = 256;

/// Bytes of a path with its query.
pub const TARGET_BYTES_MAX: usize = 32 << 10;

/// Requests of one attempt that may be under way at once; more wait in the guest.
pub const REQUESTS_AT_ONCE_MAX: usize = 6;

/// What a guest's requests may use, each and together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Requests of one attempt.
    pub requests: u32,
    /// Bytes of one request's body.
    pub request_bytes: u32,
    /// Bytes of one answer's body.
    pub response_bytes: u32,
    /// Until a connection is made, TLS included.
    pub connect: Duration,
    /// From a request to the last byte of its answer.
    pub total: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            requests: 32,
            request_bytes: 1 << 20,
            response_bytes: 8 << 20,
            connect: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }
}

/// A request that was allowed by its host's name, to be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, in capitals where it is a usual one.
    pub method: String,
    /// To whom.
    pub destination: Destination,
    /// The path with its query; begins with `/`.
    pub target: String,
    /// The headers, without those that belong to the connection.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// What it may use.
    pub limits: HttpLimits,
}

/// The answer to a request, whatever its status: redirects are not followed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The headers, without those that belong to the connection.
    pub headers: Vec<(String, Bytes)>,
    /// The body, as it was sent: nothing is decompressed.
    pub body: Bytes,
}

/// Whether a method's second time may do what its first did not: those get an idempotency key.
pub fn is_unsafe(method: &str) -> bool {
    matches!(method, "POST" | "PATCH")
}

/// The first of these hosts that nothing among what is granted covers.
pub fn first_not_granted<'a>(
    wanted: impl IntoIterator<Item = &'a str>,
    granted: &[HostPattern],
) -> Option<&'a str> {
    wanted.into_iter().find(|wanted| {
        let wish = wanted.parse::<HostPattern>();
        !wish.is_ok_and(|wish| granted.iter().any(|grant| grant.covers(&wish)))
    })
}
