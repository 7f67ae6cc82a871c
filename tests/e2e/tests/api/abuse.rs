//! Uploads from people who mean no good: typed errors, nothing left behind, and others served.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::http::Client;
use crate::modules::{and, says, with};
use crate::server::Server;

/// A module that is one bomb or another.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let targets = "0 ".repeat(20_000);
    let ladder = format!("(br_table {targets} (i32.const 0))").repeat(30);
    let empty = |count: usize| {
        // As bytes, because the text of a million functions takes long to parse.
        let leb = |mut number: usize| {
            let mut bytes = Vec::new();
            loop {
                let byte = u8::try_from(number & 0x7f).expect("7 bits");
                number >>= 7;
                bytes.push(if number == 0 { byte } else { byte | 0x80 });
                if number == 0 {
                    return bytes;
                }
            }
        };
        let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len()), content].concat();
        let functions = [leb(count), vec![0; count]].concat();
        let code = [leb(count), [2, 0, 0x0b].repeat(count)].concat();
        let types = section(1, vec![1, 0x60, 0, 0]);
        [b"\0asm\x01\0\0\0".to_vec(), types, section(3, functions), section(10, code)].concat()
    };
    vec![
        ("ladder", and("x", &format!("(func {ladder})")), "module-too-large"),
        (
            "locals",
            and("x", &format!("(func (local {}))", "i64 ".repeat(40_000))),
            "module-too-large",
        ),
        ("functions", empty(1_000_000), "module-too-large"),
        ("truncated", says("x", "y")[..60].to_vec(), "module-malformed"),
        ("script", b"#!/bin/sh\necho no\n".to_vec(), "module-malformed"),
        (
            "program",
            fs::read("/proc/self/exe").expect("a program")[..4_096].to_vec(),
            "module-malformed",
        ),
        ("archive", b"PK\x03\x04 and so on".to_vec(), "module-malformed"),
        ("version", b"\0asm\x63\0\0\0".to_vec(), "module-malformed"),
        ("text", b"(module)".to_vec(), "module-malformed"),
        ("nothing", Vec::new(), "module-malformed"),
        ("entry", wat::parse_str("(module)").expect("a module"), "no-entry"),
        ("import", and("x", r#"(import "env" "launch" (func))"#), "import-not-granted"),
        (
            "store",
            wat::parse_str(r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)))"#)
                .expect("a component"),
            "import-not-granted",
        ),
        (
            "capability",
            with(r#"{"name":"x","capabilities":["http:bank.example"]}"#, "y"),
            "capability-not-granted",
        ),
        ("manifest", with(r#"{"name":"x"},{"name":"x"}"#, "y"), "manifest-invalid"),
        ("threads", and("x", "(memory $shared 1 1 shared)"), "module-invalid"),
    ]
}

/// A module that is just small enough to be compiled: ladders of branch tables, each as deep as wide.
fn nested() -> Vec<u8> {
    let (depth, targets) = (400, (0..400).fold(String::new(), |all, it| format!("{all}{it} ")));
    let ladder = format!("(br_table {targets} (local.get 0))").repeat(2);
    let blocks = "(block ".repeat(depth) + &ladder + &")".repeat(depth);
    and("wide.task", &format!("(func (param i32) {blocks})").repeat(500))
}

/// What the parent may have grown by, whatever was sent to it: KiB.
const MEMORY_KIB: u64 = 48 << 10;

/// What the host has in memory itself, its children aside.
fn memory_kib(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.process.id());
    let text = fs::read_to_string(path).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// The slowest of the answers to somebody else while this is alive.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Duration>>,
}

impl Neighbour {
    fn of(client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut times = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                client.get("/v1/modules").ok();
                times.push(begun.elapsed());
                // Sleeps because a neighbour asks now and then.
                thread::sleep(Duration::from_millis(5));
            }
            times
        });
        Self { stop, thread }
    }

    /// The time that 99 of 100 answers took at most.
    fn p99(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().expect("a neighbour");
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }
}

