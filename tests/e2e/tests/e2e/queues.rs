//! RabbitMQ's queues of every kind, as Celery's producers and operators have them.

use std::fs;

use lovage_test_support::{LovageCommand, Process, RabbitServer, paths};
use serde_json::{Value, json};

use crate::bed::{Place, QUEUE, json as printed, script, together, wait_until};
use crate::calls::judge;
use crate::crashes::Sink;

/// A worker on the queue of every test and on one that is bound to a topic exchange.
fn worker(place: &Place) -> Process {
    let kind = if place.is_quorum() { "x-queue-type=quorum" } else { "" };
    let queues = format!("video exchange=media type=topic key=video.# {kind}");
    let priority = if place.is_quorum() { "0" } else { "10" };
    let (broker, backend) = (place.broker(), place.backend());
    let both = format!("{QUEUE},video");
    let urls = ["-b", &broker, "--result-backend", &backend, "-Q", &both];
    place
        .with_store(LovageCommand::worker().args(urls))
        .env("LOVAGE_TASK__QUEUES", queues.trim_end())
        .env("LOVAGE_TASK__QUEUE_MAX_PRIORITY", priority)
        .start_until("ready:")
}

/// Every kind of call of Celery's producers, to this place.
fn every_call_has_its_result(place: &Place) {
    let _machine = together();
    let _worker = worker(place);
    assert_eq!(place.script("rabbit.py", &["topic", "video.new"]), json!({"value": 5}));
    if place.is_quorum() {
        judge("add", &place.see("add", &[]));
        judge("countdown", &place.see("countdown", &[]));
        let seen = place.script("rabbit.py", &["delayed", "video.old", "2"]);
        assert_eq!((&seen["value"], &seen["rested"]), (&json!(5), &json!(1)), "{seen}");
        let seconds = seen["seconds"].as_f64().expect("a number");
        assert!((2.0..10.0).contains(&seconds), "{seen}");
    } else {
        let seen = place.script("rabbit.py", &["priority", "0", "9", "3"]);
        assert_eq!(seen, json!({"values": [0, 9, 3], "late": 7}));
    }
}

#[test]
fn to_classic_queues_every_call_has_its_result_by_reply() {
    every_call_has_its_result(&Place::rabbit("classic", true));
}

#[test]
fn to_classic_queues_every_call_has_its_result_in_redis() {
    every_call_has_its_result(&Place::rabbit_beside_one("classic"));
}

#[test]
fn to_quorum_queues_every_call_has_its_result_by_reply() {
    every_call_has_its_result(&Place::rabbit("quorum", true));
}

#[test]
fn to_quorum_queues_every_call_has_its_result_in_redis() {
    every_call_has_its_result(&Place::rabbit_beside_one("quorum"));
}

#[test]
fn what_a_dead_worker_had_comes_before_what_waits() {
    const WAITING: usize = 100;
    let _machine = together();
    let (place, sink) = (Place::rabbit_beside_one("classic"), Sink::new());
    let alone = ["-c", "1", "--executors", "1"];
    let dies = sink.worker(&place, &alone).start_until("ready:");
    let held = place.see("send", &["bench.sleep", "[1500]", "1"]);
    wait_until("a run", || sink.seen().runs == 1);
    let waiting = place.see("send", &["bench.sleep", "[50]", &WAITING.to_string()]);
    let _other = sink.worker(&place, &alone).start_until("ready:");
    wait_until("another run", || sink.seen().runs > 1);
    dies.kill();
    let mut ids = serde_json::Map::new();
    for (calls, mark) in [(&held, 1), (&waiting, 0)] {
        let calls = calls.as_array().expect("a list").iter().filter_map(Value::as_str);
        ids.extend(calls.map(|id| (id.to_owned(), json!(mark))));
    }
    let order = place.see("priorities-order", &[&Value::Object(ids).to_string()]);
    let order = order.as_array().expect("a list");
    let place_of_it = order.iter().position(|mark| *mark == 1).expect("its result");
    assert!(place_of_it < WAITING * 9 / 10, "{place_of_it} of {WAITING}");
}

#[test]
fn dead_letters_go_where_celerys_users_have_them_go() {
    let _machine = together();
    for kind in ["classic", "quorum"] {
        let place = Place::rabbit_beside_one(kind);
        let declared = place.script("rabbit.py", &["letterbox", kind]);
        assert_eq!(declared, json!({"declared": "mail"}));
        let queues = format!(
            "mail x-queue-type={kind} x-dead-letter-exchange=dead x-dead-letter-routing-key=letters"
        );
        let (broker, backend) = (place.broker(), place.backend());
        let urls = ["-b", &broker, "--result-backend", &backend, "-Q", "mail"];
        let worker = place
            .with_store(LovageCommand::worker().args(urls))
            .env("LOVAGE_TASK__QUEUES", &queues)
            .env("LOVAGE_BROKER_TRANSPORT_OPTIONS__DEAD_LETTERS", "exchange");
        let _worker = worker.start_until("ready:");
        let letter = place.script("rabbit.py", &["letter", kind]);
        let expected = json!({"task": "no.such.task", "reason": "rejected", "queue": "mail"});
        assert_eq!(letter, expected);
    }
}

#[test]
fn with_the_management_api_a_queue_that_fits_a_tenants_pattern_is_found() {
    let _machine = together();
    let (server, api) = RabbitServer::managed();
    let (url, folder) = (server.url(), tempfile::tempdir().expect("a folder"));
    let modules = folder.path().join("modules");
    fs::create_dir_all(modules.join("loud")).expect("a folder");
    let module = paths::guests().join("bench.wasm");
    std::os::unix::fs::symlink(module, modules.join("loud/bench.wasm")).expect("a link");
    let config = "[tenants.loud]\nqueues = [\"loud.*\"]\n";
    fs::write(folder.path().join("lovage.toml"), config).expect("a file");
    let _worker = LovageCommand::new()
        .args(["worker", "-b", &url, "--result-backend", "rpc://"])
        .args(["--modules", &modules.display().to_string(), "-c", "4"])
        .folder(folder.path())
        .env("LOVAGE_LEDGER_URL", format!("db+sqlite:///{}/store.db", folder.path().display()))
        .env("LOVAGE_BROKER_API", &api)
        .start_until("ready:");
    let mut call = script("rabbit.py", &[&url, "rpc://", "to-queue", "loud.fresh"]);
    let answer = printed(&call.output().expect("a Python"), "rabbit.py");
    assert_eq!(answer, json!({"value": 5}));
}
