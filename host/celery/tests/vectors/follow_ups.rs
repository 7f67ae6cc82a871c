//! What leaves is what Celery's own worker sent in the same place.

use std::sync::Arc;
use std::time::Duration;

use lovage_celery::{
    Accept, CloseSettings, DecodeError, Route, close, decode, encode_envelope, errback_arguments,
    result_document,
};
use lovage_core::{
    Child, Closing, Disposal, DropReason, FailedAttempt, Failure, Invocation, Json, JsonPart,
    KeptKind, OutboxCall, OutboxItem, ParkReason, Publication, RetryMarks, RetryPolicy, Settlement,
    TaskId, TaskSpec, TaskState, Timestamp, Verdict,
};
use serde_json::Value;

use crate::load::{envelope, meaning, sent, vector};

const NOW: Timestamp = Timestamp::from_micros(1_795_171_299_000_000);

fn first_sent(name: &str) -> Invocation {
    let raw = sent(&vector(name), "producer->broker").remove(0);
    decode(envelope(&raw), &Accept::default()).unwrap()
}

fn closed(invocation: Invocation, settlement: Settlement) -> Closing {
    let verdict = Verdict {
        invocation,
        task: None,
        digest: None,
        key_is_explicit: false,
        settlement,
        at: NOW,
    };
    close(&verdict, &CloseSettings::default())
}

fn succeeded(invocation: Invocation, result: &str) -> Closing {
    let result = Json::parse(result).unwrap();
    closed(invocation, Settlement::Succeed { result, calls: Vec::new() })
}

fn failure() -> Failure {
    Failure { traceback: Some("trace".into()), ..Failure::new("builtins", "ValueError", "c") }
}

fn as_envelope(publication: &Publication) -> String {
    let Publication { exchange, routing_key, priority, parts, .. } = publication;
    let route = Route { exchange, routing_key, priority: *priority, delivery_tag: "tag" };
    encode_envelope(parts, route)
}

/// What differs in follow-ups: Celery's worker knows the task that it sends and writes that task's
/// setting, where ours leaves it to the worker that runs it.
const FOLLOW_UP: &[&str] = &["ignore_result"];
/// The same for what goes out under an id of its sender's making.
const NAMED_BY_SENDER: &[&str] = &["ignore_result", "id", "correlation_id", "reply_to"];
/// The same in a group.
const GROUPED: &[&str] = &["ignore_result", "id", "correlation_id", "reply_to", "group"];

/// An envelope by meaning, its body decoded, without what differs from run to run.
fn comparable(raw: &str, varying: &[&str]) -> (String, String) {
    use base64::Engine as _;

    let mut value: Value = serde_json::from_str(raw).unwrap();
    let body = value["body"].take();
    let body = base64::engine::general_purpose::STANDARD.decode(body.as_str().unwrap()).unwrap();
    let (mut headers, mut properties) = (value["headers"].take(), value["properties"].take());
    headers["origin"] = Value::Null;
    for name in varying {
        headers.as_object_mut().unwrap().remove(*name);
        properties.as_object_mut().unwrap().remove(*name);
    }
    for name in ["origin", "delivery_tag", "expiration"] {
        properties.as_object_mut().unwrap().remove(name);
    }
    value["headers"] = headers;
    value["properties"] = properties;
    (meaning(&value.to_string()), meaning(&String::from_utf8(body).unwrap()))
}

fn assert_same(publication: &Publication, recorded: &str, varying: &[&str]) {
    let ours = as_envelope(publication);
    assert_eq!(comparable(&ours, varying), comparable(recorded, varying));
}

