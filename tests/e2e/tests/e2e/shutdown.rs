//! A worker that is asked to end loses nothing.

use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Place, together, wait_until};

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
    assert!(worker.wait_within(std::time::Duration::from_millis(300)).is_none(), "it waits");
    worker.signal(Signal::TERM);
    let ended = worker.wait_within(std::time::Duration::from_secs(5));
    assert!(ended.is_some(), "it does not wait any longer");
    assert_eq!((place.results(), place.waiting()), (0, 10));
}
