//! Canvas: what is sent when a call is over, counted where Celery counts, by workers of both kinds.

use lovage_test_support::Process;
use serde_json::{Value, json};

use crate::bed::{Place, together};
use crate::reference::celery_worker;

/// What every caller sees, whoever runs the calls.
fn expected() -> Value {
    json!({
        "chain-of-three": [10, 6, 3],
        "chain-that-fails": ["ValueError: no", "ValueError: no", "FAILURE", "FAILURE"],
        "links": [3, 13, "ValueError: no", true],
        "group-of-three": [0, 2, 4],
        "chord-of-ten": [0, 2, 4, 6, 8, 10, 12, 14, 16, 18],
        "chord-of-one": [2],
        "chord-of-none": [],
        "chord-of-chains": [11, 12, 13],
        "chord-then-chain": [2, 4],
        "chain-through-a-group": [[3, 4], [3, 4]],
        "chord-in-a-chord": [[2, 4], 6],
        "groups-in-a-chord": [4, 2, 6],
        "chord-with-a-failure": ["ValueError: no", true],
        "chain-in-a-chord-that-fails": "ValueError: no",
        "stamps-travel": "stamped",
        "replaced-by-a-task": 6,
        "replaced-by-a-chain": 10,
        "replaced-by-a-group": [3, 7],
        "maps": [[1, [2]], [3, 7], "ValueError: no"],
        "chunks-of-two": [[2, 4], [6]],
        "canvas-by-name": [
            [[2, 4], [6]], "NotImplementedError: chain is not a real task", 2, null
        ],
        "group-behind-a-chain-in-a-chord": [[3, 4], 6],
        "replaced-in-a-chord": [6, 2],
        "joined-by-more-members": [2, 2, 10, 12],
        "sent-from-inside": [2, 4],
    })
}

fn judge(place: &Place, workers: &[&Process]) {
    let seen = place.script("canvas.py", &[]);
    let mut expected = expected();
    if let Place::Sqlite(_) = place {
        // Nobody counts there, so there is nothing to join: Celery refuses that, too.
        expected["joined-by-more-members"] =
            json!("NotImplementedError: Backend does not support add_to_chord");
    }
    let (Value::Object(expected), Value::Object(seen)) = (expected, seen) else {
        panic!("two objects")
    };
    for (case, value) in &expected {
        let logs: Vec<_> = workers.iter().map(|worker| worker.output()).collect();
        assert_eq!(seen.get(case), Some(value), "{case}\n{}", logs.join("\n---\n"));
    }
    assert_eq!(place.waiting(), 0, "everything that was sent was taken");
}

#[test]
fn celery_itself_passes() {
    let _machine = together();
    let place = Place::redis();
    let celery = celery_worker(&place, &["-c", "2"]);
    judge(&place, &[&celery]);
}

#[test]
fn every_form_of_canvas_comes_to_what_celery_makes_of_it() {
    let _machine = together();
    let place = Place::redis();
    let worker = place.worker(&["-c", "4"]);
    judge(&place, &[&worker]);
    // Nothing is left of chords that went well but the word that they are over.
    let left: Vec<String> = place.ask(1, redis::cmd("KEYS").arg("celery-taskset-meta-*.j"));
    assert!(left.len() <= 2, "only those with a failure: {left:?}");
}

#[test]
fn over_rabbitmq_every_form_of_canvas_comes_to_what_celery_makes_of_it() {
    let _machine = together();
    let place = Place::rabbit("classic", false);
    let worker = place.worker(&["-c", "4"]);
    judge(&place, &[&worker]);
}

#[test]
fn chords_whose_results_are_in_a_database_are_unlocked_by_asking() {
    let _machine = together();
    let place = Place::sqlite();
    let worker = place.worker(&["-c", "4"]);
    judge(&place, &[&worker]);
}

#[test]
fn members_of_one_canvas_may_run_on_workers_of_both_kinds() {
    let _machine = together();
    let place = Place::redis();
    let celery = celery_worker(&place, &["-c", "2", "--prefetch-multiplier", "1"]);
    let lovage = place.worker(&["-c", "2"]);
    for _ in 0..3 {
        judge(&place, &[&celery, &lovage]);
    }
    assert!(celery.output().contains("succeeded in"), "Celery had its part");
}
