//! Requests to other machines, for tasks that ask for their hosts: `capabilities("http:HOST")`.
//!
//! ```no_run
//! use lovage::prelude::*;
//!
//! #[lovage::task(name = "shop.rate", capabilities("http:api.bank.example"))]
//! fn rate(currency: String) -> Result<f64, TaskError> {
//!     let answer = lovage::http::get(format!("https://api.bank.example/rates/{currency}")).send()?;
//!     Ok(answer.error_for_status()?.json()?)
//! }
//! # fn main() {}
//! ```
//!
//! The worker sends them, over a connection of their own. A request is sent when it is complete, and
//! its answer is there when all of it has come. Redirects are answers. A `POST` or a `PATCH` is given
//! an `Idempotency-Key` that is the same in every attempt, unless it has one.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{HostError, TaskError, host};

/// A request that gets something.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A request that posts something.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A request that puts something in its place.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A request that deletes something.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// A request with any method.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: Ok(Vec::new()),
        timeout: None,
    }
}

/// A request that is yet to be sent; [`Request::send`] sends it.
#[derive(Debug)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Result<Vec<u8>, String>,
    pub(crate) timeout: Option<Duration>,
}

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the key that its receiver de-duplicates on, in place of the worker's own.
    #[must_use]
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.header("idempotency-key", key.into())
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Ok(body.into());
        self
    }

    /// Sets the body to the JSON of `value`, and the header that says so.
    #[must_use]
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        self.body = serde_json::to_vec(value).map_err(|error| error.to_string());
        self.header("content-type", "application/json")
    }

    /// Waits no longer than this for the answer. The worker's own limit holds all the same.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer. The request may have been received.
    pub fn send(mut self) -> Result<Response, Error> {
        let body = std::mem::replace(&mut self.body, Ok(Vec::new())).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the body has no JSON form: {error}"))
        })?;
        host::send_http(&self, &body)
    }
}

/// The answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer, for a test to give.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of success: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, if there is one and it is a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        std::str::from_utf8(&found?.1).ok()
    }

    /// All headers, in small letters and in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The body, as it was sent.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as a text; what is no UTF-8 in it is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body's JSON.
    ///
    /// # Errors
    /// When it is no `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The answer, unless its status is 400 or above.
    ///
    /// # Errors
    /// Then, with the status.
    pub fn error_for_status(self) -> Result<Self, Error> {
        match self.status {
            ..400 => Ok(self),
            status => Err(Error::new(ErrorKind::Status(status), format!("the status is {status}"))),
        }
    }
}

/// Why there is no answer, or none that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The task was not granted that host, or its address is one that tasks may not reach.
    Denied,
    /// There is no connection: nobody knows the name, nobody listens, or nobody vouches for it.
    Connect,
    /// It took too long.
    Timeout,
    /// The request is none that is sent.
    Invalid,
    /// A limit is reached: of sizes, or of requests in an attempt.
    Limit,
    /// The soft time limit is over.
    SoftTimeLimit,
    /// The answer is not complete, or no HTTP.
    Response,
    /// The status is 400 or above; only [`Response::error_for_status`] says so.
    Status(u16),
    /// Anything else.
    Other,
}

/// Why there is no answer, or none that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same request may have an answer later.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::Status(status) => status == 429 || status >= 500,
            ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Response | ErrorKind::Other => {
                true
            }
            ErrorKind::Denied
            | ErrorKind::Invalid
            | ErrorKind::Limit
            | ErrorKind::SoftTimeLimit => false,
        }
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Like [`HostError`], it is no `std::error::Error`, so that each kind has its consequence: what no
/// retry can mend is rejected, the rest has failed, and the task's policy decides.
impl From<Error> for TaskError {
    #[track_caller]
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::SoftTimeLimit => HostError::SoftTimeLimit.into(),
            ErrorKind::Denied => Self::reject(error).exception("Denied"),
            ErrorKind::Invalid => Self::reject(error).exception("InvalidCall"),
            ErrorKind::Limit => Self::reject(error).exception("LimitExceeded"),
            ErrorKind::Connect => Self::fail(error).exception("ConnectionError"),
            ErrorKind::Timeout => Self::fail(error).exception("TimeoutError"),
            _ => Self::fail(error).exception("HTTPError"),
        }
    }
}