#[test]
fn bombs_are_refused_by_name_and_remembered_and_nobody_waits() {
    let server = Server::alone();
    let acme = server.tenant("acme");
    let neighbour = Neighbour::of(server.tenant("beta"));
    let before = memory_kib(&server);
    for (name, bytes, code) in bombs() {
        let answer = acme.push(name, &bytes);
        assert_eq!((answer.status, answer.code()), (422, code), "{name}: {}", answer.body);
        let again = acme.push(name, &bytes);
        assert_eq!(again.code(), code);
        let by_itself = code != "capability-not-granted";
        assert_eq!(again.body["remembered"] == true, by_itself, "{name}: {}", again.body);
    }
    let bombs = bombs();
    let import = bombs.iter().find(|(name, ..)| *name == "import").expect("it");
    let import = acme.push("import", &import.1);
    assert!(import.body["detail"].as_str().expect("it").contains("env.launch"), "{}", import.body);
    // What no survey refuses is compiled where time and memory are limited; it may be taken.
    let wide = acme.push("wide", &nested());
    assert!(wide.status == 201 || wide.status == 422 && !wide.code().is_empty(), "{}", wide.body);
    acme.ask("DELETE", "/v1/modules/wide?force=true", None);
    let p99 = neighbour.p99();
    assert!(p99 < Duration::from_millis(100), "a neighbour waited {p99:?}");
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < MEMORY_KIB, "the parent has {grown} KiB more");
    assert_eq!(server.orphans(), Vec::<std::path::PathBuf>::new());
    assert_eq!(acme.get("/v1/modules").ok()["modules"], json!([]));
}

#[test]
fn what_grows_is_cut_and_names_lead_nowhere() {
    let server = Server::configured("[api]\nupload_bytes = '4MiB'\n");
    let acme = server.tenant("acme");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 200 << 20]).expect("zeros");
    let bomb = encoder.finish().expect("a bomb");
    let gzip = [("content-encoding", "gzip")];
    let answer = acme.send("PUT", "/v1/modules/bomb", &bomb, &gzip);
    assert_eq!(answer.status, 413, "{}", answer.body);
    let answer = acme.push("large", &vec![0; 5 << 20]);
    assert_eq!((answer.status, answer.code()), (413, "body-too-large"));
    for name in ["..%2F..%2Fetc", "%2e%2e", "A", "a%2Fb", &"a".repeat(65), "a%00"] {
        let answer = acme.push(name, &says("x", "y"));
        assert_eq!((answer.status, answer.code()), (400, "invalid-name"), "{name}");
    }
    let answer = acme.send("PUT", "/v1/modules/a", b"x", &[("content-encoding", "br")]);
    assert_eq!(answer.code(), "unsupported-encoding");
    assert_eq!(server.orphans(), Vec::<std::path::PathBuf>::new());
    // A module that is honest and compressed is taken.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&says("x", "y")).expect("a module");
    let packed = encoder.finish().expect("a module");
    assert_eq!(acme.send("PUT", "/v1/modules/a", &packed, &gzip).status, 201);
}

/// Begins an upload by hand and sends a part of it.
fn begin(client: &Client, length: usize, part: &[u8]) -> TcpStream {
    let mut stream = client.connect();
    let head = client.head("PUT", "/v1/modules/slow", length) + "\r\n";
    stream.write_all(head.as_bytes()).expect("a head");
    stream.write_all(part).expect("a part");
    stream
}

/// An upload that never stops and hardly comes, until it is cut; the code it is cut with.
fn drip(client: &Client) -> thread::JoinHandle<String> {
    let client = client.clone();
    thread::spawn(move || {
        let mut stream = begin(&client, 1 << 20, b"a little");
        let mut told = stream.try_clone().expect("a connection");
        let reader = thread::spawn(move || {
            let mut answer = String::new();
            // That it is reset behind its answer is no matter.
            let _ = told.read_to_string(&mut answer);
            answer
        });
        while !reader.is_finished() {
            // Sleeps because it is slow on purpose; nobody may listen any more.
            thread::sleep(Duration::from_millis(200));
            let _ = stream.write_all(&[0; 100]);
        }
        let answer = reader.join().expect("an answer");
        let at = answer.find("\"code\":\"").map_or(0, |at| at + 8);
        answer[at..].split('"').next().unwrap_or_default().to_owned()
    })
}

