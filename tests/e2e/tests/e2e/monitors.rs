//! What monitors see: Celery's events, Flower, Prometheus.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lovage_test_support::{LovageCommand, free_port, paths, python};
use serde_json::{Map, Value, json};

use crate::bed::{Place, together, wait_until};

/// Recorded events that this worker does not send, each with the reason.
const EXCUSED: [(&str, &str); 6] = [
    ("worker-online", "it is made like the heartbeat; that it is sent is another test"),
    ("worker-offline", "the same"),
    ("task-sent", "producers send it"),
    ("task-checkpoint", "a guest has no way to send events of its own"),
    ("task-rejected", "only of tasks that raise Celery's Reject"),
    ("task-cancelled", "only when a worker gives back what runs, as it ends"),
];

#[test]
fn every_event_has_the_fields_that_celerys_have_and_goes_where_they_go() {
    let _machine = together();
    let place = Place::redis();
    let worker = place.start_worker(&["-n", "w1@box", "-E"]);
    let worker = worker.start_until("ready:");
    let folder = paths::repository().join("tests/vectors");
    let told = place.script("watch.py", &["event-vectors", folder.to_str().expect("a path")]);
    assert_eq!(told["rising"], true, "the clock ticks");
    for (kind, recorded) in told["recorded"].as_object().expect("recordings") {
        if EXCUSED.iter().any(|(excused, _)| excused == kind) {
            continue;
        }
        let seen = &told["seen"][kind];
        let fields = |of: &Value| of["fields"].as_object().expect("fields").clone();
        let (seen_fields, recorded_fields) = (fields(seen), fields(recorded));
        let names = |of: &Map<String, Value>| of.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&seen_fields), names(&recorded_fields), "{kind}");
        for (name, expected) in &recorded_fields {
            let pair = [expected.as_str().unwrap_or(""), seen_fields[name].as_str().unwrap_or("")];
            // Numbers are one kind, and null is what is not set.
            let is_like =
                pair[0] == pair[1] || pair.contains(&"NoneType") || pair == ["float", "int"];
            assert!(is_like, "{kind}.{name}: {pair:?}");
        }
        for what in ["channel", "envelope", "listed"] {
            assert_eq!(seen[what], recorded[what], "{kind} {what}");
        }
        assert_eq!(seen["headers"], json!({"hostname": "w1@box"}), "{kind}");
    }
    let failed = &told["seen"]["task-failed"]["event"]["exception"];
    assert_eq!(failed, "ValueError('boom')");
    assert!(worker.terminate().success());
}

#[test]
fn a_worker_says_that_it_comes_and_that_it_goes() {
    let _machine = together();
    let place = Place::redis();
    let client = redis::Client::open(place.broker()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let mut heard = connection.as_pubsub();
    heard.psubscribe("/0.celeryev/*").expect("a subscription");
    heard.set_read_timeout(Some(lovage_test_support::PATIENCE)).expect("a time");
    let mut next = || heard.get_message().expect("an event").get_channel_name().to_owned();
    let worker = place.worker(&["-n", "w1@box"]);
    assert_eq!(next(), "/0.celeryev/worker.online");
    assert_eq!(next(), "/0.celeryev/worker.heartbeat");
    assert_eq!(place.see("add", &[])["value"], 5);
    assert!(worker.terminate().success());
    let rest: Vec<_> =
        std::iter::repeat_with(next).take_while(|it| !it.ends_with("offline")).collect();
    assert!(rest.iter().all(|it| it.ends_with("heartbeat")), "without -E nothing else: {rest:?}");
}

#[test]
fn celerys_receiver_follows_workers_and_tasks() {
    receiver_follows(&Place::redis());
}

#[test]
fn over_rabbitmq_celerys_receiver_follows_workers_and_tasks() {
    receiver_follows(&Place::rabbit("classic", false));
}

fn receiver_follows(place: &Place) {
    let _machine = together();
    let _worker = place.worker(&["-n", "w1@box", "-E"]);
    let seen = place.script("watch.py", &["receiver"]);
    assert_eq!(
        seen,
        json!({"state": "SUCCESS", "name": "bench.add", "result": "5", "args": "[2, 3]",
            "worker": "w1@box", "alive": true, "ident": "lovage"})
    );
}

#[test]
fn flower_shows_workers_and_tasks_and_its_buttons_work() {
    flower_shows(&Place::redis());
}

#[test]
fn over_rabbitmq_flower_shows_workers_and_tasks_and_its_buttons_work() {
    flower_shows(&Place::rabbit("classic", false));
}

fn flower_shows(place: &Place) {
    let _machine = together();
    let _worker = place.worker(&["-n", "w1@box", "-E", "-c", "8"]);
    let port = free_port().to_string();
    let command = "import sys; from celery.__main__ import main; sys.argv[0] = 'celery'; main()";
    let port_option = format!("--port={port}");
    let listen = ["--address=127.0.0.1", &port_option];
    let (broker, backend) = (place.broker(), place.backend());
    let app = ["-A", "bed.reference", "-b", &broker];
    let urls = [&app[..], &["--result-backend", &backend, "flower"]].concat();
    let tests = paths::repository().join("tests");
    let tests = tests.to_str().expect("a path");
    let open = [("FLOWER_UNAUTHENTICATED_API", "true"), ("PYTHONPATH", tests)];
    let flower = python::start(command, &[&urls[..], &listen].concat(), &open);
    let seen = place.script("watch.py", &["flower", &format!("http://127.0.0.1:{port}"), "w1@box"]);
    assert_eq!(seen["queues"], json!(["celery"]), "{seen}");
    assert_eq!(seen["before"], json!({"good": "SUCCESS", "bad": "FAILURE", "spin": "STARTED"}));
    assert_eq!(seen["after"]["spin"], "REVOKED");
    assert_eq!(seen["limited"], json!(["bench.add [rate_limit=7/m]"]), "{}", seen["limit"]);
    assert_eq!(
        (&seen["info"]["name"], &seen["info"]["result"]),
        (&json!("bench.add"), &json!("5"))
    );
    drop(flower);
}

#[test]
fn a_rate_limit_holds_on_a_worker_and_a_shared_one_over_two() {
    let _machine = together();
    let place = Place::redis();
    let shared = ["LOVAGE_TASK__SHARED_RATES", "pay=4/s bench.add"];
    let start = |name: &str| {
        let worker = place.start_worker(&["-n", name, "-E"]).env(shared[0], shared[1]);
        worker.start_until("ready:")
    };
    let one = start("one@box");
    place.script(
        "watch.py",
        &["command", "rate_limit", r#"{"task_name": "bench.echo", "rate_limit": "2/s"}"#],
    );
    let times = |task: &str, count: &str| -> Vec<f64> {
        let times = place.script("watch.py", &["started", task, count]);
        times.as_array().expect("times").iter().filter_map(Value::as_f64).collect()
    };
    let own = times("bench.echo", "4");
    assert!(own.windows(2).all(|pair| pair[1] - pair[0] > 0.45), "{own:?}");
    assert!(own[3] < 3.0, "and not much later: {own:?}");
    let _two = start("two@box");
    let both = times("bench.sha", "4");
    assert!(both[3] < 1.0, "a task without a limit has none: {both:?}");
    let ids = place.see("send", &["bench.add", "[1, 1]", "9"]);
    let begun = std::time::Instant::now();
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 9}));
    assert!(begun.elapsed().as_secs_f64() > 1.0, "nine at four a second take two seconds");
    assert!(one.terminate().success());
}

