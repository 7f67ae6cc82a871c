//! Remote control: what Celery's own tools ask of a Lovage worker and do to it, and ours to Celery's.

use lovage_test_support::LovageCommand;
use serde_json::{Value, json};

use crate::bed::{Place, together};
use crate::reference::celery_worker;

/// The recorded conversations of one group.
fn conversations(place: &Place, group: &str, arguments: &[&str]) -> u64 {
    let _machine = together();
    let _worker = place
        .with_store(LovageCommand::worker())
        .args(["-b", &place.broker(), "--result-backend", &place.backend()])
        .args(["-n", "w1@box", "-c", "16", "-Q", "celery,extra"])
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
    let arguments = ["-E", "--time-limit", "300"];
    assert_eq!(conversations(&Place::redis(), "events", &arguments), 65 - 8 - 1);
}

#[test]
fn over_rabbitmq_a_worker_with_events_answers_as_celery_did() {
    let arguments = ["-E", "--time-limit", "300"];
    let place = Place::rabbit_beside_one("classic");
    assert_eq!(conversations(&place, "events", &arguments), 65 - 8 - 1);
}

#[test]
fn a_worker_without_events_answers_as_celery_did() {
    for place in [Place::redis(), Place::rabbit_beside_one("classic")] {
        assert_eq!(conversations(&place, "plain", &[]), 4);
    }
}

#[test]
fn a_worker_that_follows_its_load_answers_as_celery_did() {
    for place in [Place::redis(), Place::rabbit_beside_one("classic")] {
        assert_eq!(conversations(&place, "auto", &["--autoscale", "3,1"]), 3);
    }
}

/// `lovage …`: its exit code and all that it prints.
fn lovage(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    LovageCommand::new().args(arguments).args(["-b", &place.broker()]).finish()
}

/// The same with `--json`, which must be all that it prints.
fn asked(place: &Place, arguments: &[&str]) -> Value {
    let (code, output) = lovage(place, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {output}");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn our_own_tools_speak_to_celerys_workers_and_to_ours_alike() {
    tools_speak(&Place::redis());
}

#[test]
fn over_rabbitmq_our_own_tools_speak_to_celerys_workers_and_to_ours_alike() {
    tools_speak(&Place::rabbit("classic", false));
}

fn tools_speak(place: &Place) {
    let _machine = together();
    let _celery = celery_worker(place, &["-c", "1", "-n", "theirs@box"]);
    let _ours = place.worker(&["-n", "ours@box"]);
    let pong = json!({"ok": "pong"});
    let ping = asked(place, &["inspect", "ping"]);
    assert_eq!(ping, json!({"ours@box": pong, "theirs@box": pong}));
    let (code, output) = lovage(place, &["status"]);
    assert!(code == Some(0) && output.contains("2 nodes online."), "{output}");
    let one = asked(place, &["inspect", "ping", "-d", "theirs@box"]);
    assert_eq!(one, json!({"theirs@box": pong}));
    let fitting = asked(place, &["inspect", "ping", "--pattern", "our*"]);
    assert_eq!(fitting, json!({"ours@box": pong}));
    for question in ["active", "reserved", "scheduled", "revoked", "stats", "active_queues", "conf"]
    {
        let answers = asked(place, &["inspect", question]);
        let kind = |node: &str| std::mem::discriminant(&answers[node]);
        assert_eq!(kind("ours@box"), kind("theirs@box"), "{question}: {answers}");
    }
    let limit = asked(place, &["control", "rate_limit", "bench.add", "5/m"]);
    let set = json!({"ok": "new rate limit set successfully"});
    assert_eq!(limit, json!({"ours@box": set, "theirs@box": set}));
    for node in ["ours@box", "theirs@box"] {
        let tasks = asked(place, &["inspect", "registered", "-d", node]);
        let tasks = tasks[node].as_array().expect("a list");
        assert!(tasks.contains(&json!("bench.add [rate_limit=5/m]")), "{tasks:?}");
    }
    let (code, output) = lovage(place, &["inspect", "ping", "-d", "nobody@box", "-t", "0.2"]);
    assert!(code == Some(69) && output.contains("No nodes replied"), "{output}");
    for wrong in [&["inspect", "revoke"][..], &["control", "ping"], &["inspect", "ping", "x"]] {
        assert_eq!(lovage(place, wrong).0, Some(2), "{wrong:?}");
    }
    let (code, output) = lovage(place, &["control", "rate_limit", "no.such", "5/m"]);
    assert!(code == Some(1) && output.contains("unknown task"), "{output}");
}

#[test]
fn celerys_own_commands_find_nothing_missing() {
    commands_find_nothing_missing(&Place::redis());
}

#[test]
fn over_rabbitmq_celerys_own_commands_find_nothing_missing() {
    commands_find_nothing_missing(&Place::rabbit("classic", false));
}

fn commands_find_nothing_missing(place: &Place) {
    let _machine = together();
    let mut worker = place.worker(&["-n", "ours@box"]);
    for (arguments, expected) in [
        (&["status"][..], "1 node online."),
        (&["inspect", "ping"], "pong"),
        (&["inspect", "stats"], "max-concurrency"),
        (&["inspect", "registered"], "bench.add"),
        (&["control", "pool_grow", "1"], "pool will grow"),
        (&["control", "add_consumer", "more"], "add consumer more"),
        (&["inspect", "active_queues"], "more"),
        (&["inspect", "report"], "spoken by lovage"),
    ] {
        let output = celery(place, arguments);
        assert!(
            output.contains("ours@box") && output.contains(expected),
            "{arguments:?}: {output}"
        );
    }
    let done = place.script("watch.py", &["on-queue", "more"]);
    assert_eq!(done["state"], "SUCCESS", "the queue that was added is taken from");
    assert!(celery(place, &["control", "cancel_consumer", "more"]).contains("no longer consuming"));
    celery(place, &["control", "shutdown"]);
    assert!(worker.wait().success());
}

/// What Celery's own command line prints.
fn celery(place: &Place, arguments: &[&str]) -> String {
    let folder = lovage_test_support::paths::repository().join("tests");
    let broker = place.broker();
    let all = [&["-b", &broker], arguments].concat();
    let mut process = lovage_test_support::python::start_module("celery", &all, &folder);
    process.wait();
    process.output()
}