#[test]
fn a_chain_goes_on_link_by_link() {
    let recorded = sent(&vector("run-chain"), "worker->broker");
    let first = succeeded(first_sent("run-chain"), "3");
    assert_same(&first.publications[0], &recorded[0], FOLLOW_UP);
    let document = result_document(&first.results[0]);
    assert!(
        document
            .contains(r#""children": [[["03983cc8-c958-4503-871e-2a09267bff2a", null], null]]"#)
    );

    let second =
        decode(envelope(&as_envelope(&first.publications[0])), &Accept::default()).unwrap();
    let second = succeeded(second, "9");
    assert_same(&second.publications[0], &recorded[1], FOLLOW_UP);

    let third =
        decode(envelope(&as_envelope(&second.publications[0])), &Accept::default()).unwrap();
    assert!(succeeded(third, "19").publications.is_empty());
}

#[test]
fn one_callback_leaves_alone_and_several_leave_as_a_group() {
    let one = succeeded(first_sent("run-link"), "3");
    let recorded = sent(&vector("run-link"), "worker->broker");
    assert_eq!((one.publications.len(), recorded.len()), (1, 1));
    assert_same(&one.publications[0], &recorded[0], NAMED_BY_SENDER);

    let many = succeeded(first_sent("run-link-many"), "3");
    let recorded = sent(&vector("run-link-many"), "worker->broker");
    assert_eq!((many.publications.len(), recorded.len()), (2, 2));
    for (ours, theirs) in many.publications.iter().zip(&recorded) {
        assert_same(ours, theirs, GROUPED);
    }
    let Child::Group { members, .. } = &many.results[0].children[0] else { panic!("a group") };
    assert_eq!(members.len(), 2);
    assert_eq!(many.publications[1].routing_key, "callbacks");
}

#[test]
fn what_is_settled_twice_sends_the_same_messages() {
    let once = succeeded(first_sent("run-link-many"), "3").publications;
    assert_eq!(once, succeeded(first_sent("run-link-many"), "3").publications);
}

#[test]
fn an_errback_gets_the_failed_id() {
    let closing = closed(first_sent("run-errback-old"), Settlement::Bury(failure()));
    let recorded = sent(&vector("run-errback-old"), "worker->broker");
    assert_eq!((closing.publications.len(), recorded.len()), (1, 1));
    // Who takes three arguments finds them in a header of ours.
    let varying = [GROUPED, &["lovage-errback"]].concat();
    assert_same(&closing.publications[0], &recorded[0], &varying);
    let headers: Value = serde_json::from_str(&closing.publications[0].parts.headers).unwrap();
    let told = &headers["lovage-errback"];
    assert_eq!(told["request"]["id"], "00ebf79c-ae1a-4cae-a3ab-019c51ef31a1");
    assert_eq!((&told["exc"]["exc_type"], &told["tb"]), (&"ValueError".into(), &"trace".into()));
}

#[test]
fn an_errback_that_takes_three_gets_them_and_another_does_not() {
    let closing = closed(first_sent("run-errback-old"), Settlement::Bury(failure()));
    let sent = as_envelope(&closing.publications[0]);
    let errback = decode(envelope(&sent), &Accept::default()).unwrap();
    for params in [0, 1, 2] {
        assert_eq!(errback_arguments(&errback, params), None);
    }
    let three = errback_arguments(&errback, 3).unwrap();
    let three: Value = serde_json::from_str(three.as_str()).unwrap();
    assert_eq!(three[0]["task"], "demo.fail");
    assert_eq!((&three[1]["exc_type"], &three[2]), (&"ValueError".into(), &"trace".into()));
    let other = first_sent("run-errback-old");
    assert_eq!(errback_arguments(&other, 3), None, "it is no errback");
}

#[test]
fn a_failure_ends_every_later_link_of_its_chain() {
    let invocation = first_sent("run-chain-fail");
    let closing = closed(invocation, Settlement::Bury(failure()));
    let ids: Vec<_> = closing.results.iter().map(|record| record.task_id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "9b45ea47-6ff3-4260-851a-610490f7beef",
            "204272ab-a204-45b3-8b11-35ea0739af57",
            "fa0ea881-a899-4f44-a59a-5e61d1b8b34f",
        ]
    );
    assert!(closing.results.iter().all(|record| record.state == TaskState::Failure(failure())));
    assert!(closing.publications.is_empty());
    let Disposal::Keep(kept) = closing.disposal else { panic!("it is kept") };
    assert_eq!((kept.kind, kept.reason.as_str()), (KeptKind::Dead, "failed"));
    assert_eq!(kept.traceback.as_deref(), Some("trace"));
}

