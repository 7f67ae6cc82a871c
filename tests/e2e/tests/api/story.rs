//! A module is pushed, tried, promoted and rolled back while calls come in without a pause: no call
//! fails or is lost, and each is answered by the version that it was admitted with.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lovage_test_support::{Process, paths};
use serde_json::{Value, json};

use crate::http::Client;
use crate::modules::says;
use crate::server::Server;

const TASK: &str = "story.version";

/// Seconds that each phase lasts: enough calls to see what answers. `make story` has them last longer.
const PHASE_S: u64 = 3;

/// How long before a change a call may have been sent that is admitted after it. When a change is
/// answered, the worker heeds it: every call that is sent after that is answered accordingly.
const ADMITTED: f64 = 1.0;

/// Seconds by the clock that the producer reads, too.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

/// Real Celery, calling at a steady rate until the file is there.
fn celery(server: &Server, rate: u32) -> Process {
    let (broker, backend) = server.urls();
    let mut command = Command::new(paths::python());
    command.arg("-u").arg(paths::repository().join("tests/e2e/load.py"));
    command.args([&broker, &backend, TASK, "acme.default", &rate.to_string()]);
    command.arg(server.folder.path().join("stop")).env("PYTHONDONTWRITEBYTECODE", "1");
    Process::start(command)
}

/// Calls over HTTP at a steady rate, until the file is there: when, and which version answered.
fn over_http(client: &Client, rate: u32, stop: &std::path::Path) -> Vec<(f64, Value)> {
    let mut answers = Vec::new();
    let mut next = Instant::now();
    while !stop.exists() {
        // Sleeps because a rate is a pause between calls.
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += Duration::from_secs(1) / rate;
        let at = now();
        let call = json!({ "task": TASK });
        answers.push((at, client.post("/v1/tasks?wait=30", &call).ok()));
    }
    answers
}

/// Lets calls come in for a while.
fn phase() {
    let seconds = std::env::var("LOVAGE_PHASE_SECONDS").ok().and_then(|it| it.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(PHASE_S));
    while Instant::now() < end {
        // Sleeps because a phase is a span of time in which calls are counted.
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_version_is_pushed_tried_promoted_and_rolled_back_under_load() {
    // Every call is looked up in the end, however long it takes.
    let server = Server::on_redis_configured("[api]\nhistory = 100000\n");
    let acme = server.tenant("acme");
    let first = acme.push("story", &says(TASK, "v1")).ok();
    let stop = server.folder.path().join("stop");
    let producer = celery(&server, 100);
    let (client, stop_there) = (acme.clone(), stop.clone());
    let http = thread::spawn(move || over_http(&client, 100, &stop_there));

    phase();
    let before_canary = now();
    let pushed = acme.push("story?channel=canary&percentage=10", &says(TASK, "v2")).ok();
    assert_eq!(pushed["live"], first["live"]);
    let tried_from = now();
    phase();
    let before_promote = now();
    acme.post("/v1/modules/story/promote", &json!({})).ok();
    let promoted = now();
    phase();
    let before_rollback = now();
    let back = acme.post("/v1/modules/story/rollback", &json!({})).ok();
    let rolled_back = now();
    assert_eq!(back["live"], first["live"]);
    phase();
    fs::write(&stop, "").expect("a file");

    let http = http.join().expect("calls over HTTP");
    let line = producer.wait_for_line("[[");
    let celery: Vec<(f64, String, Value)> = serde_json::from_str(&line).expect("calls");
    assert!(celery.len() > 300 && http.len() > 100, "{} and {}", celery.len(), http.len());
    let versions: HashMap<_, _> =
        [("v1", &first["live"]), ("v2", &pushed["canary"]["digest"])].into();
    let over_http = http.iter().map(|(at, view)| (*at, view["result"].clone()));
    let all: Vec<_> = celery.iter().map(|(at, _, it)| (*at, it.clone())).chain(over_http).collect();
    let mut tried = (0, 0);
    for (at, version) in &all {
        let only = |wanted: &str| assert_eq!(version, wanted, "{at}: {before_canary} {promoted}");
        match *at {
            at if at < before_canary - ADMITTED => only("v1"),
            at if at > promoted && at < before_rollback - ADMITTED => only("v2"),
            at if at > rolled_back => only("v1"),
            at if at > tried_from && at < before_promote - ADMITTED => {
                tried.0 += 1;
                tried.1 += usize::from(version == "v2");
            }
            _ => assert!(version == "v1" || version == "v2", "{version}"),
        }
    }
    assert!(tried.1 * 50 > tried.0 && tried.1 * 4 < tried.0, "the canary answered {tried:?}");
    println!(
        "{} calls by Celery and {} over HTTP, none lost and none failed; of {} beside the canary it \
         answered {}; rolled back in {:.3} s",
        celery.len(),
        http.len(),
        tried.0,
        tried.1,
        rolled_back - before_rollback
    );
    // What the history says of each call is the version that answered it.
    for (_, id, version) in celery.iter().step_by(20) {
        let view = acme.get(&format!("/v1/tasks/{id}?wait=5")).ok();
        let text = version.as_str().expect("a version");
        assert_eq!(&view["digest"], versions[text], "{view}");
    }
    assert!(server.process.output().lines().all(|line| !line.contains("panicked")));
}

#[test]
fn what_was_pushed_a_moment_ago_is_known_to_every_worker() {
    let server = Server::on_redis();
    let other = server.another();
    let acme = server.tenant("acme");
    for number in 0..10 {
        let task = format!("new.task{number}");
        acme.push(&format!("new{number}"), &says(&task, "known")).ok();
        let sent: Vec<_> =
            (0..20).map(|_| acme.post("/v1/tasks", &json!({ "task": task })).ok()).collect();
        for view in sent {
            let id = view["id"].as_str().expect("an id");
            let view = acme.get(&format!("/v1/tasks/{id}?wait=30")).ok();
            assert_eq!((&view["state"], &view["result"]), (&json!("SUCCESS"), &json!("known")));
        }
    }
    // Nor did any wait to be put back on its queue.
    for worker in [&server.process, &other] {
        assert!(!worker.output().contains("parked"), "{}", worker.output());
    }
}

#[test]
fn a_task_that_nobody_knows_waits_for_the_push() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let call = acme.post("/v1/tasks", &json!({ "task": "late.task" })).ok();
    let parked = |list: &Value| list["messages"].as_array().is_some_and(|it| !it.is_empty());
    let start = Instant::now();
    while !parked(&acme.get("/v1/dlq?kind=parked").ok()) {
        assert!(start.elapsed() < Duration::from_mins(1), "it was never parked");
        // Sleeps because a caller has only so many requests a second.
        thread::sleep(Duration::from_millis(20));
    }
    acme.push("late", &says("late.task", "came")).ok();
    let id = call["id"].as_str().expect("an id");
    let start = Instant::now();
    let view = loop {
        // A parked call looks like a failed one to whoever asks, until it is run.
        let view = acme.get(&format!("/v1/tasks/{id}")).ok();
        if view["state"] == "SUCCESS" || start.elapsed() > Duration::from_secs(30) {
            break view;
        }
        // Sleeps because a caller has only so many requests a second.
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(view["result"], "came", "{view}");
}
