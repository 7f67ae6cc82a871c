//! Which requests are allowed, and what is added to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::frames::HttpCall;
use lovage_core::http::{HttpError, HttpLimits, HttpRequest, HttpResponse};
use lovage_core::ports::Egress;
use lovage_core::{Tenant, TenantId};
use tokio::time::Instant;

use super::{HttpSettings, Outbound};
use crate::lease::LeaseWatch;
use crate::running::{Attempt, Running};
use crate::samples::job;

/// Answers at once, and remembers; a request to `/silent` has no answer.
#[derive(Default)]
struct Sent(Mutex<Vec<HttpRequest>>);

#[async_trait]
impl Egress for Sent {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_silent = request.target == "/silent";
        self.0.lock().unwrap().push(request);
        if is_silent {
            std::future::pending::<()>().await;
        }
        Ok(HttpResponse { status: 200, headers: Vec::new(), body: Bytes::new() })
    }
}

/// What a task asks for, what its tenant has, and where it sends to.
type Case<'a> = (&'a [&'a str], Option<&'a [&'a str]>, &'a str);

struct Stage {
    running: Running,
    sent: Arc<Sent>,
    outbound: Outbound,
    lease: LeaseWatch,
}

fn stage(granted: &str) -> Stage {
    let sent = Arc::new(Sent::default());
    let settings = HttpSettings {
        granted: granted.split(',').map(|host| host.parse().unwrap()).collect(),
        limits: HttpLimits::default(),
        at_once: 2,
    };
    let outbound = Outbound::new(Arc::clone(&sent) as _, settings);
    Stage { running: Running::default(), sent, outbound, lease: LeaseWatch::default() }
}

impl Stage {
    /// An attempt of a task that asks for these hosts, of a tenant that has these grants.
    fn attempt(&self, asks: &[&str], grants: Option<&[&str]>) -> Arc<Attempt> {
        let mut job = job(0);
        Arc::get_mut(&mut job.task).unwrap().capabilities =
            asks.iter().map(|host| format!("http:{host}")).collect();
        if let Some(grants) = grants {
            let mut tenant = Tenant::new("acme".parse::<TenantId>().unwrap());
            tenant.grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
            job.tenant = Arc::new(tenant);
        }
        let guard = self.running.enter(&Arc::new(job), None);
        let attempt = self.running.get(guard.number).unwrap();
        std::mem::forget(guard);
        attempt
    }

    async fn send(&self, attempt: &Attempt, call: HttpCall<'_>) -> Result<u16, HttpError> {
        self.outbound.send(attempt, &self.lease, call).await.map(|answer| answer.status)
    }

    fn keys(&self) -> Vec<Option<String>> {
        let sent = self.sent.0.lock().unwrap();
        let key = |request: &HttpRequest| {
            let found = request.headers.iter().find(|(name, _)| name == "idempotency-key");
            found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
        };
        sent.iter().map(key).collect()
    }
}

fn call<'a>(method: &'a str, authority: &'a str, target: &'a str) -> HttpCall<'a> {
    HttpCall {
        method,
        is_secure: true,
        authority,
        target,
        headers: Vec::new(),
        body: Bytes::new(),
        step: None,
        connect_within: None,
        within: Duration::from_secs(30),
    }
}

