//! Thousands of calls that wait cost memory, and no more than a little.

use serde_json::json;

use crate::bed::{Place, alone};

const CALLS: usize = 5_000;
const HELD_BYTES_MAX: u64 = 500 << 20;
const SECONDS_MAX: f64 = 5.0;

#[test]
fn five_thousand_sleeping_calls_fit_into_500_mebibytes_and_five_seconds() {
    let _machine = alone();
    let place = Place::redis();
    let worker = place.worker(&["-c", &CALLS.to_string()]);
    let arguments = [worker.id().to_string(), CALLS.to_string(), "1000".to_owned()];
    let seen = place.script("sleepers.py", &arguments.each_ref().map(String::as_str));
    println!("{seen}");
    assert_eq!(seen["states"], json!({"SUCCESS": CALLS}));
    let held = seen["held_bytes_max"].as_u64().unwrap_or(u64::MAX);
    assert!(held <= HELD_BYTES_MAX, "worker and executors held {} MiB", held >> 20);
    let seconds = seen["seconds"].as_f64().unwrap_or(f64::MAX);
    assert!(seconds <= SECONDS_MAX, "all were done after {seconds:.2} s");
    assert!(worker.terminate().success());
}
