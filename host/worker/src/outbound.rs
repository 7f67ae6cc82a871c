//! Requests of guests: which are allowed, and what is added to them.
//!
//! What an executor says is checked here as if it came from the guest itself: it may have been taken
//! over by one.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lovage_core::frames::{HostReply, HttpCall};
use lovage_core::http::{
    Destination, HTTP_KIND, HeaderFault, HostPattern, HttpError, HttpLimits, HttpRequest,
    HttpResponse, REQUESTS_AT_ONCE_MAX, TARGET_BYTES_MAX, is_unsafe, request_headers,
};
use lovage_core::ports::Egress;
use lovage_core::{Capability, Job, TaskSpec, Tenant};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lease::LeaseWatch;
use crate::running::Attempt;
use crate::steps::effect_key;

/// The header that a receiver de-duplicates on.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What an operator lets guests send.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The hosts that tasks are granted which ask for them.
    pub granted: Vec<HostPattern>,
    /// What each task's requests may use.
    pub limits: HttpLimits,
    /// Requests of all tasks that are under way at once; more wait.
    pub at_once: usize,
}

/// Sends what guests want sent.
pub(crate) struct Outbound {
    egress: Arc<dyn Egress>,
    settings: HttpSettings,
    turns: Semaphore,
}

/// The requests of one attempt whose task asks for hosts.
#[derive(Debug)]
pub(crate) struct Requests {
    task: Arc<TaskSpec>,
    tenant: Arc<Tenant>,
    made: AtomicU32,
    at_once: Semaphore,
    /// How many requests got a key, in each step and outside of all.
    keyed: Mutex<HashMap<Box<str>, u32>>,
    /// The attempt is over.
    ended: CancellationToken,
}

impl Requests {
    /// Those of an attempt; `None` when its task asks for no host.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        job.task.http_hosts().next()?;
        Some(Self {
            task: Arc::clone(&job.task),
            tenant: Arc::clone(&job.tenant),
            made: AtomicU32::new(0),
            at_once: Semaphore::new(REQUESTS_AT_ONCE_MAX),
            keyed: Mutex::default(),
            ended: CancellationToken::new(),
        })
    }

    /// Ends what is under way.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// The number of the next request in a step that gets a key.
    fn next(&self, step: &str) -> u32 {
        let mut keyed = self.keyed.lock().unwrap_or_else(PoisonError::into_inner);
        let next = keyed.entry(step.into()).or_default();
        *next += 1;
        *next - 1
    }
}

impl Outbound {
    pub(crate) fn new(egress: Arc<dyn Egress>, settings: HttpSettings) -> Self {
        let turns = Semaphore::new(settings.at_once);
        Self { egress, settings, turns }
    }

    /// Sends a request of an attempt, if all agree that it may.
    pub(crate) async fn answer(
        &self,
        attempt: &Attempt,
        lease: &LeaseWatch,
        call: HttpCall<'_>,
    ) -> HostReply {
        match self.send(attempt, lease, call).await {
            Ok(answer) => HostReply::Http(Box::new(answer)),
            Err(error) => HostReply::HttpError(error),
        }
    }

    async fn send(
        &self,
        attempt: &Attempt,
        lease: &LeaseWatch,
        call: HttpCall<'_>,
    ) -> Result<HttpResponse, HttpError> {
        let Some(requests) = &attempt.requests else {
            return Err(HttpError::NotGranted(call.authority.into()));
        };
        let (step, until) =
            (call.step.unwrap_or_default().to_owned(), Instant::now() + call.within);
        let mut request = self.checked(requests, call)?;
        // More than this at once no executor asks for that keeps to the rules.
        let Ok(_place) = requests.at_once.try_acquire() else {
            return Err(HttpError::TooMany(self.settings.limits.requests));
        };
        if requests.made.fetch_add(1, Ordering::Relaxed) >= self.settings.limits.requests {
            return Err(HttpError::TooMany(self.settings.limits.requests));
        }
        let has_key = request.headers.iter().any(|(name, _)| name == IDEMPOTENCY_KEY);
        if is_unsafe(&request.method) {
            let number = requests.next(&step);
            if !has_key {
                let key = effect_key(attempt, &["http", &step, &number.to_string()]);
                request.headers.push((IDEMPOTENCY_KEY.into(), key.into_bytes()));
            }
        }
        let sending = async {
            // It is never closed.
            let _turn = self.turns.acquire().await;
            if !lease.lets_leave(Instant::now()) {
                return Err(HttpError::Ending);
            }
            self.egress.send(request).await
        };
        tokio::select! {
            answer = tokio::time::timeout_at(until, sending) => {
                answer.map_err(|_| HttpError::Timeout)?
            }
            () = requests.ended.cancelled() => Err(HttpError::Ending),
        }
    }

    /// The request as it is sent, when nothing speaks against it.
    fn checked(&self, requests: &Requests, call: HttpCall<'_>) -> Result<HttpRequest, HttpError> {
        let limits = self.settings.limits;
        let invalid = |what: &str| HttpError::Invalid(what.into());
        let destination = Destination::parse(call.is_secure, call.authority)
            .ok_or_else(|| invalid("it names no host"))?;
        if !self.is_granted(requests, &destination) {
            return Err(HttpError::NotGranted(destination.to_string()));
        }
        let method = call.method;
        let is_word = method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        // The first would make of the connection what it is not, the second tells what was added.
        if !is_word || !(1..=32).contains(&method.len()) || ["CONNECT", "TRACE"].contains(&method) {
            return Err(invalid("its method is none that is sent"));
        }
        let is_plain = call.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !call.target.starts_with('/') || !is_plain || call.target.len() > TARGET_BYTES_MAX {
            return Err(invalid("its path is none"));
        }
        if call.body.len() > limits.request_bytes as usize {
            return Err(HttpError::RequestTooLarge(limits.request_bytes));
        }
        let headers =
            request_headers(&call.headers, call.body.len()).map_err(|fault| match fault {
                HeaderFault::TooLarge => HttpError::RequestHeadersTooLarge,
                fault => HttpError::Invalid(fault.to_string()),
            })?;
        let connect = call.connect_within.map_or(limits.connect, |it| it.min(limits.connect));
        Ok(HttpRequest {
            method: method.into(),
            destination,
            target: call.target.into(),
            headers,
            body: call.body,
            limits: HttpLimits { connect, total: limits.total.min(call.within), ..limits },
        })
    }

    /// Whether the task asks for this host, its tenant may have it, and this worker grants it.
    fn is_granted(&self, requests: &Requests, destination: &Destination) -> bool {
        let is_meant =
            |host: &str| host.parse::<HostPattern>().is_ok_and(|host| host.matches(destination));
        let is_tenants = |host: &str| {
            let wish = format!("{HTTP_KIND}:{host}").parse::<Capability>();
            wish.is_ok_and(|wish| requests.tenant.grants.allow(&wish))
        };
        self.settings.granted.iter().any(|host| host.matches(destination))
            && requests.task.http_hosts().any(|host| is_meant(host) && is_tenants(host))
    }
}
