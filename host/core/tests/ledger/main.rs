//! The ledger's protocol, explored whole: two workers, two copies of one message, and a crash, a
//! pause, a shutdown or a repeated call between any two steps.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod explore;
mod world;

use explore::explore;
use lovage_core::frames::OnDoubt;
use world::{Mutant, Rules};

const RULES: Rules = Rules {
    doubt: OnDoubt::Retry,
    atomic: false,
    crashes_max: 2,
    copies: 2,
    faults: 1,
    mutant: Mutant::None,
};

#[test]
fn every_promise_holds_whatever_happens_between_any_two_steps() {
    for doubt in [OnDoubt::Retry, OnDoubt::Fail, OnDoubt::Ask] {
        for atomic in [false, true] {
            for (copies, faults) in [(2, 1), (1, 2)] {
                let found = explore(Rules { doubt, atomic, copies, faults, ..RULES });
                let states = found.unwrap_or_else(|broken| panic!("{doubt:?} {atomic}: {broken}"));
                println!("{doubt:?}, atomic {atomic}, {copies} copies, {faults} faults: {states}");
            }
        }
    }
}

/// Runs the same exploration over a protocol with one thing wrong: it must be noticed.
fn caught(mutant: Mutant, doubt: OnDoubt) -> String {
    match explore(Rules { doubt, mutant, ..RULES }) {
        Ok(states) => panic!("{mutant:?} passed {states} states unnoticed"),
        Err(broken) => broken,
    }
}

#[test]
fn publishing_before_recording_is_noticed() {
    let broken = caught(Mutant::RecordAfterPublish, OnDoubt::Fail);
    assert!(broken.contains("not recorded"), "{broken}");
}

#[test]
fn acknowledging_a_busy_duplicate_is_noticed() {
    let broken = caught(Mutant::AcknowledgeBusy, OnDoubt::Fail);
    assert!(broken.contains("lost"), "{broken}");
}

#[test]
fn a_write_that_checks_no_fence_is_noticed() {
    let broken = caught(Mutant::NoFence, OnDoubt::Retry);
    assert!(broken.contains("not recorded"), "{broken}");
}

#[test]
fn a_running_record_that_expires_is_noticed() {
    let broken = caught(Mutant::RunningExpires, OnDoubt::Retry);
    assert!(broken.contains("at once"), "{broken}");
}

#[test]
fn repeating_a_step_in_doubt_against_its_authors_wish_is_noticed() {
    let broken = caught(Mutant::RepeatInDoubt, OnDoubt::Fail);
    assert!(broken.contains("twice"), "{broken}");
}