#[tokio::test]
async fn task_tenant_and_worker_have_to_agree_on_a_host() {
    let stage = stage("*.bank.example,mail.example:8443");
    let sends = async |asks: &[&str], grants: Option<&[&str]>, authority: &str| {
        let attempt = stage.attempt(asks, grants);
        stage.send(&attempt, call("GET", authority, "/")).await
    };
    let bank = "api.bank.example";
    assert_eq!(sends(&[bank], None, bank).await, Ok(200));
    assert_eq!(sends(&["*"], None, bank).await, Ok(200));
    assert_eq!(sends(&[bank], Some(&["http:*.bank.example"]), bank).await, Ok(200));
    let denied: [Case<'_>; 8] = [
        (&[], None, bank),
        (&["other.example"], None, bank),
        (&["*"], None, "other.example"),
        (&["*"], None, "mail.example"),
        (&[bank], None, "api.bank.example:8443"),
        (&[bank], Some(&[]), bank),
        (&[bank], Some(&["http:other.example"]), bank),
        (&["*"], Some(&["http:*.bank.example"]), bank),
    ];
    for (asks, grants, authority) in denied {
        let answer = sends(asks, grants, authority).await;
        assert!(matches!(answer, Err(HttpError::NotGranted(_))), "{asks:?} {grants:?} {authority}");
    }
    assert_eq!(stage.sent.0.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_no_request_is_refused_whatever_the_executor_let_pass() {
    let stage = stage("*");
    let attempt = stage.attempt(&["*"], None);
    let large = Bytes::from(vec![0; (1 << 20) + 1]);
    for wrong in [
        call("CONNECT", "a", "/"),
        call("TRACE", "a", "/"),
        call("GET /x HTTP/1.1\r\n", "a", "/"),
        call("", "a", "/"),
        call("GET", "user@a", "/"),
        call("GET", "a b", "/"),
        call("GET", "", "/"),
        call("GET", "a", "http://b/"),
        call("GET", "a", "/ HTTP/1.1\r\nhost: b"),
        call("GET", "a", "/#x"),
        HttpCall { headers: vec![("host", &b"b"[..])], ..call("GET", "a", "/") },
        HttpCall { headers: vec![("content-length", &b"9"[..])], ..call("GET", "a", "/") },
        HttpCall { headers: vec![("a", &b"b\r\nc: d"[..])], ..call("GET", "a", "/") },
    ] {
        let said = format!("{wrong:?}");
        let answer = stage.send(&attempt, wrong).await;
        assert!(matches!(answer, Err(HttpError::Invalid(_))), "{said}: {answer:?}");
    }
    let answer = stage.send(&attempt, HttpCall { body: large, ..call("PUT", "a", "/") }).await;
    assert_eq!(answer, Err(HttpError::RequestTooLarge(1 << 20)));
    assert!(stage.sent.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_is_that_of_the_request_over_all_attempts() {
    let stage = stage("*");
    for _ in 0..2 {
        let attempt = stage.attempt(&["*"], None);
        let in_step = |step| HttpCall { step: Some(step), ..call("PATCH", "a", "/") };
        let own =
            HttpCall { headers: vec![("Idempotency-Key", &b"own"[..])], ..call("POST", "a", "/") };
        for request in [
            call("POST", "a", "/"),
            call("GET", "a", "/"),
            call("PUT", "a", "/"),
            in_step("pay"),
            in_step("mail"),
            own,
            call("POST", "b", "/"),
        ] {
            stage.send(&attempt, request).await.unwrap();
        }
    }
    let keys = stage.keys();
    assert_eq!(keys[..7], keys[7..], "the next attempt sends the same");
    assert_eq!((&keys[1], &keys[2]), (&None, &None), "what may be repeated needs none");
    assert_eq!(keys[5].as_deref(), Some("own"));
    let ours = [0, 3, 4, 6].map(|index: usize| keys[index].clone().unwrap());
    assert!(ours.iter().all(|key| key.starts_with("lv1-") && key.len() == 30), "{ours:?}");
    let different: std::collections::BTreeSet<_> = ours.iter().collect();
    assert_eq!(different.len(), 4, "{ours:?}");
}

#[tokio::test]
async fn an_attempt_makes_so_many_requests_and_no_more() {
    let stage = stage("*");
    let attempt = stage.attempt(&["*"], None);
    for _ in 0..32 {
        stage.send(&attempt, call("GET", "a", "/")).await.unwrap();
    }
    let answer = stage.send(&attempt, call("GET", "a", "/")).await;
    assert_eq!(answer, Err(HttpError::TooMany(32)));
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_when_the_lease_is_nearly_over_and_nothing_is_waited_for_for_ever() {
    let stage = stage("*");
    let attempt = stage.attempt(&["*"], None);
    let lease = Duration::from_secs(30);
    stage.lease.renewed(Instant::now(), lease);
    let silent = || HttpCall { within: Duration::from_secs(5), ..call("GET", "a", "/silent") };
    let begun = Instant::now();
    assert_eq!(stage.send(&attempt, silent()).await, Err(HttpError::Timeout));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(16)).await;
    assert_eq!(stage.send(&attempt, call("GET", "a", "/")).await, Err(HttpError::Ending));
    stage.lease.renewed(Instant::now(), lease);
    assert_eq!(stage.send(&attempt, call("GET", "a", "/")).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_attempt_ends_what_it_waits_for() {
    let stage = stage("*");
    let mut job = job(0);
    Arc::get_mut(&mut job.task).unwrap().capabilities = vec!["http:*".into()];
    let guard = stage.running.enter(&Arc::new(job), None);
    let attempt = stage.running.get(guard.number).unwrap();
    let sending = stage.send(&attempt, call("GET", "a", "/silent"));
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(guard);
    };
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(sending, ending);
    assert_eq!((answer, begun.elapsed()), (Err(HttpError::Ending), Duration::from_secs(1)));
}
