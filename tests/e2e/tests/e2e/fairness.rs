//! Guests that never wait do not delay those that are quick.

use serde_json::Value;

use crate::bed::{Place, alone};

/// Of 200 round trips, 198 are faster than this, whatever else runs.
const P99_MAX_S: f64 = 0.050;
const TRIPS: usize = 200;
/// What else this machine does can spoil a measurement, but not two in a row.
const MEASUREMENTS_MAX: usize = 2;

#[test]
fn two_guests_that_compute_for_twenty_seconds_delay_no_other_call() {
    let _machine = alone();
    let mut measured = Vec::new();
    while measured.len() < MEASUREMENTS_MAX {
        measured.push(p99_beside_two_computing_guests());
        if measured.last().is_some_and(|p99| *p99 < P99_MAX_S) {
            println!("p99 of {TRIPS} round trips beside two computing guests: {measured:.4?} s");
            return;
        }
    }
    panic!("p99 of {TRIPS} round trips beside two computing guests: {measured:?} s");
}

fn p99_beside_two_computing_guests() -> f64 {
    let place = Place::redis();
    // More fuel than they can use: time alone ends them, after the measurement.
    let worker = place.start_worker(&["-c", "16"]).env("LOVAGE_SANDBOX__FUEL", "1000000000000");
    let worker = worker.start_until("ready:");
    assert_eq!(place.see("add", &[])["value"], 5, "everything is warm");
    let before = place.results();
    place.see("send", &["hostile.spin", "[]", "2"]);
    let seen = place.see("one-at-a-time", &[&TRIPS.to_string()]);
    let done = place.results() - before;
    assert_eq!(done, TRIPS, "both guests computed all the while");
    worker.kill();
    let mut seconds: Vec<f64> =
        seen["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[TRIPS * 99 / 100 - 1]
}
