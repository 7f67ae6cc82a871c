//! A worker that is asked to end loses nothing.

use std::time::Duration;

use lovage_test_support::Process;
use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Place, together, wait_until};
use crate::crashes::Sink;

const SLOTS: usize = 20;
const CALLS: usize = 100;

#[test]
fn on_redis_sigterm_finishes_or_hands_back_and_exits_with_zero() {
    nothing_is_lost_on_sigterm(&Place::redis());
}

#[test]
fn on_sqlite_sigterm_finishes_or_hands_back_and_exits_with_zero() {
    nothing_is_lost_on_sigterm(&Place::sqlite());
}

fn nothing_is_lost_on_sigterm(place: &Place) {
    let _machine = together();
    let ids = place.see("send", &["bench.sleep", "[1000]", &CALLS.to_string()]);
    let worker = place.worker(&["-c", &SLOTS.to_string()]);
    wait_until("calls in flight", || place.waiting() < CALLS);
    assert_eq!(worker.terminate().code(), Some(0));
    let (done, waiting) = (place.results(), place.waiting());
    assert_eq!(done + waiting, CALLS, "{done} done, {waiting} waiting");
    assert!(waiting >= CALLS - 2 * SLOTS, "it takes nothing more once it is asked to end");

    let worker = place.worker(&["-c", &CALLS.to_string()]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": CALLS}));
    assert!(worker.terminate().success());
}

#[test]
fn a_second_signal_hands_back_at_once_what_still_runs() {
    let _machine = together();
    let place = Place::redis();
    place.see("send", &["bench.sleep", "[25000]", "10"]);
    let mut worker = place.worker(&["-c", "10"]);
    wait_until("calls in flight", || place.waiting() == 0);
    worker.signal(Signal::TERM);
    assert!(worker.wait_within(Duration::from_millis(300)).is_none(), "it waits");
    worker.signal(Signal::TERM);
    let ended = worker.wait_within(Duration::from_secs(5));
    assert!(ended.is_some(), "it does not wait any longer");
    assert_eq!((place.results(), place.waiting()), (0, 10));
}

const QUICK: usize = 300;
const SLOW: usize = 8;

#[test]
fn on_redis_worker_after_worker_is_asked_to_end_and_nothing_is_lost_or_counted() {
    worker_after_worker_is_asked_to_end(&Place::redis());
}

#[test]
fn on_sqlite_worker_after_worker_is_asked_to_end_and_nothing_is_lost_or_counted() {
    worker_after_worker_is_asked_to_end(&Place::sqlite());
}

/// Ends workers under load: by one signal, by two, and at last by SIGKILL a second after SIGTERM.
fn worker_after_worker_is_asked_to_end(place: &Place) {
    let _machine = together();
    let sink = Sink::new();
    let quick = place.see("send", &["bench.effect", r#"["retry", 100, 0]"#, &QUICK.to_string()]);
    for _ in 0..3 {
        assert_eq!(under_load(place, &sink).terminate().code(), Some(0));
        let seen = sink.seen();
        assert_eq!((seen.runs, seen.sends()), (place.results(), place.results()), "all it began");
    }
    for _ in 0..3 {
        let mut worker = under_load(place, &sink);
        worker.signal(Signal::TERM);
        worker.wait_for_line("Stopping warm");
        worker.signal(Signal::TERM);
        assert!(worker.wait_within(Duration::from_secs(5)).is_some(), "it does not wait");
    }
    assert_eq!(place.attempted(), 0, "nothing was an attempt, or a crash");
    assert_eq!(sink.seen().distinct(), sink.seen().effects.len());

    let slow = place.see("send", &["bench.effect", r#"["retry", 4000, 0]"#, &SLOW.to_string()]);
    let mut worker = start(place, &sink);
    wait_until("the slow ones", || sink.seen().distinct() == QUICK + SLOW);
    worker.signal(Signal::TERM);
    assert!(worker.wait_within(Duration::from_secs(1)).is_none(), "it still waits for them");
    worker.kill();
    let worker = start(place, &sink);
    assert_eq!(place.see("states", &[&quick.to_string()]), json!({"SUCCESS": QUICK}));
    assert_eq!(place.see("states", &[&slow.to_string()]), json!({"SUCCESS": SLOW}));
    assert!(worker.terminate().success());
    assert_eq!((sink.seen().distinct(), place.waiting(), place.kept()), (QUICK + SLOW, 0, 0));
}

/// A worker that has done some calls and is doing others.
fn under_load(place: &Place, sink: &Sink) -> Process {
    let before = place.results();
    let worker = start(place, sink);
    wait_until("some more results", || place.results() >= before + SLOW);
    worker
}

fn start(place: &Place, sink: &Sink) -> Process {
    let command = sink.worker(place, &["-c", &SLOW.to_string()]);
    command.env("LOVAGE_WORKER__LEASE", "4").start_until("ready:")
}
