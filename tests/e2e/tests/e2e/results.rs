//! Results in every form that Celery's client reads them in.

use lovage_test_support::LovageCommand;
use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::bed::{Place, QUEUE, python, together};

/// What the client sees of a worker with these settings.
fn seen(place: &Place, backend: &str, serializer: &str, settings: &[(&str, &str)]) -> Value {
    let urls = ["-b", &place.broker(), "--result-backend", backend, "-Q", QUEUE, "-c", "4"];
    let mut worker = LovageCommand::worker().args(urls);
    for (name, value) in settings {
        worker = worker.env(name, value);
    }
    let _worker = worker.start_until("ready:");
    let output = python("results.py", &[&place.broker(), backend, serializer, QUEUE]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What every form comes to; `begins` is how the stored bytes begin, in hexadecimal.
fn expected(begins: &str) -> Value {
    json!({
        "value": 5, "text": "é 🌿 \u{1} \"x\" 1e5", "failure": "ValueError: boom", "kept": 5,
        "chord": [0, 2, 4], "begins": begins, "started": ["STARTED", ["hostname", "pid"], "SUCCESS"],
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

/// Results in this serializer and compression, in the same Redis as the queue and apart.
fn in_form(serializer: &str, compression: &str, begins: &[u8]) {
    let _machine = together();
    let place = Place::redis();
    let settings = [
        ("LOVAGE_RESULT_SERIALIZER", serializer),
        ("LOVAGE_RESULT_COMPRESSION", compression),
        ("LOVAGE_TASK__TRACK_STARTED", "true"),
    ];
    for backend in [place.backend(), place.broker()] {
        let found = seen(&place, &backend, serializer, &settings);
        assert_eq!(found, expected(&hex(begins)), "{serializer} {compression} {backend}");
    }
}

#[test]
fn results_are_read_in_json() {
    in_form("json", "", b"{\"status\": \"SUCCESS");
}

#[test]
fn results_are_read_in_messagepack() {
    in_form("msgpack", "", b"\x86\xa6status\xa7SUCCESS\xa6re");
}

#[test]
fn results_are_read_in_yaml_and_compressed() {
    in_form("yaml", "gzip", b"\0celery-compressed\0");
    in_form("json", "bzip2", b"\0celery-compressed\0");
}

#[test]
fn replies_go_over_redis_too() {
    let _machine = together();
    let place = Place::redis();
    let found = seen(&place, "rpc://", "json", &[]);
    let seen = [&found["value"], &found["failure"]];
    assert_eq!(seen, [&json!(5), &json!("ValueError: boom")]);
}
