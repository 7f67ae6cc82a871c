//! The same promises over RabbitMQ: real Celery producers, classic and quorum queues, results by reply
//! and in Redis.

use lovage_test_support::{LovageCommand, RabbitServer};
use serde_json::json;

use crate::bed::{Place, together, wait_until};
use crate::calls::judge;
use crate::reference::celery_worker;

/// What works however results come back.
const CASES: [&str; 13] = [
    "add",
    "keywords",
    "failure",
    "no-such-arguments",
    "echo",
    "countdown",
    "time-limit",
    "spinning-time-limit",
    "soft-time-limit",
    "unknown",
    "msgpack",
    "retry",
    "many",
];

fn check(place: &Place, more: &[&str]) {
    let _machine = together();
    let worker = place.worker(&["-c", "8"]);
    for case in CASES.iter().chain(more) {
        println!("{case}");
        judge(case, &place.see(case, &[]));
    }
    assert!(worker.terminate().success(), "the worker ends well");
}

#[test]
fn on_a_classic_queue_results_come_back_as_replies() {
    check(&Place::rabbit("classic", true), &[]);
}

#[test]
fn on_a_quorum_queue_results_are_in_redis() {
    check(&Place::rabbit("quorum", false), &["ignore-result"]);
}

#[test]
fn on_a_classic_queue_results_are_in_a_database_and_everything_else_beside_them() {
    let _machine = together();
    let place = Place::rabbit_beside_a_file();
    let worker = place.worker(&["-c", "4"]);
    for case in ["add", "failure", "countdown", "retry", "many"] {
        println!("{case}");
        judge(case, &place.see(case, &[]));
    }
    assert!(worker.terminate().success(), "the worker ends well");
}

#[test]
fn beside_a_celery_worker_on_a_quorum_queue_every_call_is_done_once_by_either() {
    const CALLS: usize = 400;
    let _machine = together();
    let place = Place::rabbit("quorum", false);
    let celery = celery_worker(&place, &["-c", "2", "--prefetch-multiplier", "1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let sink = folder.path().join("sink");
    let lovage = place.start_worker(&["-c", "2"]).env("LOVAGE_WORKER__EFFECT_SINK", &sink);
    let lovage = lovage.start_until("ready:");
    let ids = place.see("send", &["bench.sleep", "[5]", &CALLS.to_string()]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": CALLS}));
    assert!(lovage.terminate().success());
    let succeeded = |output: &str| output.matches("succeeded in").count();
    wait_until("an idle Celery", || succeeded(&celery.output()) > 0);
    let by_celery = succeeded(&celery.output());
    celery.terminate();
    let runs = std::fs::read_to_string(sink).expect("the sink");
    let by_lovage = runs.lines().filter(|line| line.starts_with("run ")).count();
    assert!((1..CALLS).contains(&by_celery), "Celery did {by_celery} of {CALLS}");
    assert_eq!(by_lovage + by_celery, CALLS, "each is run once");
}

#[test]
fn the_largest_priority_comes_first() {
    let _machine = together();
    let place = Place::rabbit("classic", false);
    let ids = place.script("rabbit.py", &["priorities", "2"]);
    let worker = place.start_worker(&["-c", "1"]).env("LOVAGE_TASK__QUEUE_MAX_PRIORITY", "10");
    let _worker = worker.start_until("ready:");
    let order = place.see("priorities-order", &[&ids.to_string()]);
    assert_eq!(order, json!([9, 9, 6, 6, 3, 3, 0, 0]));
}

#[test]
fn a_limit_that_is_shared_holds_over_two_workers() {
    let _machine = together();
    let place = Place::rabbit("classic", false);
    let start = |name: &str| {
        let worker = place.start_worker(&["-n", name, "-E"]);
        worker.env("LOVAGE_TASK__SHARED_RATES", "pay=4/s bench.add").start_until("ready:")
    };
    let _workers = [start("one@box"), start("two@box")];
    let begun = std::time::Instant::now();
    let ids = place.see("send", &["bench.add", "[1, 1]", "9"]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 9}));
    assert!(begun.elapsed().as_secs_f64() > 1.5, "nine at four a second take two seconds");
}

#[test]
fn the_doctor_says_what_a_queue_is_like_and_when_it_is_otherwise() {
    let _machine = together();
    let place = Place::rabbit("quorum", false);
    place.see("send", &["bench.add", "[1, 2]", "3"]);
    let (broker, backend) = (place.broker(), place.backend());
    let doctor = |queue_type: &str| {
        let urls = ["doctor", "-b", &broker, "--result-backend", &backend];
        let command =
            LovageCommand::new().args(urls).env("LOVAGE_TASK__DEFAULT_QUEUE_TYPE", queue_type);
        command.finish().1
    };
    let well = doctor("quorum");
    assert!(well.contains("queue celery: 3 waiting") && well.contains("quorum queue"), "{well}");
    assert!(well.contains("no alarm") && well.contains("consumer_timeout"), "{well}");
    assert!(doctor("classic").contains("not as configured here"), "{}", doctor("classic"));
}

#[test]
fn the_doctor_asks_the_management_api_for_what_the_protocol_does_not_tell() {
    let _machine = together();
    let (server, api) = RabbitServer::managed();
    let url = server.url();
    let (_, host) = url.rsplit_once('/').expect("a virtual host");
    let policy = r#"{"message-ttl":60000,"dead-letter-exchange":"dead"}"#;
    server.control(&["set_policy", "-p", host, "short", "celery", policy]);
    let store = tempfile::tempdir().expect("a folder");
    let file = format!("db+sqlite:///{}/store.db", store.path().display());
    let run = |command: &str| {
        let urls = [command, "-b", &url, "--result-backend", "rpc://"];
        LovageCommand::new()
            .args(urls)
            .env("LOVAGE_LEDGER_URL", &file)
            .env("LOVAGE_BROKER_API", &api)
            .env("LOVAGE_TASK__DEFAULT_QUEUE_TYPE", "quorum")
    };
    // A worker makes the queue.
    let worker = LovageCommand::worker()
        .args(["-b", &url, "--result-backend", "rpc://"])
        .env("LOVAGE_LEDGER_URL", &file)
        .env("LOVAGE_TASK__DEFAULT_QUEUE_TYPE", "quorum");
    assert!(worker.start_until("ready:").terminate().success());
    let mut told = String::new();
    wait_until("the policy", || {
        told = run("doctor").finish().1;
        told.contains("policy short")
    });
    for expected in [
        "by its management API",
        "queue celery is a quorum queue, policy short, dead letters to exchange \"dead\"",
        "queue celery drops calls by message-ttl = 60000",
        "no alarm",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(told.contains("rabbitmq 3.") || told.contains("rabbitmq 4."), "{told}");
    assert!(!told.contains("fail  broker"), "{told}");
    server.control(&["set_vm_memory_high_watermark", "0.000001"]);
    wait_until("the alarm", || {
        told = run("doctor").finish().1;
        told.contains("has run out of memory") && told.contains("an alarm keeps publishers waiting")
    });
}
