//! Requests of tasks to a real server on this machine: who may make which, and what they meet.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use lovage_test_support::{LovageCommand, paths};
use serde_json::{Value, json};

use crate::bed::{Place, together, wait_until};

/// What a server heard of one request.
#[derive(Debug, Clone)]
struct Heard {
    path: String,
    key: Option<String>,
    body: String,
}

/// A server in threads of the test.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    hung_up: Arc<Mutex<u32>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = Self { port, heard: Arc::default(), hung_up: Arc::default() };
        let (heard, hung_up) = (Arc::clone(&server.heard), Arc::clone(&server.hung_up));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, hung_up) = (Arc::clone(&heard), Arc::clone(&hung_up));
                // Whoever has heard enough hangs up, which is no failure of this server.
                std::thread::spawn(move || serve(stream, &heard, &hung_up).ok());
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn heard(&self) -> Vec<Heard> {
        locked(&self.heard).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Heard>>, hung_up: &Mutex<u32>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut key) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name {
            "content-length" => length = value.parse().unwrap_or(0),
            "idempotency-key" => key = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let heard = Heard { path: path.clone(), key, body };
    let before = {
        let mut all = locked(all);
        all.push(heard.clone());
        all.iter().filter(|other| other.path == path && other.body == heard.body).count() - 1
    };
    answer(stream, &heard, before, hung_up)
}

/// What each path stands for. `before` is how often the same was asked before.
fn answer(mut to: TcpStream, heard: &Heard, before: usize, hung_up: &Mutex<u32>) -> io::Result<()> {
    let plain = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let text = match heard.path.as_str() {
        "/redirect" => "HTTP/1.1 302 Found\r\nlocation: /echo\r\ncontent-length: 0\r\n\r\n".into(),
        "/large" => plain("200 OK", &"x".repeat((8 << 20) + 1)),
        "/whole" => plain("200 OK", &"x".repeat(8 << 20)),
        "/silent" => {
            // Nothing comes until the other end is closed.
            let more = to.read(&mut [0])?;
            *locked(hung_up) += u32::from(more == 0);
            return Ok(());
        }
        "/door" if before < 2 && heard.body.starts_with('"') => plain("503 Unavailable", ""),
        _ => plain("200 OK", &heard.body),
    };
    to.write_all(text.as_bytes())
}

/// A worker with the courier's module, which may send where its configuration says.
fn courier(place: &Place, configuration: &[(&str, &str)]) -> LovageCommand {
    let urls = ["-b", &place.broker(), "--result-backend", &place.backend(), "-l", "info"];
    let worker = LovageCommand::new().arg("worker").args(urls);
    let worker = worker.arg("--modules").arg(paths::guests().join("granted"));
    configuration.iter().fold(worker, |worker, (key, value)| worker.env(key, value))
}

const GRANTED: [(&str, &str); 2] = [
    ("LOVAGE_HTTP__ALLOW", "127.0.0.1:*,localhost:*,[::1]:*"),
    ("LOVAGE_HTTP__NETWORKS", "127.0.0.1"),
];

fn call(place: &Place, task: &str, arguments: &Value) -> Value {
    place.see("call", &[task, &arguments.to_string()])
}

#[test]
fn a_granted_host_is_asked_and_a_redirect_is_an_answer() {
    let _machine = together();
    let (place, server) = (Place::redis(), Server::start());
    let worker = courier(&place, &GRANTED).start_until("ready:");
    let send = |arguments: Value| call(&place, "courier.send", &arguments);
    let seen = send(json!(["PUT", server.url("/echo?a=b"), "nice to meet you"]));
    let expected = json!({"status": 200, "location": null, "body": "nice to meet you"});
    assert_eq!(seen["value"], expected, "{seen}");
    assert_eq!(server.heard()[0].path, "/echo?a=b");
    assert_eq!(server.heard()[0].key, None, "what may be repeated needs no key");
    let seen = send(json!(["GET", server.url("/redirect")]));
    assert_eq!(seen["value"], json!({"status": 302, "location": "/echo", "body": ""}), "{seen}");
    let large = "é".repeat(50_000);
    let seen = send(json!(["POST", server.url("/echo"), large]));
    assert_eq!(seen["value"]["body"], large);
    let seen = call(&place, "courier.flood", &json!([server.url("/whole"), 1]));
    assert_eq!(seen["value"], 1, "eight mebibytes are not too many: {seen}");
    assert_eq!(server.heard().len(), 4, "nothing was followed, nothing sent twice");
    assert!(worker.terminate().success());
}

