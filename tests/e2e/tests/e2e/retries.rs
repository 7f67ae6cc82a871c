//! A task that fails is run again as its policy says, and its caller sees that.

use serde_json::json;

use crate::bed::{Place, together};

/// Retries that `shop.flaky` has.
const RETRIES: usize = 5;

#[test]
fn on_redis_a_task_that_recovers_shows_its_retries_and_then_its_value() {
    recovers(&Place::redis());
}

#[test]
fn on_sqlite_a_task_that_recovers_shows_its_retries_and_then_its_value() {
    recovers(&Place::sqlite());
}

fn recovers(place: &Place) {
    let _machine = together();
    let worker = place.worker(&["-c", "2"]);
    let seen = place.see("retried", &["3"]);
    assert_eq!((&seen["value"], &seen["states"]), (&json!(3), &json!(["RETRY", "SUCCESS"])));
    assert_eq!(place.kept(), 0);
    assert!(worker.terminate().success());
}

#[test]
fn on_redis_a_task_that_never_recovers_fails_and_is_kept() {
    never_recovers(&Place::redis());
}

#[test]
fn on_sqlite_a_task_that_never_recovers_fails_and_is_kept() {
    never_recovers(&Place::sqlite());
}

fn never_recovers(place: &Place) {
    let _machine = together();
    let worker = place.worker(&["-c", "2", "-l", "info"]);
    let seen = place.see("retried", &["99"]);
    assert_eq!(seen["states"], json!(["RETRY", "FAILURE"]), "{seen}");
    assert_eq!(seen["arguments"], json!(["the bank is down"]), "{seen}");
    assert_eq!((place.kept(), place.waiting()), (1, 0));
    worker.wait_for_line("Task failed for good");
    let log = worker.output();
    assert_eq!(log.matches("Task will be retried").count(), RETRIES, "{log}");
    assert_eq!(log.matches("Task failed for good").count(), 1, "{log}");
    assert!(worker.terminate().success());
}

#[test]
fn on_redis_a_worker_that_ends_while_a_retry_waits_costs_no_attempt() {
    ends_while_a_retry_waits(&Place::redis());
}

#[test]
fn on_sqlite_a_worker_that_ends_while_a_retry_waits_costs_no_attempt() {
    ends_while_a_retry_waits(&Place::sqlite());
}

fn ends_while_a_retry_waits(place: &Place) {
    let _machine = together();
    let worker = place.worker(&["-c", "2"]);
    let id = place.see("retry-later", &["2000"]);
    assert!(worker.terminate().success());
    let id = id.as_str().expect("an id");
    let worker = place.worker(&["-c", "2"]);
    let seen = place.see("outcome", &[id]);
    assert_eq!(seen, json!({"value": 1, "state": "SUCCESS"}), "one retry, and not two");
    assert!(worker.terminate().success());
}

#[test]
fn a_caller_may_have_fewer_retries_and_not_more() {
    let _machine = together();
    let place = Place::redis();
    let worker = place.worker(&["-c", "2", "-l", "info"]);
    let retries = |most: usize| {
        let before = worker.output().matches("Task will be retried").count();
        let from = worker.output().lines().count();
        let header = json!({"lovage-retry": {"max": most}}).to_string();
        assert_eq!(place.see("retried", &["99", &header])["state"], "FAILURE");
        worker.wait_for_line_from("Task failed for good", from);
        worker.output().matches("Task will be retried").count() - before
    };
    assert_eq!((retries(1), retries(50)), (1, RETRIES));
    assert!(worker.terminate().success());
}
