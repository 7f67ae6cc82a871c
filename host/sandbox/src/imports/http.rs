//! `wasi:http`, and `http` of the contract: requests to other machines. The worker makes them; here is
//! no network.
//!
//! Everything is linked that a program needs to send a request, whoever runs: a language's runtime may
//! import it and never call it. What is granted is decided where the request arrives, for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::HeaderName;
use http_body_util::{BodyExt as _, Full};
use lovage_core::frames::{HostCall, HostReply, HttpCall};
use lovage_core::http::{
    HEADER_BYTES_MAX, HttpError, HttpResponse, REQUESTS_AT_ONCE_MAX, is_hop_by_hop,
};
use lovage_core::ports::HostServices;
use lovage_core::{JobNumber, Limits};
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks, WasiHttpView,
};

use super::contract::lovage::task::http as one_call;
use crate::guest::Guest;

/// What is kept for an attempt that has to do with HTTP; for the others there is nothing.
pub(crate) struct Http {
    context: WasiHttpCtx,
    caller: Caller,
}

/// On whose behalf requests are sent.
#[derive(Clone)]
struct Caller {
    /// Who sends them; nobody does while a module is described.
    services: Option<Arc<dyn HostServices>>,
    job: JobNumber,
    limits: Limits,
    started: Instant,
    /// The step that the guest is in.
    step: Option<String>,
    at_once: Arc<Semaphore>,
}

/// Every call of `wasi:http` comes through here, so it counts them, as those of the rest of WASI.
impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.slot.count_host_call();
        let (http, table) = self.requests();
        WasiHttpCtxView { hooks: &mut http.caller, table, ctx: &mut http.context }
    }
}

impl Guest {
    /// What requests need, in the step that the guest is in now.
    fn requests(&mut self) -> (&mut Http, &mut ResourceTable) {
        let http = self.http.get_or_insert_with(|| {
            let mut context = WasiHttpCtx::new();
            context.set_field_size_limit(HEADER_BYTES_MAX);
            let caller = Caller {
                services: self.services.clone(),
                job: self.job,
                limits: self.limits,
                started: self.started,
                step: None,
                at_once: Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX)),
            };
            Box::new(Http { context, caller })
        });
        if http.caller.step.as_ref() != self.open_steps.last() {
            http.caller.step = self.open_steps.last().cloned();
        }
        (http, &mut self.table)
    }
}

/// The same in one call.
impl one_call::Host for Guest {
    async fn send(
        &mut self,
        request: one_call::Request,
    ) -> wasmtime::Result<Result<one_call::Response, one_call::Error>> {
        self.count_call()?;
        self.breathe(request.body.len()).await;
        let caller = self.requests().0.caller.clone();
        let answer = caller.send_whole(request).await;
        Ok(match answer {
            Ok(answer) => {
                let headers = answer.headers.into_iter();
                let headers = headers.map(|(name, value)| (name, value.into())).collect();
                Ok(one_call::Response { status: answer.status, headers, body: answer.body.into() })
            }
            Err(error) => Err(in_one_word(&error)),
        })
    }
}

/// An error in the words of the contract.
fn in_one_word(error: &HttpError) -> one_call::Error {
    let said = error.to_string();
    match error {
        HttpError::NotGranted(_) | HttpError::AddressRefused(_) | HttpError::Unavailable => {
            one_call::Error::Denied(said)
        }
        HttpError::NameUnknown(_)
        | HttpError::Refused
        | HttpError::Unreachable
        | HttpError::Insecure(_) => one_call::Error::Connection(said),
        HttpError::ConnectTimeout | HttpError::Timeout => one_call::Error::Timeout(said),
        HttpError::Invalid(_) => one_call::Error::Invalid(said),
        HttpError::RequestTooLarge(_)
        | HttpError::RequestHeadersTooLarge
        | HttpError::ResponseTooLarge(_)
        | HttpError::ResponseHeadersTooLarge
        | HttpError::TooMany(_) => one_call::Error::Limit(said),
        HttpError::Incomplete | HttpError::Protocol => one_call::Error::Response(said),
        HttpError::SoftTimeLimit => one_call::Error::SoftTimeLimit,
        HttpError::Ending => one_call::Error::Other(said),
    }
}

type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Caller {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name: &HeaderName| is_hop_by_hop(name.as_str()) || name == http::header::HOST)
    }

    /// Where a request goes the worker says, which sends it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let caller = self.clone();
        Box::new(async move {
            let answer = caller.send(request, options).await?;
            let nothing_more: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response(answer)?, nothing_more))
        })
    }
}

