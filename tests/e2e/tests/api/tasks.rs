//! Calls over HTTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::thread;

use lovage_test_support::paths;
use serde_json::{Value, json};

use crate::modules::{says, with};
use crate::server::Server;

#[test]
fn a_key_is_one_call_whoever_sends_it_at_once() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.push("one", &says("one.task", "done")).ok();
    let senders = (0..20).map(|_| {
        let acme = acme.clone();
        thread::spawn(move || {
            let body = json!({ "task": "one.task" }).to_string();
            let headers = [("idempotency-key", "order-1")];
            let answer = acme.send("POST", "/v1/tasks?wait=30", body.as_bytes(), &headers);
            (answer.replayed, answer.ok())
        })
    });
    let answers: Vec<_> =
        senders.collect::<Vec<_>>().into_iter().map(|it| it.join().expect("it")).collect();
    assert_eq!(answers.iter().filter(|(replayed, _)| !replayed).count(), 1);
    for (_, view) in &answers {
        assert_eq!((&view["id"], &view["result"]), (&answers[0].1["id"], &json!("done")));
    }
    let other = json!({ "task": "other.task" }).to_string();
    let headers = [("idempotency-key", "order-1")];
    let answer = acme.send("POST", "/v1/tasks", other.as_bytes(), &headers);
    assert_eq!((answer.status, answer.code()), (422, "idempotency-mismatch"));
    let list = acme.get("/v1/tasks?task=one.task&state=SUCCESS").ok();
    assert_eq!(list["tasks"].as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn a_list_has_pages_and_a_task_a_schema() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let schema = r#"{"name":"s.task","input_schema":{"type":"object","properties":{"x":{}}}}"#;
    acme.push("s", &with(schema, "x")).ok();
    for _ in 0..5 {
        acme.post("/v1/tasks?wait=30", &json!({ "task": "s.task" })).ok();
    }
    let first = acme.get("/v1/tasks?limit=3").ok();
    let cursor = first["next"].as_str().expect("more");
    let second = acme.get(&format!("/v1/tasks?limit=3&cursor={cursor}")).ok();
    let count = |page: &serde_json::Value| page["tasks"].as_array().map_or(0, Vec::len);
    assert_eq!((count(&first), count(&second)), (3, 2));
    let schema = acme.get("/v1/tasks/s.task/schema").ok();
    assert_eq!(schema["input_schema"]["type"], "object");
    assert_eq!(acme.get("/v1/tasks/no.task/schema").status, 404);
    let beta = server.tenant("beta");
    assert_eq!(beta.get("/v1/tasks/s.task/schema").status, 404, "it is not beta's task");
    assert_eq!(beta.get("/v1/tasks").ok()["tasks"], json!([]));
}

#[test]
fn events_tell_a_tenant_of_its_own_calls() {
    let server = Server::start();
    let (acme, beta) = (server.tenant("acme"), server.tenant("beta"));
    acme.push("e", &says("e.task", "x")).ok();
    beta.push("e", &says("e.task", "x")).ok();
    let mut stream = acme.connect();
    let head = acme.head("GET", "/v1/events", 0) + "\r\n";
    stream.write_all(head.as_bytes()).expect("a request");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    assert!(lines.next().expect("a status").contains("200"));
    beta.post("/v1/tasks?wait=30", &json!({ "task": "e.task" })).ok();
    let own = acme.post("/v1/tasks?wait=30", &json!({ "task": "e.task" })).ok();
    let data = lines.find(|line| line.starts_with("data:")).expect("an event");
    assert!(data.contains(own["id"].as_str().expect("an id")), "{data}");
    assert!(data.contains("SUCCESS"), "{data}");
}

/// A call that is cancelled before it begins never does, and one that runs is ended.
fn cancelled(server: &Server) {
    let acme = server.tenant("acme");
    let wasm = std::fs::read(paths::guest("bench")).expect("a module");
    acme.push("bench", &wasm).ok();
    let ended = |id: &str| acme.get(&format!("/v1/tasks/{id}?wait=30")).ok();
    let cancel = |id: &str, terminate: bool| {
        let path = format!("/v1/tasks/{id}/cancel");
        let answer = acme.post(&path, &json!({ "terminate": terminate }));
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    let waiting = json!({ "task": "bench.add", "args": [1, 2], "countdown": 5 });
    let waiting = acme.post("/v1/tasks", &waiting).ok();
    let running = json!({ "task": "bench.sleep", "args": [20_000] });
    let running = acme.post("/v1/tasks", &running).ok();
    let id = |view: &Value| view["id"].as_str().expect("an id").to_owned();
    cancel(&id(&waiting), false);
    cancel(&id(&running), true);
    for call in [&running, &waiting] {
        let view = ended(&id(call));
        assert_eq!(view["state"], "REVOKED", "{view}");
        assert_eq!(
            acme.post(&format!("/v1/tasks/{}/cancel", id(call)), &json!({})).code(),
            "task-over"
        );
    }
}

#[test]
fn a_cancelled_call_ends_on_redis() {
    cancelled(&Server::on_redis());
}

#[test]
fn a_cancelled_call_ends_in_a_file() {
    cancelled(&Server::start());
}
