//! One request and its answer, over a connection of their own.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lovage_core::http::{
    HEADER_BYTES_MAX, HEADERS_MAX, HttpError, HttpRequest, HttpResponse, is_hop_by_hop,
};
use tokio_util::task::AbortOnDropHandle;

use crate::connect::Connection;

/// What a request says of its sender when the guest says nothing.
const AGENT: &str = concat!("lovage/", env!("CARGO_PKG_VERSION"));

/// Sends the request and reads the whole answer. The connection ends with it.
pub(crate) async fn exchange(
    connection: Connection,
    request: HttpRequest,
) -> Result<HttpResponse, HttpError> {
    let most = request.limits.response_bytes;
    let request = built(request)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(|error| failed(&error))?;
    // Dropping this future drops the handle, and that ends the connection.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let (head, body) = answer.into_parts();
    if head.status.is_informational() {
        return Err(HttpError::Protocol);
    }
    let headers = headers(&head.headers)?;
    let body = collect(&head.headers, body, most).await?;
    Ok(HttpResponse { status: head.status.as_u16(), headers, body })
}

fn built(request: HttpRequest) -> Result<http::Request<Full<Bytes>>, HttpError> {
    let mut built = http::Request::builder()
        .method(request.method.as_str())
        .uri(request.target)
        .header(HOST, request.destination.to_string());
    for (name, value) in &request.headers {
        built = built.header(name, value.as_slice());
    }
    if !request.headers.iter().any(|(name, _)| name == USER_AGENT.as_str()) {
        built = built.header(USER_AGENT, AGENT);
    }
    built.body(Full::new(request.body)).map_err(|error| HttpError::Invalid(error.to_string()))
}

/// The headers of an answer, without what was between the server and us.
fn headers(all: &HeaderMap) -> Result<Vec<(String, Bytes)>, HttpError> {
    let bytes: usize = all.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES_MAX {
        return Err(HttpError::ResponseHeadersTooLarge);
    }
    let kept = all.iter().filter(|(name, _)| !is_hop_by_hop(name.as_str()));
    let owned = |value: &http::HeaderValue| Bytes::copy_from_slice(value.as_bytes());
    Ok(kept.map(|(name, value)| (name.as_str().to_owned(), owned(value))).collect())
}

/// The whole body, refused as soon as it is known to be too large.
async fn collect(headers: &HeaderMap, mut body: Incoming, most: u32) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::ResponseTooLarge(most);
    let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // An answer to `HEAD` has a length and no body.
    if !hyper::body::Body::is_end_stream(&body) && said.is_some_and(|said: u64| said > most.into())
    {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > most as usize {
                return Err(too_large());
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

fn failed(error: &hyper::Error) -> HttpError {
    if error.is_parse_too_large() {
        HttpError::ResponseHeadersTooLarge
    } else if error.is_parse() {
        HttpError::Protocol
    } else if error.is_user() {
        HttpError::Invalid(error.to_string())
    } else {
        HttpError::Incomplete
    }
}
