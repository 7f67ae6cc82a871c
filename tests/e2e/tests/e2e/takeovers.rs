//! Two rows of the crash table in which nobody dies: a worker that stood still for longer than its
//! lease, and a store that lost what it was told.

use lovage_test_support::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::bed::{Place, pause, together, wait_until};
use crate::crashes::{Seen, Sink};
use crate::processes;

const ALONE: [&str; 4] = ["-c", "1", "--executors", "1"];

/// From a step's begin, which is seen, to its commit, which nobody is told of.
const TO_COMMIT: std::time::Duration = std::time::Duration::from_millis(500);

#[test]
fn on_redis_a_worker_that_was_stopped_past_its_lease_changes_nothing_afterwards() {
    stopped_past_its_lease(&Place::redis(), "retry");
}

#[test]
fn on_sqlite_a_worker_that_was_stopped_past_its_lease_changes_nothing_afterwards() {
    stopped_past_its_lease(&Place::sqlite(), "fail");
}

fn stopped_past_its_lease(place: &Place, doubt: &str) {
    let _machine = together();
    let sink = Sink::new();
    let arguments = json!([doubt, 6_000, 0]).to_string();
    let ids = place.see("send", &["bench.effect", &arguments, "1"]);
    let stopped = sink.worker(place, &ALONE).start_until("ready:");
    wait_until("the effect", || sink.seen().sends() == 1);
    pause(TO_COMMIT);
    let family = stop(place, &stopped);
    let other = sink.worker(place, &ALONE).start_until("ready:");
    wait_until("another run", || sink.seen().runs == 2);

    send(&family, Signal::CONT);
    stopped.wait_for_line("The ledger's lease ran out");
    assert_eq!(place.see("add", &[])["value"], 5, "its guest was trapped: its only slot is free");
    assert_eq!((sink.seen().runs, place.results()), (3, 1), "the other one still runs");
    // Had it acknowledged its delivery, or the call, this would be the end of both.
    other.kill();
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 1}));
    assert!(stopped.terminate().success());
    assert_eq!((sink.seen().runs, sink.seen().sends()), (4, 1), "and the step was replayed");
    assert_eq!((place.waiting(), place.kept()), (0, 0));
}

/// Has a worker stand still with all its processes, and without the lock of a file.
fn stop(place: &Place, worker: &Process) -> Vec<u32> {
    let family = processes::family(worker.id());
    wait_until("a moment without a lock", || {
        send(&family, Signal::STOP);
        let is_free = place.is_unlocked();
        if !is_free {
            send(&family, Signal::CONT);
        }
        is_free
    });
    family
}

fn send(family: &[u32], signal: Signal) {
    for pid in family {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it is there");
    }
}

#[test]
fn a_call_whose_record_was_lost_runs_again_and_its_steps_are_replayed() {
    let redis =
        "for _, key in ipairs(redis.call('KEYS', 'lovage:l:*')) do redis.call('DEL', key) end";
    let seen = lost(&Place::redis(), redis);
    assert_eq!((seen.runs, seen.sends()), (2, 1));
    let seen = lost(&Place::sqlite(), "DELETE FROM lovage_ledger");
    assert_eq!((seen.runs, seen.sends()), (2, 1));
}

#[test]
fn a_call_of_which_all_was_lost_does_everything_again_under_the_same_key() {
    let redis = "for _, key in ipairs(redis.call('KEYS', 'lovage:l*')) do
        if string.find(key, 'lovage:l:', 1, true) or string.find(key, 'lovage:ledger:steps', 1, true) then
            redis.call('DEL', key)
        end
    end";
    let seen = lost(&Place::redis(), redis);
    assert_eq!((seen.runs, seen.sends(), seen.distinct()), (2, 2, 1));
    let seen = lost(&Place::sqlite(), "DELETE FROM lovage_ledger; DELETE FROM lovage_ledger_step");
    assert_eq!((seen.runs, seen.sends(), seen.distinct()), (2, 2, 1));
}

/// What is seen of one call whose store is made to forget something while it runs.
fn lost(place: &Place, statement: &str) -> Seen {
    let _machine = together();
    let sink = Sink::new();
    let ids = place.see("send", &["bench.effect", r#"["retry", 2000, 0]"#, "1"]);
    let worker = sink.worker(place, &ALONE).start_until("ready:");
    wait_until("the effect", || sink.seen().sends() == 1);
    pause(TO_COMMIT);
    place.tell(statement);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 1}));
    assert!(worker.terminate().success());
    assert_eq!((place.waiting(), place.kept()), (0, 0));
    sink.seen()
}