impl Caller {
    async fn send(
        &self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<HttpResponse, Error> {
        let (head, body) = request.into_parts();
        let body = collect(body, self.limits.host_call_bytes).await?;
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let call = HttpCall {
            method: head.method.as_str(),
            is_secure: head.uri.scheme() != Some(&http::uri::Scheme::HTTP),
            authority: head.uri.authority().map_or("", http::uri::Authority::as_str),
            target: head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            headers: headers.collect(),
            body,
            step: self.step.as_deref(),
            connect_within: options.as_ref().and_then(|options| options.connect_timeout),
            within: options.as_ref().and_then(|it| it.first_byte_timeout).unwrap_or(Duration::MAX),
        };
        self.call(call).await.map_err(|error| told(&error))
    }

    async fn send_whole(&self, request: one_call::Request) -> Result<HttpResponse, HttpError> {
        let invalid = |what: &str| HttpError::Invalid(what.into());
        let (scheme, rest) =
            request.url.split_once("://").ok_or_else(|| invalid("its URL has no scheme"))?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(invalid("its scheme is neither http nor https")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let call = HttpCall {
            method: &request.method,
            is_secure,
            authority,
            target: &target,
            headers: headers.collect(),
            body: request.body.into(),
            step: self.step.as_deref(),
            connect_within: None,
            within: request.timeout_ms.map_or(Duration::MAX, Duration::from_millis),
        };
        self.call(call).await
    }

    /// Has the worker send a request, when it is its turn and there is time left.
    async fn call(&self, call: HttpCall<'_>) -> Result<HttpResponse, HttpError> {
        let Some(services) = &self.services else { return Err(HttpError::Unavailable) };
        // It is never closed.
        let _turn = self.at_once.acquire().await;
        let left = self.left().ok_or(HttpError::SoftTimeLimit)?;
        let call = HttpCall { within: call.within.min(left), ..call };
        match services.call(self.job, HostCall::Http(Box::new(call))).await {
            HostReply::Http(answer) => Ok(*answer),
            HostReply::HttpError(error) => Err(error),
            HostReply::Limit(_) => Err(HttpError::RequestTooLarge(self.limits.host_call_bytes)),
            _ => Err(HttpError::Ending),
        }
    }

    /// What is left of the attempt's time, up to the soft limit; `None` when that is over.
    fn left(&self) -> Option<Duration> {
        let most = self.limits.soft_time.unwrap_or(self.limits.time).min(self.limits.time);
        most.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }
}

/// The whole body, of which a guest may give no more than one host call may carry.
async fn collect(mut body: WasiBody, bytes_max: u32) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            if whole.len() + data.len() > bytes_max as usize {
                return Err(told(&HttpError::RequestTooLarge(bytes_max)));
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

fn response(answer: HttpResponse) -> Result<http::Response<WasiBody>, Error> {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value.as_ref());
    }
    let body = Full::new(answer.body).map_err(|never| match never {}).boxed_unsync();
    response.body(body).map_err(|_| told(&HttpError::Protocol))
}

/// An error in the words that guests know.
fn told(error: &HttpError) -> Error {
    let said = error.to_string();
    match error {
        HttpError::NotGranted(_) | HttpError::Unavailable => Error::HttpRequestDenied,
        HttpError::AddressRefused(_) => Error::DestinationIpProhibited,
        HttpError::NameUnknown(_) => {
            Error::DnsError { rcode: Some("NXDOMAIN".into()), info_code: None }
        }
        HttpError::Refused => Error::ConnectionRefused,
        HttpError::Unreachable => Error::DestinationUnavailable,
        HttpError::ConnectTimeout => Error::ConnectionTimeout,
        HttpError::Timeout => Error::HttpResponseTimeout,
        HttpError::Insecure(_) => Error::TlsCertificateError,
        HttpError::Invalid(_) => Error::HttpRequestUriInvalid,
        HttpError::RequestTooLarge(bytes) => Error::HttpRequestBodySize(Some((*bytes).into())),
        HttpError::RequestHeadersTooLarge => Error::HttpRequestHeaderSectionSize(None),
        HttpError::ResponseTooLarge(bytes) => Error::HttpResponseBodySize(Some((*bytes).into())),
        HttpError::ResponseHeadersTooLarge => Error::HttpResponseHeaderSectionSize(None),
        HttpError::Incomplete => Error::HttpResponseIncomplete,
        HttpError::Protocol => Error::HttpProtocolError,
        HttpError::TooMany(_) => Error::ConnectionLimitReached,
        HttpError::Ending | HttpError::SoftTimeLimit => Error::InternalError(Some(said)),
    }
}