#[test]
fn the_next_attempt_is_the_same_call_with_one_retry_more() {
    let recorded = sent(&vector("run-retry-later"), "worker->broker").remove(0);
    let value: Value = serde_json::from_str(&recorded).unwrap();
    let eta = value["headers"]["eta"].as_str().unwrap();
    let at = lovage_celery::parse_timestamp(eta).unwrap();
    let invocation = first_sent("run-retry-later");
    let closing = closed(invocation, Settlement::Retry { failure: failure(), at, options: None });
    assert_same(&closing.publications[0], &recorded, &["lovage-first-attempt"]);
    assert_eq!(closing.publications[0].not_before, Some(at));
    assert_eq!(closing.disposal, Disposal::Acknowledge);
    let document = result_document(&closing.results[0]);
    assert!(
        document.contains(r#""children": [[["retry-later-1", null], null]], "date_done": null"#)
    );
}

#[test]
fn a_compressed_or_foreign_body_is_retried_in_its_own_bytes() {
    for name in ["msg-compression-zstd", "msg-msgpack", "msg-custom-headers", "msg-typed-json"] {
        let accept = Accept::from_names(["json", "msgpack"]).unwrap();
        let raw = vector(name)["redis"]["messages"][0]["raw"].as_str().unwrap().to_owned();
        let first = decode(envelope(&raw), &accept).unwrap();
        let retry = Settlement::Retry { failure: failure(), at: NOW, options: None };
        let again = as_envelope(&closed(first.clone(), retry).publications[0]);
        let body = |raw: &str| serde_json::from_str::<Value>(raw).unwrap()["body"].clone();
        assert_eq!(body(&again), body(&raw), "{name}");
        let second = decode(envelope(&again), &accept).unwrap();
        assert_eq!(
            (second.retries, second.eta, &second.args),
            (1, Some(NOW), &first.args),
            "{name}"
        );
        assert_eq!(second.parent_id, Some(first.id), "{name}");
        for header in ["compression", "tenant", "shadow", "stamps"] {
            let of = |call: &Json| call.as_part().member(header).map(JsonPart::to_json);
            assert_eq!(of(&second.headers), of(&first.headers), "{name} {header}");
        }
    }
}

#[test]
fn protocol_1_is_retried_as_protocol_2() {
    for name in ["msg-v1-link", "msg-v1-chain", "msg-v1-eta", "msg-v1-taskset", "msg-v1-gzip"] {
        let raw = vector(name)["redis"]["messages"][0]["raw"].as_str().unwrap().to_owned();
        let first = decode(envelope(&raw), &Accept::default()).unwrap();
        let retry = Settlement::Retry { failure: failure(), at: NOW, options: None };
        let again = as_envelope(&closed(first.clone(), retry).publications[0]);
        let second = decode(envelope(&again), &Accept::default()).unwrap();
        assert!(second.headers.as_part().member("task").is_some(), "{name}");
        assert_eq!((second.retries, second.eta), (first.retries + 1, Some(NOW)), "{name}");
        assert_eq!((&second.id, &second.task), (&first.id, &first.task), "{name}");
        assert_eq!((&second.args, &second.kwargs), (&first.args, &first.kwargs), "{name}");
        assert_eq!((&second.links, &second.group), (&first.links, &first.group), "{name}");
        assert_eq!(second.expires, first.expires, "{name}");
    }
}

#[test]
fn marks_of_a_delivery_do_not_reach_the_next_attempt() {
    let raw = r#"{"body": "W1tdLCB7fSwge31d", "content-type": "application/json", "properties":
        {"body_encoding": "base64", "delivery_info": {"redelivered": true}}, "headers": {"task": "a",
        "id": "1", "redelivered": true, "x-death": [1], "x-first-death-queue": "q", "x-mine": 2}}"#;
    let invocation = decode(envelope(raw), &Accept::default()).unwrap();
    assert!(invocation.delivery.redelivered);
    let retry = Settlement::Retry { failure: failure(), at: NOW, options: None };
    let closing = closed(invocation, retry);
    let headers = &closing.publications[0].parts.headers;
    assert!(!headers.contains("death") && !headers.contains("redelivered"), "{headers}");
    assert!(headers.contains("\"x-mine\": 2"), "{headers}");
}

