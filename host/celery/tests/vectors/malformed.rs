//! What a real worker chokes on is told apart, and nothing of it is lost.

use lovage_celery::{Accept, Settled, arguments_error, decode, quarantine};
use lovage_core::{Delivery, Disposal, KeptKind, Message, Timestamp};
use serde_json::Value;

use crate::load::{envelope, sent, vector, vectors};

/// Whether a message is read, or else the error's code and what the real worker did with it.
type Expected = Result<(), (&'static str, Settled)>;

/// Each recording and what becomes of it.
const EXPECTED: [(&str, Expected); 29] = [
    ("bad-after-bad-envelope", Ok(())),
    ("bad-args-in-payload-list", Err(("malformed-keyword-arguments", Settled::Rejected))),
    ("bad-bad-compression", Err(("unknown-compression", Settled::Acknowledged))),
    ("bad-bad-eta", Err(("malformed-eta", Settled::Rejected))),
    ("bad-bad-expires", Err(("malformed-expires", Settled::Rejected))),
    ("bad-bad-json-body", Err(("malformed-body", Settled::Acknowledged))),
    ("bad-body-args-not-list", Ok(())),
    ("bad-body-embed-missing-keys", Ok(())),
    ("bad-body-embed-null", Ok(())),
    ("bad-body-kwargs-not-map", Ok(())),
    ("bad-body-not-tuple", Err(("malformed-body-shape", Settled::Crashed))),
    ("bad-body-two-elements", Err(("malformed-body-shape", Settled::Crashed))),
    ("bad-compression-corrupt", Err(("corrupt-compression", Settled::Acknowledged))),
    ("bad-ctype-data", Err(("content-type-refused", Settled::Rejected))),
    ("bad-ctype-missing", Err(("content-type-refused", Settled::Rejected))),
    ("bad-ctype-text", Err(("content-type-refused", Settled::Rejected))),
    ("bad-ctype-unknown", Err(("content-type-refused", Settled::Rejected))),
    ("bad-headers-empty-body-garbage", Err(("no-task", Settled::Rejected))),
    ("bad-headers-null", Err(("no-task", Settled::Rejected))),
    ("bad-min-headers", Ok(())),
    ("bad-msgpack-refused", Err(("content-type-refused", Settled::Rejected))),
    ("bad-no-id", Err(("no-id", Settled::Crashed))),
    ("bad-no-properties", Err(("malformed-envelope", Settled::Crashed))),
    ("bad-not-json-envelope", Err(("malformed-envelope", Settled::Crashed))),
    ("bad-pickle", Err(("content-type-refused", Settled::Rejected))),
    ("bad-timelimit-null", Ok(())),
    ("bad-typed-unknown", Err(("unknown-typed-value", Settled::Acknowledged))),
    ("bad-unknown-task", Ok(())),
    ("bad-v1-hybrid", Ok(())),
];

fn raw(vector: &Value) -> String {
    let pushed = vector["raw_pushed"].as_str().map(str::to_owned);
    let sent = || sent(vector, "producer->broker").first().cloned();
    let left = || vector["broker_keys_left"]["celery"]["value"][0].as_str().map(str::to_owned);
    pushed.or_else(sent).or_else(left).expect("the recording has a message")
}

fn read(name: &str) -> Delivery {
    envelope(&raw(&vector(name)))
}

#[test]
fn every_malformed_message_is_told_apart_and_comes_back_whole() {
    assert_eq!(vectors("bad-").into_keys().collect::<Vec<_>>(), EXPECTED.map(|(name, _)| name));
    for (name, expected) in EXPECTED {
        let delivery = read(name);
        let Message::Envelope(bytes) = delivery.message.clone() else { panic!("an envelope") };
        match (decode(delivery, &Accept::default()), expected) {
            (Ok(_), Ok(())) => {}
            (Err(undecoded), Err((code, settled))) => {
                assert_eq!(undecoded.error.code(), code, "{name}");
                assert_eq!(undecoded.error.settled_by_celery(), settled, "{name}");
                assert_eq!(undecoded.delivery.message, Message::Envelope(bytes), "{name}");
            }
            (read, _) => panic!("{name}: {read:?}"),
        }
    }
}

#[test]
fn what_is_missing_in_a_bare_message_has_its_default() {
    for name in ["bad-min-headers", "bad-timelimit-null", "bad-body-embed-null"] {
        let call = decode(read(name), &Accept::default()).unwrap();
        assert_eq!((call.retries, call.time_limit.hard, call.ignore_result), (0, None, None));
        assert_eq!((call.links.chain, call.root_id, call.eta), (None, None, None));
    }
    let hybrid = decode(read("bad-v1-hybrid"), &Accept::default()).unwrap();
    assert_ne!(hybrid.id.as_str(), "hyb-1", "headers name the call, the body has the arguments");
    assert_eq!(hybrid.args.as_str(), "[4,5]");
}

#[test]
fn arguments_of_the_wrong_form_fail_as_in_python() {
    let failure = |name| {
        let call = decode(read(name), &Accept::default()).unwrap();
        arguments_error(&call).map(|failure| failure.to_string())
    };
    assert_eq!(
        failure("bad-body-args-not-list").unwrap(),
        "TypeError(\"demo.add() argument after * must be an iterable, not int\")"
    );
    assert_eq!(
        failure("bad-body-kwargs-not-map").unwrap(),
        "TypeError(\"demo.add() argument after ** must be a mapping, not list\")"
    );
    assert_eq!(failure("bad-min-headers"), None);
}

#[test]
fn what_cannot_be_read_is_kept_with_what_could_be() {
    let at = Timestamp::from_micros(5);
    let kept = |name| {
        let undecoded = decode(read(name), &Accept::default()).unwrap_err();
        match quarantine(&undecoded, at) {
            closing if closing.results.is_empty() && closing.publications.is_empty() => {
                let Disposal::Keep(kept) = closing.disposal else { panic!("it is kept") };
                *kept
            }
            closing => panic!("{closing:?}"),
        }
    };
    let pickle = kept("bad-pickle");
    assert_eq!(
        (pickle.kind, pickle.reason.as_str()),
        (KeptKind::Quarantined, "content-type-refused")
    );
    assert_eq!(pickle.task_id.unwrap().as_str(), "pk-1");
    assert_eq!((pickle.task.unwrap().as_str(), pickle.at), ("demo.echo", at));
    assert_eq!(kept("bad-not-json-envelope").task_id, None);
}
