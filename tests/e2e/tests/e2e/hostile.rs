//! Guests that mean harm: each ends in its own way and in time, and nobody else notices.

use lovage_test_support::paths;

use crate::bed::{Place, alone, together, wait_until};
use crate::processes;

/// No hostile call may take longer than its limit and this.
const GRACE_S: f64 = 0.1;
const LIMIT_S: f64 = 2.0;
/// What sending, and hearing of the end, add to a call: measured with a call that does nothing.
const TRIP_S: f64 = 0.1;
const HELD_BYTES_MORE_MAX: u64 = 32 << 20;

/// Task, arguments, the exception that its caller gets. A class that the caller's Python does not have
/// is made up by Celery there, in `celery.exceptions`, whatever module its document names.
const HOSTILE: [(&str, &str, &str); 19] = [
    ("hostile.spin", "[]", TIME),
    ("hostile.fill", "[]", TIME),
    ("hostile.stubborn", "[100]", TIME),
    ("hostile.memory", "[]", MEMORY),
    ("hostile.memories", "[]", MEMORY),
    ("hostile.tables", "[]", MEMORY),
    ("hostile.recursion", "[]", "builtins.RecursionError"),
    ("hostile.output", "[2000000]", "celery.exceptions.OutputTooLarge"),
    ("hostile.invalid", "[]", "celery.exceptions.InvalidResult"),
    ("hostile.calls", "[]", "celery.exceptions.TooManyHostCalls"),
    ("hostile.streams", "[]", "celery.exceptions.TooManyHostCalls"),
    ("hostile.panic", "[]", TRAP),
    ("hostile.liar", "[]", TRAP),
    ("hostile.wild", "[]", TRAP),
    ("hostile.realloc", "[]", TRAP),
    ("hostile.not-utf8", "[]", TRAP),
    ("hostile.exit", "[3]", "celery.exceptions.GuestExited"),
    ("hostile.start", "[]", NOBODY),
    ("hostile.many-memories", "[]", NOBODY),
];
const TIME: &str = "billiard.exceptions.TimeLimitExceeded";
const MEMORY: &str = "builtins.MemoryError";
const TRAP: &str = "celery.exceptions.GuestTrapped";
/// Its module was refused when it was loaded.
const NOBODY: &str = "celery.exceptions.NotRegistered";

#[test]
fn every_hostile_guest_ends_in_its_own_way_and_leaves_nothing_behind() {
    let _machine = alone();
    let place = Place::redis();
    let worker = place.worker(&["-c", "8"]);
    for (task, arguments, exception) in HOSTILE {
        place.see("add", &[]);
        let before = processes::held_bytes(worker.id());
        let executors = processes::executors(worker.id());
        let seen = place.see("hostile", &[task, arguments, &LIMIT_S.to_string()]);
        println!("{task}: {} after {}", seen["raised"], seen["seconds"]);
        assert_eq!(seen["raised"], exception, "{task}: {seen}");
        let seconds = seen["seconds"].as_f64().unwrap_or(f64::MAX);
        assert!(seconds < LIMIT_S + GRACE_S + TRIP_S, "{task} took {seconds} s");
        let neighbours = seen["neighbours"].as_array().into_iter().flatten();
        assert!(neighbours.clone().count() > 0 && neighbours.clone().all(|value| *value == 42));
        assert_eq!(processes::executors(worker.id()), executors, "{task} felled an executor");
        wait_until("the memory that it took, given back", || {
            processes::held_bytes(worker.id()) <= before + HELD_BYTES_MORE_MAX
        });
    }
    assert!(worker.terminate().success());
}

#[test]
fn more_log_lines_than_allowed_are_dropped_and_the_task_goes_on() {
    let _machine = together();
    let place = Place::redis();
    let worker = place.worker(&[]);
    let seen = place.see("hostile", &["hostile.logs", "[20000, 1000]", "10"]);
    assert_eq!(seen["value"], 20_000, "{seen}");
    assert!(worker.output().len() < 2 << 20, "they are not all printed either");
    assert!(!worker.output().contains("\u{1b}[31m"), "and none plays with the terminal");
}

#[test]
fn an_exception_that_plays_tricks_is_an_exception_and_no_more() {
    let _machine = together();
    let place = Place::redis();
    let worker = place.worker(&[]);
    let seen = place.see("hostile", &["hostile.failure", "[100000]", "10"]);
    assert_eq!(seen["state"], "FAILURE", "{seen}");
    assert_eq!(place.see("add", &[])["value"], 5);
    assert!(!worker.output().contains("\u{1b}[2J"), "the terminal is not cleared");
}

#[test]
fn a_module_cannot_take_a_name_that_another_has() {
    let _machine = together();
    let place = Place::redis();
    assert!(paths::guests().join("hostile-thief.wasm").exists());
    let _worker = place.worker(&[]);
    assert_eq!(place.see("add", &[])["value"], 5);
}
