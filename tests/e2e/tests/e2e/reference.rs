//! The same calls to a real Celery worker: what is asked of Lovage is what Celery does.

use lovage_test_support::{PATIENCE, Process, paths, python};

use crate::bed::{Place, QUEUE, together};
use crate::calls::judge;

/// A real Celery worker on the same tasks, written in Python.
pub(crate) fn celery_worker(place: &Place, arguments: &[&str]) -> Process {
    let urls = ["-b", &place.broker(), "--result-backend", &place.backend()];
    let small = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"];
    let module = if place.is_quorum() { "bed.quorum" } else { "bed.reference" };
    let all = [&["-A", module], &urls[..], &["worker", "-Q", QUEUE], &small, arguments];
    let worker = python::start_module("celery", &all.concat(), &paths::repository().join("tests"));
    assert!(worker.find_line(" ready.", PATIENCE).is_some(), "{}", worker.output());
    worker
}

#[test]
fn a_real_celery_worker_passes_the_same_tests() {
    let _machine = together();
    let place = Place::redis();
    let _worker = celery_worker(&place, &["-c", "2"]);
    for case in [
        "add",
        "keywords",
        "failure",
        "no-such-arguments",
        "echo",
        "ignore-result",
        "expires",
        "countdown",
        "time-limit",
        "spinning-time-limit",
        "soft-time-limit",
        "unknown",
        "msgpack",
        "retry",
        "many",
    ] {
        println!("{case}");
        judge(case, &place.see(case, &[]));
    }
}
