//! The README's way through uploading, word for word as far as a test can: the command line, `curl`
//! and a Celery producer.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lovage_test_support::{LovageCommand, Process, paths};
use serde_json::{Value, json};

use crate::modules::{says, with};
use crate::server::Server;

/// Somebody at a terminal, in the folder where the host was started.
struct Terminal<'a> {
    server: &'a Server,
    token: String,
}

impl Terminal<'_> {
    /// What a command exits with, and what it prints.
    fn try_to(&self, command: &str) -> (Option<i32>, String) {
        let is_of_admins = ["tokens", "tenants", "audit"].iter().any(|it| command.starts_with(it));
        let url = if is_of_admins { &self.server.admin.url } else { &self.server.public.url };
        let mut lovage = LovageCommand::new().folder(self.server.folder.path());
        lovage = lovage.args(command.split(' ')).args(["--url", url]);
        if !is_of_admins {
            lovage = lovage.args(["--token", &self.token]);
        }
        lovage.finish()
    }

    /// What a command prints that must go well.
    fn run(&self, command: &str) -> String {
        let (code, output) = self.try_to(command);
        assert_eq!(code, Some(0), "lovage {command}: {output}");
        output
    }

    /// A module in a file of this name.
    fn write(&self, name: &str, wasm: &[u8]) {
        fs::write(self.server.folder.path().join(name), wasm).expect("a module");
    }
}

/// What `curl` is told.
fn curl(server: &Server, token: &str, call: &Value) -> Value {
    let mut command = Command::new("curl");
    command.args(["-sS", "-H", &format!("Authorization: Bearer {token}")]);
    command.arg(format!("{}/v1/tasks?wait=10", server.public.url));
    command.args(["-d", &call.to_string()]);
    let output = command.output().expect("curl");
    serde_json::from_slice(&output.stdout).expect("an answer in JSON")
}

#[test]
fn a_new_user_serves_pushes_calls_and_goes_back() {
    let server = Server::start();
    let mut terminal = Terminal { server: &server, token: String::new() };
    terminal.token = terminal.run("tokens new --tenant acme").trim().to_owned();
    let example = paths::guest("bench");
    let pushed = terminal.run(&format!("push {} --json", example.display()));
    let pushed: Value = serde_json::from_str(&pushed).expect("JSON");
    let call = json!({ "task": "bench.add", "args": [2, 3] });
    assert_eq!(curl(&server, &terminal.token, &call)["result"], 5);
    assert_eq!(terminal.run("call bench.add --args [2,3]").trim(), "5");

    let (broker, backend) = server.urls();
    let script = "import sys; from celery import Celery; b, r = sys.argv[1:]; \
        print('celery:', Celery(broker=b, backend=r).send_task('bench.add', (2, 3), \
        queue='acme.default').get(timeout=30))";
    let mut celery = Command::new(paths::python());
    celery.args(["-c", script, &broker, &backend]);
    assert_eq!(Process::start(celery).wait_for_line("celery:"), "celery: 5");

    terminal.write("new.wasm", &says("bench.add", "new"));
    let tried = terminal.run("push new.wasm --name bench --canary 10");
    assert!(tried.contains("canary") && tried.contains("10 %"), "{tried}");
    assert!(terminal.run("modules diff bench canary").contains("- bench.sleep"));
    assert!(terminal.run("modules ls").contains("2 versions"));
    terminal.run("modules promote bench");
    assert_eq!(curl(&server, &terminal.token, &call)["result"], "new");
    assert!(terminal.run("modules show bench").contains("live"));
    terminal.run("modules rollback bench");
    assert_eq!(curl(&server, &terminal.token, &call)["result"], 5);

    // Removed only when unused.
    let live = pushed["live"].as_str().expect("a digest");
    let (code, output) = terminal.try_to(&format!("modules rm bench {live}"));
    assert!(code == Some(2) && output.contains("version-in-use"), "{output}");
    terminal.run("modules canary bench 0");
    let shown = terminal.run("modules show bench --json");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let versions = shown["versions"].as_array().expect("versions");
    let other = versions.iter().find(|it| it["digest"] != live).expect("another");
    let other = other["digest"].as_str().expect("a digest");
    terminal.run(&format!("modules rm bench {other}"));
    assert!(terminal.run("modules ls").contains("1 version"));
    assert!(terminal.run("tenants show acme").contains("acme"));
    assert!(terminal.run("audit verify").contains("rows"));
}

#[test]
fn more_permissions_are_listed_and_taken_with_a_word() {
    let server = Server::configured("[tenants.granted]\ngrants = ['http:*.example']\n");
    let mut terminal = Terminal { server: &server, token: String::new() };
    terminal.token = terminal.run("tokens new --tenant granted").trim().to_owned();
    terminal.write("shop.wasm", &says("s.task", "one"));
    terminal.run("push shop.wasm");
    let more = with(r#"{"name":"s.task","capabilities":["http:bank.example"]}"#, "two");
    terminal.write("shop.wasm", &more);
    let (code, output) = terminal.try_to("push shop.wasm");
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("s.task wants http:bank.example"), "{output}");
    terminal.run("push shop.wasm --accept");
    terminal.run("modules diff shop live");
}

#[test]
fn who_has_too_much_waiting_sends_no_more() {
    let more = "[tenants.small]\nqueues = ['small.*']\nmax_queued = 3\nmax_in_flight = 1\n";
    let server = Server::on_redis_configured(more);
    let small = server.tenant("small");
    small.push("bench", &fs::read(paths::guest("bench")).expect("a module")).ok();
    let call = json!({ "task": "bench.sleep", "args": [10_000] });
    let mut refused = None;
    for _ in 0..1_000 {
        let answer = small.post("/v1/tasks", &call);
        if answer.status != 202 {
            refused = Some(answer);
            break;
        }
        // Sleeps because a caller has only so many requests a second.
        thread::sleep(Duration::from_millis(10));
    }
    let refused = refused.expect("a refusal");
    assert_eq!((refused.status, refused.code()), (403, "quota-exceeded"), "{}", refused.body);
}