#[test]
fn what_is_not_granted_or_not_sent_is_rejected() {
    let _machine = together();
    let (place, server) = (Place::redis(), Server::start());
    let port = server.port;
    let worker =
        courier(&place, &GRANTED).env("LOVAGE_HTTP__REQUEST_BYTES", "4KB").start_until("ready:");
    let ends = |arguments: Value| {
        let seen = call(&place, "courier.send", &arguments);
        let raised = seen["raised"].as_str().unwrap_or_default();
        raised.rsplit('.').next().unwrap_or_default().to_owned()
    };
    for (url, what) in [
        ("http://other.example/".to_owned(), "a host that the task does not ask for"),
        ("http://169.254.169.254/latest/meta-data/".into(), "an address likewise"),
        (format!("http://[::1]:{port}/"), "a host that is granted, at an address that is not"),
    ] {
        assert_eq!(ends(json!(["GET", url])), "Denied", "{what}");
    }
    for header in ["Host", "Transfer-Encoding", "Connection", "Upgrade"] {
        let seen = ends(json!(["POST", server.url("/echo"), "x", [header, "other.example"]]));
        assert_eq!(seen, "InvalidCall", "{header}");
    }
    let split = ["x-a", "b\r\nx-c: d"];
    assert_eq!(ends(json!(["GET", server.url("/echo"), null, split])), "InvalidCall");
    assert_eq!(ends(json!(["GET", format!("http://user@127.0.0.1:{port}/")])), "InvalidCall");
    let body = |bytes| json!(["POST", server.url("/echo"), "x".repeat(bytes)]);
    assert_eq!((ends(body(4_000)).as_str(), ends(body(4_001)).as_str()), ("", "LimitExceeded"));
    assert_eq!(ends(json!(["GET", server.url("/large")])), "LimitExceeded");
    let heard: Vec<_> = server.heard().into_iter().map(|heard| heard.path).collect();
    assert_eq!(heard, ["/echo", "/large"]);
    assert!(worker.terminate().success());
}

#[test]
fn a_module_that_wants_what_nobody_grants_is_left_out() {
    let _machine = together();
    let place = Place::redis();
    let worker = courier(&place, &[("LOVAGE_HTTP__ALLOW", "127.0.0.1")]).start();
    let line = worker.wait_for_line("Left out a module");
    assert!(line.contains("wasi:http/outgoing-handler") && line.contains("127.0.0.1:*"), "{line}");
    worker.wait_for_line("ready:");
    assert!(worker.terminate().success());
}

#[test]
fn requests_are_counted_and_a_server_that_is_silent_is_left_in_time() {
    let _machine = together();
    let (place, server) = (Place::redis(), Server::start());
    let worker = courier(&place, &GRANTED).env("LOVAGE_HTTP__TIMEOUT", "0.5").start_until("ready:");
    let seen = call(&place, "courier.flood", &json!([server.url("/echo"), 40]));
    assert_eq!((&seen["value"], server.heard().len()), (&json!(32), 32), "{seen}");
    let seen = call(&place, "courier.send", &json!(["GET", server.url("/silent")]));
    assert_eq!(seen["raised"], "builtins.TimeoutError", "{seen}");
    wait_until("the end of the connection", || *locked(&server.hung_up) == 1);
    assert!(worker.terminate().success());
}

#[test]
fn a_call_that_is_ended_hangs_up() {
    let _machine = together();
    let (place, server) = (Place::redis(), Server::start());
    let worker = courier(&place, &GRANTED).args(["--time-limit", "0.5"]).start_until("ready:");
    let seen = call(&place, "courier.send", &json!(["GET", server.url("/silent")]));
    let raised = seen["raised"].as_str().unwrap_or_default();
    assert!(raised.ends_with("TimeLimitExceeded"), "{seen}");
    wait_until("the end of the connection", || *locked(&server.hung_up) == 1);
    assert!(worker.terminate().success());
}

/// The keys that a server heard for a body, in order.
fn keys(server: &Server, begins: &str) -> Vec<String> {
    let heard = server.heard().into_iter().filter(|heard| heard.body.starts_with(begins));
    heard.map(|heard| heard.key.expect("a key")).collect()
}

#[test]
fn every_attempt_sends_the_same_key() {
    let _machine = together();
    let (place, server) = (Place::redis(), Server::start());
    let worker = courier(&place, &GRANTED).start_until("ready:");
    let seen = call(&place, "courier.deliver", &json!([server.url("/door"), "a note"]));
    assert_eq!(seen["value"], 200, "{seen}");
    let (rings, notes) = (keys(&server, "ring"), keys(&server, "\"a note\""));
    assert_eq!((rings.len(), notes.len()), (3, 3), "two attempts found nobody");
    assert!(rings.iter().all(|key| *key == rings[0]) && notes.iter().all(|key| *key == notes[0]));
    assert!(rings[0] != notes[0] && notes[0].starts_with("lv1-") && notes[0].len() == 30);
    let seen = call(&place, "courier.deliver", &json!([server.url("/door"), "a note"]));
    assert_eq!(seen["value"], 200, "{seen}");
    assert_ne!(
        keys(&server, "\"a note\"").last(),
        Some(&notes[0]),
        "another call's key is another"
    );
    assert!(worker.terminate().success());
}

#[test]
fn a_worker_that_dies_behind_a_request_sends_it_again_with_its_key() {
    let _machine = together();
    let (place, server) = (Place::redis(), Server::start());
    let configuration = [&GRANTED[..], &[("LOVAGE_WORKER__LEASE", "3")]].concat();
    let mut dying = courier(&place, &configuration)
        .env("LOVAGE_WORKER__FAILPOINT", "guest_returned:1")
        .start_until("ready:");
    let arguments = json!(["POST", server.url("/echo"), "once"]);
    let ids = place.see("send", &["courier.send", &arguments.to_string(), "1"]);
    dying.wait();
    assert_eq!(keys(&server, "once").len(), 1, "it was sent, and nobody was told");
    let worker = courier(&place, &configuration).start_until("ready:");
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 1}));
    let keys = keys(&server, "once");
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    assert!(worker.terminate().success());
}
