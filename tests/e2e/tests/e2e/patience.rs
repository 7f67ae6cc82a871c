//! What takes longer than a lease, by running or by waiting, happens once.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::{Place, pause, together, wait_until};
use crate::crashes::Sink;

#[test]
fn a_task_ten_times_longer_than_the_lease_runs_once() {
    let _machine = together();
    let (place, sink) = (Place::redis(), Sink::new());
    let workers = [(); 2].map(|()| sink.worker(&place, &["-c", "4"]).start_until("ready:"));
    let ids = place.see("send", &["bench.effect", r#"["fail", 10000, 0]"#, "1"]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 1}));
    let seen = sink.seen();
    assert_eq!((seen.runs, seen.sends()), (1, 1));
    for worker in workers {
        assert!(worker.terminate().success());
    }
}

#[test]
fn on_redis_a_countdown_outlives_its_workers_and_runs_once() {
    a_countdown_outlives_its_workers(&Place::redis());
}

#[test]
fn on_sqlite_a_countdown_outlives_its_workers_and_runs_once() {
    a_countdown_outlives_its_workers(&Place::sqlite());
}

/// A countdown of five leases; every lease, the worker that has it in custody dies or leaves.
fn a_countdown_outlives_its_workers(place: &Place) {
    let _machine = together();
    let sink = Sink::new();
    let sent = Instant::now();
    let id = place.see("send-later", &["bench.effect", r#"["fail", 0, 0]"#, "5"]);
    for number in 0..4 {
        let worker = sink.worker(place, &["-c", "4"]).start_until("ready:");
        wait_until("the message in custody", || place.waiting() == 0);
        pause(Duration::from_millis(300));
        if number % 2 == 0 {
            worker.kill();
        } else {
            assert!(worker.terminate().success());
        }
    }
    assert_eq!(sink.seen().runs, 0, "it is not due yet");
    let worker = sink.worker(place, &["-c", "4"]).start_until("ready:");
    let due = Instant::now().max(sent + Duration::from_secs(5));
    assert_eq!(place.see("states", &[&json!([id]).to_string()]), json!({"SUCCESS": 1}));
    assert!(sent.elapsed() > Duration::from_secs(5), "{:?}", sent.elapsed());
    // Begun anew by this worker, it would come five seconds after it.
    assert!(due.elapsed() < Duration::from_secs(4), "{:?} late", due.elapsed());
    let seen = sink.seen();
    assert_eq!((seen.runs, seen.sends()), (1, 1));
    assert!(worker.terminate().success());
}
