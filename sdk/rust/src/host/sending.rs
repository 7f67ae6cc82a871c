//! Requests by way of `wasi:http`.

use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, HeaderError, IncomingBody, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::wasi::io::streams::StreamError;
use crate::http::{Error, ErrorKind, Request, Response};

/// What a stream takes at once.
const WRITE_BYTES: usize = 4_096;

/// What is read at once.
const READ_BYTES: u64 = 1 << 20;

pub(crate) fn send_http(request: &Request, body: &[u8]) -> Result<Response, Error> {
    let outgoing = outgoing(request)?;
    let wrong = |()| invalid("the request cannot be sent");
    let writing = outgoing.body().map_err(wrong)?;
    let stream = writing.write().map_err(wrong)?;
    let options = RequestOptions::new();
    let timeout = request.timeout.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
    options.set_first_byte_timeout(timeout).map_err(wrong)?;
    // Sent first: what is written waits for somebody to take it.
    let answer = outgoing_handler::handle(outgoing, Some(options)).map_err(|code| told(&code))?;
    // When the other end no longer takes it, the answer says why.
    let written =
        body.chunks(WRITE_BYTES).try_for_each(|part| stream.blocking_write_and_flush(part));
    drop(stream);
    match written {
        Ok(()) => OutgoingBody::finish(writing, None).map_err(|code| told(&code))?,
        Err(_) => drop(writing),
    }
    answer.subscribe().block();
    let Some(Ok(answer)) = answer.get() else {
        return Err(Error::new(ErrorKind::Other, "the host gave no answer"));
    };
    received(&answer.map_err(|code| told(&code))?)
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Error> {
    let (scheme, rest) =
        request.url.split_once("://").ok_or_else(|| invalid("the URL has no scheme"))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(invalid("the URL's scheme is neither http nor https")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let headers = Fields::from_list(&request.headers).map_err(|error| match error {
        HeaderError::Forbidden => invalid("a header is not for a task to set"),
        _ => invalid("a header is malformed"),
    })?;
    let outgoing = OutgoingRequest::new(headers);
    let set = outgoing.set_method(&method(&request.method));
    let set = set.and_then(|()| outgoing.set_scheme(Some(&scheme)));
    let set = set.and_then(|()| outgoing.set_authority(Some(authority)));
    let set = set.and_then(|()| outgoing.set_path_with_query(Some(&target)));
    set.map_err(|()| invalid("the method or the URL is malformed"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn received(answer: &IncomingResponse) -> Result<Response, Error> {
    let incomplete = || Error::new(ErrorKind::Response, "the answer is not complete");
    let (status, headers) = (answer.status(), answer.headers().entries());
    let incoming: IncomingBody = answer.consume().map_err(|()| incomplete())?;
    let stream = incoming.stream().map_err(|()| incomplete())?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(part) if body.is_empty() => body = part,
            Ok(part) => body.extend(part),
            Err(StreamError::Closed) => return Ok(Response { status, headers, body }),
            Err(StreamError::LastOperationFailed(_)) => return Err(incomplete()),
        }
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

fn told(code: &ErrorCode) -> Error {
    let (kind, message) = match code {
        ErrorCode::HttpRequestDenied => {
            (ErrorKind::Denied, "the host is not granted to this task".to_owned())
        }
        ErrorCode::DestinationIpProhibited => {
            (ErrorKind::Denied, "the host's address is not one that tasks may reach".to_owned())
        }
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
            (ErrorKind::Connect, "the host's name is not known".to_owned())
        }
        ErrorCode::ConnectionRefused => {
            (ErrorKind::Connect, "the connection is refused".to_owned())
        }
        ErrorCode::DestinationUnavailable => {
            (ErrorKind::Connect, "the host cannot be reached".to_owned())
        }
        ErrorCode::TlsCertificateError | ErrorCode::TlsProtocolError => {
            (ErrorKind::Connect, "there is no secure connection to the host".to_owned())
        }
        ErrorCode::ConnectionTimeout => (ErrorKind::Timeout, "no connection in time".to_owned()),
        ErrorCode::HttpResponseTimeout => {
            (ErrorKind::Timeout, "no complete answer in time".to_owned())
        }
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            (ErrorKind::Invalid, "the request is refused".to_owned())
        }
        ErrorCode::HttpRequestBodySize(_) | ErrorCode::HttpRequestHeaderSectionSize(_) => {
            (ErrorKind::Limit, "the request is too large".to_owned())
        }
        ErrorCode::HttpResponseBodySize(_) | ErrorCode::HttpResponseHeaderSectionSize(_) => {
            (ErrorKind::Limit, "the answer is too large".to_owned())
        }
        ErrorCode::ConnectionLimitReached => {
            (ErrorKind::Limit, "as many requests as an attempt may make".to_owned())
        }
        ErrorCode::HttpResponseIncomplete | ErrorCode::HttpProtocolError => {
            (ErrorKind::Response, "the answer is not complete, or no HTTP".to_owned())
        }
        ErrorCode::InternalError(Some(said)) => (ErrorKind::Other, said.clone()),
        _ => (ErrorKind::Other, "the request has no answer".to_owned()),
    };
    let soft = super::time_left().soft.is_some_and(|left| left.is_zero());
    Error::new(if soft { ErrorKind::SoftTimeLimit } else { kind }, message)
}
