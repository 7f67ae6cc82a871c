//! Processes are killed while calls are in flight: nothing is lost.

use lovage_test_support::Process;
use serde_json::json;

use crate::bed::{Place, alone, chance, together, wait_until};
use crate::processes;

const CALLS: usize = 2_000;
const KILLS: usize = 10;

#[test]
fn on_redis_no_call_is_lost_when_the_worker_is_killed_ten_times() {
    no_call_is_lost(&Place::redis());
}

#[test]
fn on_sqlite_no_call_is_lost_when_the_worker_is_killed_ten_times() {
    no_call_is_lost(&Place::sqlite());
}

/// Kills at a random count of results within each tenth, so that every kill finds work in flight.
fn no_call_is_lost(place: &Place) {
    let _machine = together();
    let mut chance = chance("kills");
    let ids = place.see("send", &["bench.sleep", "[20]", &CALLS.to_string()]);
    let mut worker = mortal_worker(place);
    for tenth in 0..KILLS {
        let enough = (tenth * CALLS + chance.usize(0..CALLS)) / (KILLS + 1);
        wait_until("some more results", || place.results() >= enough);
        worker.kill();
        worker = mortal_worker(place);
    }
    wait_until("all results", || place.results() == CALLS);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": CALLS}));
    assert!(worker.terminate().success());
}

/// A worker that is soon taken for dead when it is.
fn mortal_worker(place: &Place) -> Process {
    let command = place.start_worker(&["-c", "16"]).env("LOVAGE_WORKER__LEASE", "6");
    command.start_until("ready:")
}

#[test]
fn an_executor_that_is_killed_is_replaced_and_its_hundred_calls_are_done() {
    let _machine = alone();
    let place = Place::redis();
    let worker = place.worker(&["-c", "101", "--executors", "1"]);
    let first = executor_of(&worker);
    let ids = place.see("send", &["bench.sleep", "[3000]", "100"]);
    // Calls are started in their order: when this one is done, the hundred before it are running.
    assert_eq!(place.see("add", &[])["value"], 5);
    assert_eq!((place.waiting(), place.results()), (0, 1), "all hundred are in flight");

    processes::kill(first);
    assert_eq!(place.see("add", &[])["value"], 5, "a new call is served");
    assert_ne!(executor_of(&worker), first);

    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 100}));
    assert!(worker.terminate().success());
}

/// The id of the worker's only executor, waiting for one to be there.
fn executor_of(worker: &Process) -> u32 {
    let mut found = Vec::new();
    wait_until("an executor", || {
        found = processes::executors(worker.id());
        found.len() == 1
    });
    found[0]
}

#[test]
fn executors_end_with_the_worker_that_is_killed() {
    let _machine = together();
    let place = Place::redis();
    let worker = place.worker(&[]);
    let executors = processes::executors(worker.id());
    assert!(!executors.is_empty());
    worker.kill();
    wait_until("the end of all executors", || executors.iter().all(|pid| !processes::runs(*pid)));
}