/// What a path of the metrics' address answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn the_metrics_have_the_exporters_series_and_ours() {
    let _machine = together();
    let place = Place::redis();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let _worker = LovageCommand::worker()
        .args(["-b", &place.broker(), "--result-backend", &place.backend(), "-n", "w1@box"])
        .env("LOVAGE_METRICS__LISTEN", &listen)
        .start_until("ready:");
    wait_until("the address", || get(port, "/healthz").is_some_and(|it| it.contains("ok")));
    assert!(get(port, "/readyz").expect("an answer").contains("200 OK"));
    assert_eq!(place.see("add", &[])["value"], 5);
    place.see("failure", &[]);
    place.see("unknown", &[]);
    place.see("retry", &[]);
    let text = get(port, "/metrics").expect("metrics");
    let recorded =
        std::fs::read_to_string(paths::repository().join("tests/vectors/tool-exporter.json"));
    let recorded: Value = serde_json::from_str(&recorded.expect("a recording")).expect("JSON");
    let recorded = recorded["metrics"].as_str().expect("text");
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    let labels = |line: &str| {
        let inside =
            line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).unwrap_or_default().0;
        let mut names: Vec<_> = inside
            .split(',')
            .filter_map(|it| it.split_once('='))
            .map(|it| it.0.to_owned())
            .collect();
        names.sort_unstable();
        names
    };
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let ours = text.lines().find(|ours| name(ours) == name(line));
        let ours = ours.unwrap_or_else(|| panic!("{} is missing:\n{text}", name(line)));
        assert_eq!(labels(ours), labels(line), "{ours}");
    }
    let retried = "celery_task_retried_total{";
    let retries: Vec<_> = text.lines().filter(|line| line.starts_with(retried)).collect();
    let sent: Vec<_> = retries.iter().map(|line| line.replacen("retried", "sent", 1)).collect();
    for line in &sent {
        assert!(text.contains(line.as_str()), "this worker sent its retries, and no more: {line}");
    }
    assert!(retries.iter().any(|line| !line.ends_with(" 0")), "{retries:?}");
    for series in [
        "celery_task_succeeded_total{name=\"bench.add\",hostname=\"box\",queue_name=\"celery\"} 1",
        "celery_task_failed_total{name=\"demo.fail\",hostname=\"box\",queue_name=\"celery\",exception=\"ValueError\"} 1",
        "celery_task_failed_total{name=\"unknown\",hostname=\"box\",queue_name=\"celery\",exception=\"NotRegistered\"} 1",
        "celery_worker_up{hostname=\"box\"} 1",
        "celery_task_queue_wait_time_count{name=\"bench.add\",hostname=\"box\",queue_name=\"celery\"} 1",
        "celery_active_consumer_count{queue_name=\"celery\"} 1",
        "lovage_task_attempts_total{tenant=\"default\",task=\"bench.add\",outcome=\"succeeded\"} 1",
        "lovage_task_fuel_total{task=\"bench.add\"}",
        "lovage_dlq_messages{tenant=\"default\"}",
        "lovage_build_info{version=",
    ] {
        assert!(text.contains(series), "{series}:\n{text}");
    }
}