#[test]
fn a_slow_upload_is_cut_and_one_that_breaks_off_leaves_nothing() {
    let server = Server::start();
    let acme = server.tenant("acme");
    drop(begin(&acme, 1 << 20, &[0; 1_000]));
    let begun = Instant::now();
    let dripping = drip(&server.tenant("beta"));
    let mut slow = begin(&acme, 1 << 20, b"a little");
    let mut silent = acme.connect();
    silent.write_all(b"GET /healthz HT").expect("half a head");
    let mut answer = Vec::new();
    while !answer.windows(8).any(|window| window == b"too-slow") {
        let mut chunk = [0; 1_024];
        let read = slow.read(&mut chunk).expect("an answer in time");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
    }
    let mut rest = Vec::new();
    let ended = silent.read_to_end(&mut rest);
    assert!(ended.is_ok() || rest.is_empty(), "a silent connection is closed");
    assert_eq!(dripping.join().expect("a drip"), "too-slow");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(server.public.get("/healthz").status, 200);
    assert_eq!(server.orphans(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn two_hundred_uploads_at_once_leave_the_parent_as_it_was() {
    let server = Server::alone();
    let acme = server.tenant("acme");
    acme.push("first", &says("f.task", "x")).ok();
    let before = memory_kib(&server);
    let neighbour = Neighbour::of(server.tenant("beta"));
    let bytes = Arc::new([b"\0asm\x01\0\0\0".to_vec(), vec![0; 4 << 20]].concat());
    let uploads = (0..200).map(|_| {
        let (acme, bytes) = (acme.clone(), Arc::clone(&bytes));
        thread::spawn(move || acme.push("many", &bytes).status)
    });
    let statuses: Vec<_> =
        uploads.collect::<Vec<_>>().into_iter().map(|it| it.join().expect("an upload")).collect();
    assert!(statuses.iter().all(|status| [422, 429].contains(status)), "{statuses:?}");
    let grown = memory_kib(&server).saturating_sub(before);
    let p99 = neighbour.p99();
    assert!(grown < MEMORY_KIB, "the parent has {grown} KiB more");
    assert!(p99 < Duration::from_millis(100), "a neighbour waited {p99:?}");
    assert_eq!(server.orphans().len(), 1, "{:?}", server.orphans());
}

#[test]
fn more_permissions_need_a_word_and_signatures_a_key() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = hex::encode(key.verifying_key().as_bytes());
    let server = Server::configured(&format!(
        "[tenants.warned]\nsignatures = 'warn'\nsigning_keys = ['{public}']\n\
         [tenants.signed]\nsignatures = 'require'\nsigning_keys = ['{public}']\n\
         [tenants.granted]\ngrants = ['http:*.example']\n"
    ));
    let granted = server.tenant("granted");
    granted.push("shop", &says("s.task", "one")).ok();
    let more = with(r#"{"name":"s.task","capabilities":["http:bank.example"]}"#, "two");
    let refused = granted.push("shop", &more);
    assert_eq!((refused.status, refused.code()), (409, "permissions-changed"));
    assert_eq!(refused.body["changes"], json!(["s.task wants http:bank.example"]));
    granted.push("shop?accept=true", &more).ok();

    let (signed, wasm) = (server.tenant("signed"), says("s.task", "one"));
    assert_eq!(signed.push("shop", &wasm).code(), "signature-missing");
    let sign = |bytes: &[u8]| {
        let message = format!("lovage:module:v1:{}", hex::encode(Sha256::digest(bytes)));
        let signature = hex::encode(key.sign(message.as_bytes()).to_bytes());
        format!("ed25519 {public} {signature}")
    };
    let push = |signature: &str| {
        signed.send("PUT", "/v1/modules/shop", &wasm, &[("lovage-signature", signature)])
    };
    assert_eq!(push(&sign(b"other bytes")).code(), "signature-invalid");
    let taken = push(&sign(&wasm)).ok();
    assert_eq!(taken["versions"][0]["signed_by"], public.as_str());
    // Where signatures only warn, and where nobody asks for one, an upload without is taken.
    server.tenant("warned").push("shop", &wasm).ok();
    server.process.wait_for_line("signature");
    let unsigned = server.tenant("beta").push("shop", &wasm).ok();
    assert!(unsigned["versions"][0]["signed_by"].is_null(), "{unsigned}");
}
