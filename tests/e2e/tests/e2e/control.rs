//! Remote control: what Celery's own tools ask of a Lovage worker and do to it, and ours to Celery's.

use lovage_test_support::LovageCommand;
use serde_json::json;

use crate::bed::{Place, together};

/// The recorded conversations of one group.
fn conversations(group: &str, arguments: &[&str]) -> u64 {
    let _machine = together();
    let place = Place::redis();
    let _worker = LovageCommand::worker()
        .args(["-b", &place.broker(), "--result-backend", &place.backend()])
        .args(["-n", "w1@box", "-c", "8", "-Q", "celery,extra"])
        .args(arguments)
        .start_until("ready:");
    let folder = lovage_test_support::paths::repository().join("tests/vectors");
    let folder = folder.to_str().expect("a path");
    let told = place.script("control_vectors.py", &[group, folder]);
    assert_eq!(told["problems"], json!({}), "{told}");
    assert_eq!(told["of"], 65, "every recording is one of a group");
    told["made"].as_u64().expect("a count")
}

#[test]
fn a_worker_with_events_answers_as_celery_did() {
    assert_eq!(conversations("events", &["-E", "--time-limit", "300"]), 65 - 8 - 1);
}

#[test]
fn a_worker_without_events_answers_as_celery_did() {
    assert_eq!(conversations("plain", &[]), 4);
}

#[test]
fn a_worker_that_follows_its_load_answers_as_celery_did() {
    assert_eq!(conversations("auto", &["--autoscale", "3,1"]), 3);
}
