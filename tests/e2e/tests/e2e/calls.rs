//! One call at a time, as an unmodified Celery producer makes it: what it gets back.

use serde_json::{Value, json};

use crate::bed::{Place, together};

/// One test for each broker, on a worker of its own.
macro_rules! on_both {
    ($($name:ident: $case:expr;)*) => {
        mod on_redis { $(#[test] fn $name() { super::check(&super::Place::redis(), $case); })* }
        mod on_sqlite { $(#[test] fn $name() { super::check(&super::Place::sqlite(), $case); })* }
    };
}

on_both! {
    a_call_returns_its_value: "add";
    arguments_may_be_named: "keywords";
    a_failure_raises_its_own_exception_with_the_guests_traceback: "failure";
    arguments_that_do_not_fit_are_a_type_error: "no-such-arguments";
    values_come_back_unbent: "echo";
    a_result_that_nobody_wants_is_not_stored: "ignore-result";
    an_expired_call_is_revoked: "expires";
    a_countdown_is_waited_for_and_delays_nobody_else: "countdown";
    a_waiting_task_is_ended_at_its_time_limit: "time-limit";
    a_spinning_task_is_ended_at_its_time_limit: "spinning-time-limit";
    a_soft_time_limit_is_told_to_the_task: "soft-time-limit";
    a_task_that_nobody_has_is_not_registered: "unknown";
    a_serializer_that_is_not_accepted_is_refused: "msgpack";
    a_task_that_asks_for_it_is_run_again: "retry";
    a_group_of_calls_returns_all_values_in_order: "many";
}

pub(crate) fn check(place: &Place, case: &str) {
    let _machine = together();
    let worker = place.worker(&["-c", "8"]);
    judge(case, &place.see(case, &[]));
    assert!(worker.terminate().success(), "the worker ends well");
}

/// What a caller must see, of Lovage and of Celery alike.
pub(crate) fn judge(case: &str, seen: &Value) {
    match case {
        "add" => assert_eq!(*seen, json!({"value": 5, "state": "SUCCESS"})),
        "keywords" => assert_eq!(*seen, json!({"value": 42, "state": "SUCCESS"})),
        "failure" => {
            raised(seen, "builtins.ValueError", &["card declined"]);
            assert_eq!(seen["is_value_error"], true, "{seen}");
            assert!(seen["traceback"].as_str().is_some_and(|text| text.contains("ValueError")));
        }
        "no-such-arguments" => {
            assert_eq!(seen["raised"], "builtins.TypeError", "{seen}");
        }
        "echo" => assert_eq!(*seen, json!({"bent": []})),
        "ignore-result" => assert_eq!(*seen, json!({"wanted": 4, "ignored": "PENDING"})),
        "expires" => {
            raised(seen, "celery.exceptions.TaskRevokedError", &["expired"]);
            assert_eq!(seen["state"], "REVOKED");
        }
        "countdown" => {
            assert_eq!(seen["value"], 5, "{seen}");
            assert_eq!(seen["at_once"]["value"], 2, "{seen}");
            within(seen, "between", 0.0..0.6);
            within(seen, "seconds", 1.0..2.5);
        }
        "time-limit" | "spinning-time-limit" => {
            raised(seen, "billiard.exceptions.TimeLimitExceeded", &["1"]);
            within(seen, "seconds", 0.99..2.0);
        }
        "soft-time-limit" => {
            raised(seen, "billiard.exceptions.SoftTimeLimitExceeded", &[]);
            within(seen, "seconds", 0.99..2.0);
        }
        "unknown" => raised(seen, "celery.exceptions.NotRegistered", &["nobody.knows"]),
        "msgpack" => {
            assert_eq!(seen["plain"], 2, "{seen}");
            assert_eq!(seen["packed"]["raised"], "celery.exceptions.TimeoutError", "{seen}");
        }
        "retry" => assert_eq!(*seen, json!({"value": 1, "state": "SUCCESS"})),
        "many" => {
            let values: Vec<u32> = (0..100).map(|number| number * 2).collect();
            assert_eq!(*seen, json!({"values": values}));
        }
        _ => panic!("no such case: {case}"),
    }
}

fn raised(seen: &Value, exception: &str, arguments: &[&str]) {
    assert_eq!(seen["raised"], exception, "{seen}");
    assert_eq!(seen["arguments"], json!(arguments), "{seen}");
}

fn within(seen: &Value, field: &str, range: std::ops::Range<f64>) {
    let seconds = seen[field].as_f64().unwrap_or(f64::NAN);
    assert!(range.contains(&seconds), "`{field}` is {seconds}, not within {range:?}: {seen}");
}

#[test]
fn a_guests_traceback_names_the_guests_own_source() {
    let _machine = together();
    let place = Place::redis();
    let _worker = place.worker(&["-c", "2"]);
    let seen = place.see("failure", &[]);
    let traceback = seen["traceback"].as_str().unwrap_or_default();
    assert!(traceback.contains("card declined"), "{seen}");
}

#[test]
fn urgent_calls_are_taken_first() {
    let _machine = together();
    let place = Place::redis();
    let ids = place.see("priorities-send", &[]);
    let _worker = place.worker(&["-c", "1"]);
    let order = place.see("priorities-order", &[&ids.to_string()]);
    assert_eq!(order, json!([0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]));
}

#[test]
fn a_serializer_that_is_accepted_is_read() {
    let _machine = together();
    let place = Place::redis();
    let command = place.start_worker(&[]).env("LOVAGE_ACCEPT_CONTENT", "json,msgpack");
    let _worker = command.start_until("ready:");
    let seen = place.see("msgpack", &[]);
    assert_eq!(seen["packed"], json!({"value": 5, "state": "SUCCESS"}));
}