#[test]
fn outbox_calls_leave_with_success_and_are_its_children() {
    let call = OutboxCall {
        id: "out-1".into(),
        task: "shop.mail".into(),
        args: Json::parse("[1]").unwrap(),
        kwargs: Json::empty_object(),
        queue: None,
        countdown: Some(Duration::from_secs(10)),
        expires: Some(Duration::from_mins(1)),
        priority: Some(6),
        ignore_result: true,
        headers: Some(Json::parse(r#"{"tenant": "acme", "shadow": "mail"}"#).unwrap()),
    };
    let invocation = first_sent("run-chain");
    let (id, root) = (invocation.id.clone(), invocation.root_id.clone());
    let settlement =
        Settlement::Succeed { result: Json::null(), calls: vec![OutboxItem::Call(call)] };
    let closing = closed(invocation, settlement);
    assert_eq!(closing.results[0].children[0], Child::Task("out-1".into()));
    let sent = &closing.publications[0];
    assert_eq!((sent.routing_key.as_str(), sent.priority), ("celery", 6));
    let read = decode(envelope(&as_envelope(sent)), &Accept::default()).unwrap();
    assert_eq!((read.parent_id, read.root_id), (Some(id), root));
    assert_eq!(read.eta, Some(NOW.after(Duration::from_secs(10))));
    assert_eq!(sent.not_before, read.eta);
    assert_eq!(read.expires, Some(NOW.after(Duration::from_mins(1))));
    assert_eq!((read.ignore_result, read.shadow.as_deref()), (Some(true), Some("mail")));
    assert!(
        sent.parts.properties.contains(r#""expiration": "60000""#),
        "{}",
        sent.parts.properties
    );
    assert_eq!(read.headers.as_part().member("tenant").unwrap().as_str(), "\"acme\"");
}

#[test]
fn stamps_of_a_link_become_stamps_of_its_message() {
    let raw =
        vector("msg-stamps-chain")["redis"]["messages"][0]["raw"].as_str().unwrap().to_owned();
    let closing = succeeded(decode(envelope(&raw), &Accept::default()).unwrap(), "3");
    let headers = Json::parse(closing.publications[0].parts.headers.as_str()).unwrap();
    assert_eq!(headers.as_part().member("stamps").unwrap().as_str(), r#"{"tenant": "acme"}"#);
    assert_eq!(headers.as_part().member("stamped_headers").unwrap().as_str(), r#"["tenant"]"#);
}

#[test]
fn unwanted_results_are_not_written_and_the_rest_is_done() {
    let closing = |settlement: Settlement| {
        let invocation = Invocation { ignore_result: Some(true), ..first_sent("run-chain-fail") };
        closed(invocation, settlement)
    };
    assert!(closing(Settlement::Bury(failure())).results.is_empty());
    assert!(closing(Settlement::Drop(DropReason::Expired)).results.is_empty());
    let success = Settlement::Succeed { result: Json::null(), calls: Vec::new() };
    let success = closing(success);
    assert_eq!((success.results.len(), success.publications.len()), (0, 1));
    let unknown = closing(Settlement::Park(ParkReason::UnknownTask));
    assert_eq!(unknown.results.len(), 1, "an unknown task is always reported");

    for (by_worker, by_task) in [(true, false), (false, true)] {
        let settings =
            CloseSettings { store_errors_even_if_ignored: by_worker, ..CloseSettings::default() };
        let task = TaskSpec {
            store_errors_even_if_ignored: by_task,
            ..TaskSpec::named("demo.fail".into())
        };
        let verdict = Verdict {
            invocation: Invocation { ignore_result: Some(true), ..first_sent("run-chain-fail") },
            task: Some(Arc::new(task)),
            digest: None,
            key_is_explicit: false,
            settlement: Settlement::Bury(failure()),
            at: NOW,
        };
        assert_eq!(close(&verdict, &settings).results.len(), 3);
    }
}

#[test]
fn parked_and_dropped_calls_leave_what_they_should() {
    let unknown = closed(first_sent("run-link"), Settlement::Park(ParkReason::UnknownTask));
    let document = result_document(&unknown.results[0]);
    let expected = r#"{"exc_type": "NotRegistered", "exc_message": ["demo.add"], "exc_module": "celery.exceptions"}"#;
    assert!(document.contains(expected), "{document}");
    let Disposal::Keep(kept) = unknown.disposal else { panic!("it is kept") };
    assert_eq!((kept.kind, kept.reason.as_str()), (KeptKind::Parked, "unknown-task"));

    let reason = ParkReason::Unsupported("unsupported-chord".into());
    let chord = closed(first_sent("run-link"), Settlement::Park(reason));
    let Disposal::Keep(kept) = chord.disposal else { panic!("it is kept") };
    assert_eq!((kept.reason.as_str(), chord.results.len()), ("unsupported-chord", 0));

    let dropped = closed(first_sent("run-link"), Settlement::Drop(DropReason::Expired));
    assert_eq!(dropped.disposal, Disposal::Acknowledge);
    assert_eq!(dropped.results[0].state, TaskState::Revoked("expired"));
    assert!(dropped.publications.is_empty(), "links of a revoked call stay where they are");

    let released = closed(first_sent("run-link"), Settlement::Release(Some(NOW)));
    assert_eq!(released.disposal, Disposal::Release(Some(NOW)));
}

#[test]
fn a_death_is_filtered_by_its_own_name() {
    let failure = lovage_core::Death::OutOfFuel.failure(&Json::null(), None);
    let closing = closed(first_sent("run-link"), Settlement::Bury(failure));
    let Disposal::Keep(kept) = closing.disposal else { panic!("it is kept") };
    assert_eq!(
        (kept.reason.as_str(), kept.task_id),
        ("out-of-fuel", Some(TaskId::from("2a684821-aef6-4e6f-944d-b4eb97599e54")))
    );
}

#[test]
fn nobody_is_told_of_a_call_that_another_worker_has() {
    let closing = closed(first_sent("run-link"), Settlement::Forget);
    assert!(closing.results.is_empty() && closing.publications.is_empty());
    assert_eq!(closing.disposal, Disposal::Release(None));
}

#[test]
fn backoff_of_celery_waits_as_celery_was_recorded_to_wait() {
    let request = r#"{"backoff": "celery", "factor": 2, "jitter": "none", "max": 3}"#;
    let policy = RetryPolicy::requested(Some(&serde_json::from_str(request).unwrap()));
    let recorded = vector("run-autoretry");
    let waits: Vec<u64> = recorded["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "task-retried")
        .map(|event| {
            let text = event["traceback"].as_str().unwrap();
            text.rsplit("Retry in ").next().unwrap().split('s').next().unwrap().parse().unwrap()
        })
        .collect();
    let mut marks = RetryMarks::default();
    let wait = |retries| {
        let attempt = FailedAttempt { retries, asked: None, now: NOW, chance: 0.7 };
        policy.next(&attempt, &mut marks)
    };
    let ours: Vec<u64> = (0..).map_while(wait).map(|it| it.as_secs()).collect();
    assert_eq!(ours, waits);
    assert_eq!(waits, [2, 4, 8]);

    let messages = sent(&recorded, "worker->broker");
    for (raw, retries) in messages.iter().zip(1..) {
        assert_eq!(decode(envelope(raw), &Accept::default()).unwrap().retries, retries);
    }
    assert_eq!(messages.len(), waits.len());
}

#[test]
fn every_attempt_knows_when_the_first_one_began() {
    for name in ["run-retry-later", "msg-v1-eta"] {
        let raw = vector(name);
        let raw = match raw["redis"]["messages"][0]["raw"].as_str() {
            Some(raw) => raw.to_owned(),
            None => sent(&raw, "producer->broker").remove(0),
        };
        let mut call = decode(envelope(&raw), &Accept::default()).unwrap();
        assert_eq!(call.retry, RetryMarks::default());
        for attempt in 1..4 {
            call.retry.delay = Some(Duration::from_millis(1_500 * attempt));
            let later = NOW.after(Duration::from_secs(attempt));
            let retry = Settlement::Retry { failure: failure(), at: later, options: None };
            let closing = closed(call, retry);
            let raw = as_envelope(&closing.publications[0]);
            assert_eq!(raw.matches("lovage-first-attempt").count(), 1, "{raw}");
            assert_eq!(raw.matches("lovage-retry-delay").count(), 1, "{raw}");
            call = decode(envelope(&raw), &Accept::default()).unwrap();
            assert_eq!(call.retry.first_attempt, Some(NOW), "{name} {attempt}");
            assert_eq!(call.retry.delay, Some(Duration::from_millis(1_500 * attempt)));
        }
    }
}

#[test]
fn a_caller_may_say_how_often_and_for_how_long_and_nothing_else_in_its_place() {
    let with = |header: &str| {
        let raw = format!(
            r#"{{"body": "W1tdLCB7fSwge31d", "content-type": "application/json", "properties":
            {{"body_encoding": "base64"}}, "headers": {{"task": "a", "id": "1", {header}}}}}"#
        );
        decode(envelope(&raw), &Accept::default())
    };
    let call = with(r#""lovage-retry": {"max": 2, "max_elapsed_s": 1.5, "new": []}"#).unwrap();
    assert_eq!(call.retry.max_retries, Some(2));
    assert_eq!(call.retry.max_elapsed, Some(Duration::from_millis(1_500)));
    let retry = Settlement::Retry { failure: failure(), at: NOW, options: None };
    let again = as_envelope(&closed(call.clone(), retry).publications[0]);
    let again = decode(envelope(&again), &Accept::default()).unwrap();
    assert_eq!(again.retry.max_retries, call.retry.max_retries, "it is there the next time, too");
    assert_eq!(with(r#""lovage-retry": null"#).unwrap().retry, RetryMarks::default());
    for malformed in [
        r#""lovage-retry": 2"#,
        r#""lovage-retry": {"max": -1}"#,
        r#""lovage-retry": {"max": "2"}"#,
        r#""lovage-retry": {"max_elapsed_s": NaN}"#,
        r#""lovage-first-attempt": 7"#,
        r#""lovage-first-attempt": "today""#,
        r#""lovage-retry-delay": -1"#,
    ] {
        let error = with(malformed).unwrap_err().error;
        assert!(matches!(error, DecodeError::Header { .. }), "{malformed}: {error}");
    }
}
