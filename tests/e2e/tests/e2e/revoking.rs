//! Calls that nobody wants any more.

use lovage_test_support::LovageCommand;
use serde_json::{Value, json};

use crate::bed::{Place, alone, together};

fn revoke(place: &Place, arguments: &[&str]) -> String {
    let broker = place.broker();
    let all = [&["control"], arguments, &["-b", &broker]].concat();
    let (code, output) = LovageCommand::new().args(all).finish();
    assert_eq!(code, Some(0), "{output}");
    output
}

fn states(place: &Place, ids: &[&str]) -> Value {
    place.script("watch.py", &[&["revoked"], ids].concat())
}

#[test]
fn a_busy_loop_is_ended_within_50_ms_and_its_caller_told() {
    let _machine = alone();
    let place = Place::redis();
    let _worker = place.worker(&[]);
    let seen = place.script("watch.py", &["terminated", "demo.spin"]);
    let times: Vec<f64> =
        seen["times"].as_array().expect("times").iter().filter_map(Value::as_f64).collect();
    println!("a busy loop was ended in {times:?} ms");
    assert_eq!(seen["status"], "REVOKED");
    assert_eq!(seen["result"], "TaskRevokedError('terminated')");
    assert!(times.iter().any(|time| *time < 50.0), "{times:?}");
    assert!(times.iter().all(|time| *time < 500.0), "{times:?}");
}

#[test]
fn what_is_revoked_stays_so_over_restarts() {
    let _machine = together();
    let place = Place::redis();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state");
    let arguments = ["-S", file.to_str().expect("a path"), "--without-mingle"];
    let worker = place.worker(&arguments);
    assert!(revoke(&place, &["revoke", "a", "b"]).contains("flagged as revoked"));
    revoke(&place, &["revoke_by_stamped_headers", "tenant=t1"]);
    let revoked = json!({"a": "REVOKED", "c": "SUCCESS", "stamped": "REVOKED"});
    assert_eq!(states(&place, &["a", "c", "stamped"]), revoked);
    assert!(worker.terminate().success());
    let worker = place.worker(&arguments);
    let revoked = json!({"b": "REVOKED", "d": "SUCCESS", "stamped-2": "REVOKED"});
    assert_eq!(states(&place, &["b", "d", "stamped-2"]), revoked, "after a restart");
    worker.kill();
    let _worker = place.worker(&arguments);
    assert_eq!(states(&place, &["b"]), json!({"b": "REVOKED"}), "after a kill");
}

#[test]
fn a_worker_that_starts_hears_what_its_neighbours_know() {
    neighbours_tell(&Place::redis());
}

#[test]
fn over_rabbitmq_a_worker_that_starts_hears_what_its_neighbours_know() {
    neighbours_tell(&Place::rabbit("classic", false));
}

fn neighbours_tell(place: &Place) {
    let _machine = together();
    let theirs = crate::reference::celery_worker(place, &["-c", "1", "-n", "theirs@box"]);
    let asked = |node: &str| {
        let all = ["inspect", "revoked", "-d", node, "--json", "-b", &place.broker()];
        let (_, output) = LovageCommand::new().args(all).finish();
        serde_json::from_str::<Value>(&output).map(|it| it[node].clone()).unwrap_or_default()
    };
    revoke(place, &["revoke", "known-to-celery"]);
    let first = place.worker(&["-n", "first@box"]);
    crate::bed::wait_until("Celery's revocations", || {
        asked("first@box") == json!(["known-to-celery"])
    });
    theirs.terminate();
    let _second = place.worker(&["-n", "second@box"]);
    crate::bed::wait_until("ours", || asked("second@box") == json!(["known-to-celery"]));
    assert!(first.terminate().success());
}
