//! Requests of guests, as the worker hears them.

use std::time::Duration;

use bytes::Bytes;
use lovage_core::frames::{HostCall, HostReply};
use lovage_core::http::{HttpError, HttpResponse};
use lovage_core::{Limits, Outcome, Report};

use crate::testing::Executor;

/// What the worker says to a call.
type Answer = fn(&HostCall<'_>) -> HostReply;

fn answered(status: u16, body: &'static str) -> HostReply {
    let headers = vec![("location".to_owned(), Bytes::from_static(b"/there"))];
    HostReply::Http(Box::new(HttpResponse { status, headers, body: body.into() }))
}

fn run(
    task: &str,
    args: &str,
    limits: Limits,
    answer: fn(&HostCall<'_>) -> HostReply,
) -> (Report, Vec<String>) {
    let mut executor = Executor::with(2, &["granted/courier.wasm"]);
    executor.answer = answer;
    let report = executor.run(0, task, args, limits);
    (report, std::mem::take(&mut executor.calls))
}

#[test]
fn a_request_is_told_whole_and_its_answer_comes_back_whole() {
    let args = r#"["POST", "https://127.0.0.1:8443/a?b=c#d", "body", ["X-Mine", "1"]]"#;
    let (report, calls) = run("courier.send", args, Limits::default(), |call| {
        let HostCall::Http(call) = call else { panic!("{call:?}") };
        assert_eq!((call.method, call.is_secure), ("POST", true));
        assert_eq!((call.authority, call.target), ("127.0.0.1:8443", "/a?b=c"));
        assert_eq!(call.headers, [("x-mine", &b"1"[..])]);
        assert_eq!((call.body.as_ref(), call.step), (&b"body"[..], None));
        assert!(call.within <= Limits::default().time);
        answered(302, "moved")
    });
    let Outcome::Succeed(answer) = report.outcome else { panic!("{report:?}") };
    assert_eq!(answer.as_str(), r#"{"status":302,"location":"/there","body":"moved"}"#);
    assert_eq!(calls.len(), 1);
}

#[test]
fn a_large_body_goes_there_and_back() {
    let args = format!(r#"["PUT", "http://127.0.0.1/", "{}"]"#, "x".repeat(300_000));
    let (report, _) = run("courier.send", &args, Limits::default(), |call| {
        let HostCall::Http(call) = call else { panic!("{call:?}") };
        HostReply::Http(Box::new(HttpResponse {
            status: 200,
            headers: vec![],
            body: call.body.clone(),
        }))
    });
    let Outcome::Succeed(answer) = report.outcome else { panic!("{:?}", report.outcome) };
    assert!(answer.as_str().len() > 300_000);
}

#[test]
fn a_guest_is_told_why_there_is_no_answer() {
    let ends: [(Answer, &str, bool); 5] = [
        (|_| HostReply::HttpError(HttpError::NotGranted("a".into())), "Denied", true),
        (|_| HostReply::HttpError(HttpError::AddressRefused("a".into())), "Denied", true),
        (|_| HostReply::HttpError(HttpError::ResponseTooLarge(1)), "LimitExceeded", true),
        (|_| HostReply::HttpError(HttpError::Refused), "ConnectionError", false),
        (|_| HostReply::HttpError(HttpError::Timeout), "TimeoutError", false),
    ];
    for (answer, class, is_final) in ends {
        let args = r#"["GET", "http://127.0.0.1/"]"#;
        let (report, _) = run("courier.send", args, Limits::default(), answer);
        let (failure, rejected) = match report.outcome {
            Outcome::Reject(failure) => (failure, true),
            Outcome::Fail(failure) => (failure, false),
            other => panic!("{other:?}"),
        };
        assert_eq!((&*failure.exception_type, rejected), (class, is_final));
    }
}

#[test]
fn a_request_in_a_step_names_it() {
    let (report, calls) =
        run("courier.deliver", r#"["http://127.0.0.1/", "note"]"#, Limits::default(), |call| {
            match call {
                HostCall::StepBegin { .. } => HostReply::StepRun("key".into()),
                HostCall::Http(_) => answered(200, ""),
                _ => HostReply::Done,
            }
        });
    assert!(matches!(report.outcome, Outcome::Succeed(_)), "{report:?}");
    let steps: Vec<_> = calls.iter().filter(|call| call.starts_with("Http")).collect();
    assert!(
        steps[0].contains("step: None") && steps[1].contains("step: Some(\"deliver\")"),
        "{steps:?}"
    );
}

#[test]
fn after_the_soft_limit_nothing_is_sent() {
    let limits = Limits { soft_time: Some(Duration::ZERO), ..Limits::default() };
    let (report, calls) =
        run("courier.send", r#"["GET", "http://127.0.0.1/"]"#, limits, |_| HostReply::Done);
    let Outcome::Fail(failure) = report.outcome else { panic!("{report:?}") };
    assert_eq!(&*failure.exception_type, "SoftTimeLimitExceeded");
    assert!(calls.is_empty());
}

#[test]
fn what_is_the_connections_own_is_refused_before_it_is_sent() {
    for header in ["Host", "TE", "Connection", "Transfer-Encoding", "Proxy-Authorization"] {
        let args = format!(r#"["GET", "http://127.0.0.1/", null, ["{header}", "x"]]"#);
        let (report, calls) = run("courier.send", &args, Limits::default(), |_| HostReply::Done);
        assert!(matches!(report.outcome, Outcome::Reject(_)), "{header}: {report:?}");
        assert!(calls.is_empty(), "{header}");
    }
}
