//! What is kept: dead letters that people run again, and calls that wait for a module.

use std::fs;
use std::path::Path;

use lovage_test_support::{LovageCommand, Process, paths};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{Place, QUEUE, together, wait_until};
use crate::crashes::Sink;

/// One test for each broker.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_redis { $(#[test] fn $name() { super::$name(&super::Place::redis()); })* }
        mod on_sqlite { $(#[test] fn $name() { super::$name(&super::Place::sqlite()); })* }
    };
}

on_both! {
    a_call_of_an_unknown_task_runs_when_its_module_arrives
    a_replay_that_is_killed_and_asked_for_again_brings_each_back_once
    a_dead_letter_is_listed_shown_replayed_after_a_repair_and_runs
    nothing_is_changed_that_nobody_confirmed
    what_is_purged_is_gone
}

/// A program that falls as soon as it is started.
const BROKEN: &[u8] = &[
    0, b'a', b's', b'm', 1, 0, 0, 0, // a module
    1, 4, 1, 0x60, 0, 0, // with one type of function: nothing to nothing
    3, 2, 1, 0, // one function
    5, 3, 1, 0, 1, // one memory
    7, 19, 2, 6, b'_', b's', b't', b'a', b'r', b't', 0, 0, // the function is the program
    6, b'm', b'e', b'm', b'o', b'r', b'y', 2, 0, // and the memory is seen
    10, 5, 1, 3, 0, 0, 11, // it traps
];

/// A folder of modules of the test's own.
struct Modules(TempDir);

impl Modules {
    fn new(names: &[&str]) -> Self {
        let modules = Self(tempfile::tempdir().expect("a temporary folder"));
        for name in names {
            modules.add(name, &paths::guest(name));
        }
        modules
    }

    /// Adds a module, or puts another one in its place.
    fn add(&self, name: &str, from: &Path) {
        fs::copy(from, self.file(name)).expect("a copy");
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(format!("{name}.wasm"))
    }

    fn worker(&self, place: &Place) -> Process {
        let urls = ["-b", &place.broker(), "--result-backend", &place.backend(), "-Q", QUEUE];
        let command = LovageCommand::new().args(["worker", "-c", "4", "--modules"]);
        command.arg(self.0.path()).args(urls).start_until("ready:")
    }
}

/// `lovage dlq …`: its exit code and all that it prints.
fn dlq(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let urls = ["-b", &place.broker(), "--result-backend", &place.backend()];
    LovageCommand::new().arg("dlq").args(arguments).args(urls).finish()
}

/// The same with `--json`, which must be all that it prints.
fn listed(place: &Place, arguments: &[&str]) -> Value {
    let (code, output) = dlq(place, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {output}");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// How many are kept, and their reasons.
fn reasons(place: &Place, arguments: &[&str]) -> Vec<String> {
    let all = listed(place, &[&["ls"], arguments].concat());
    let messages = all["messages"].as_array().expect("messages");
    assert_eq!(all["count"], messages.len());
    messages.iter().map(|one| one["reason"].as_str().expect("a reason").to_owned()).collect()
}

/// Calls a task this often, and waits until all of the calls have failed.
fn fail(place: &Place, task: &str, arguments: &str, count: usize) -> Value {
    let ids = place.see("send", &[task, arguments, &count.to_string()]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"FAILURE": count}));
    ids
}

fn a_call_of_an_unknown_task_runs_when_its_module_arrives(place: &Place) {
    let _machine = together();
    let modules = Modules::new(&["hello"]);
    let worker = modules.worker(place);
    let ids = fail(place, "bench.add", "[2, 3]", 250);
    fail(place, "nobody.knows", "[]", 1);
    assert_eq!(reasons(place, &["--kind", "parked", "--limit", "1000"]), ["unknown-task"; 251]);
    assert_eq!(reasons(place, &["--task", "nobody.*"]), ["unknown-task"]);
    assert!(worker.terminate().success());

    modules.add("bench", &paths::guest("bench"));
    let worker = modules.worker(place);
    let first = &ids.as_array().expect("ids")[0];
    wait_until("the results", || place.see("now", &[&ids.to_string()]) == json!({"SUCCESS": 250}));
    assert_eq!(place.see("value", &[first.as_str().expect("an id")])["value"], 5);
    assert_eq!(reasons(place, &["--limit", "1000"]), ["unknown-task"], "nobody knows it still");
    assert!(worker.terminate().success());
}

fn a_dead_letter_is_listed_shown_replayed_after_a_repair_and_runs(place: &Place) {
    let _machine = together();
    let modules = Modules::new(&[]);
    fs::write(modules.file("repair"), BROKEN).expect("a file");
    let worker = modules.worker(place);
    let ids = fail(place, "repair", r#"["to be or not"]"#, 3);
    let call = ids[0].as_str().expect("an id");
    assert_eq!(reasons(place, &["--kind", "dead", "--since", "1h"]), ["trapped"; 3]);
    assert_eq!(reasons(place, &["--until", "1h"]), [""; 0]);
    let shown = listed(place, &["show", call]);
    assert_eq!((&shown["task"], &shown["task_id"]), (&json!("repair"), &json!(call)), "{shown}");
    assert!(shown["body"].as_str().is_some_and(|body| body.contains("to be or not")), "{shown}");
    assert_eq!(shown["ledger_key"].as_str().map(str::len), Some(32), "{shown}");
    let (code, page) = dlq(place, &["show", shown["id"].as_str().expect("an id")]);
    assert!(code == Some(0) && page.contains("trapped") && page.contains(call), "{page}");
    assert!(worker.terminate().success());

    modules.add("repair", &paths::guest("command-words"));
    let worker = modules.worker(place);
    let (code, output) = dlq(place, &["replay", call, "--yes"]);
    assert_eq!((code, output.as_str()), (Some(0), "replayed 1 of 1"));
    wait_until("the first result", || {
        place.see("now", &[&json!([call]).to_string()]) == json!({"SUCCESS": 1})
    });
    assert_eq!(place.see("value", &[call])["value"], 4);
    let done = listed(place, &["replay", "--task", "rep*", "--rate", "20/s", "--yes"]);
    assert_eq!(done, json!({"matched": 2, "replayed": 2}));
    wait_until("all results", || place.see("now", &[&ids.to_string()]) == json!({"SUCCESS": 3}));
    assert_eq!(reasons(place, &[]), [""; 0]);
    assert_eq!(place.waiting(), 0);
    let done = listed(place, &["replay", "--all", "--yes"]);
    assert_eq!(done, json!({"matched": 0, "replayed": 0}), "again, as after an interruption");
    assert!(worker.terminate().success());
}

fn nothing_is_changed_that_nobody_confirmed(place: &Place) {
    let _machine = together();
    let modules = Modules::new(&["hello"]);
    let _worker = modules.worker(place);
    fail(place, "nobody.\u{1b}[31mknows", "[]", 2);
    for command in ["replay", "purge"] {
        let (code, output) = dlq(place, &[command, "--kind", "parked"]);
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains("2 messages") && output.contains("--yes"), "{output}");
        for wrong in [&[command][..], &[command, "1", "--kind", "dead"], &[command, "--since", "x"]]
        {
            let (code, output) = dlq(place, wrong);
            assert_eq!(code, Some(2), "{wrong:?}: {output}");
        }
        let (code, output) = dlq(place, &[command, "no-such-id", "--yes"]);
        assert!(code == Some(1) && output.contains("dlq ls"), "{output}");
    }
    let (code, output) = dlq(place, &["show", "no-such-id"]);
    assert!(code == Some(1) && output.lines().count() == 2, "{output}");
    let (code, output) = dlq(place, &["ls"]);
    assert!(code == Some(0) && output.ends_with("2 kept"), "{output}");
    assert!(output.contains("\\u{1b}[31mknows") && !output.contains('\u{1b}'), "{output:?}");
}

fn what_is_purged_is_gone(place: &Place) {
    let _machine = together();
    let modules = Modules::new(&["hello"]);
    let _worker = modules.worker(place);
    fail(place, "nobody.knows", "[]", 3);
    fail(place, "somebody.knows", "[]", 1);
    let gone = listed(place, &["purge", "--task", "nobody.knows", "--yes"]);
    assert_eq!(gone, json!({"matched": 3, "purged": 3}));
    let left = listed(place, &["ls"]);
    assert_eq!(
        (&left["count"], &left["messages"][0]["task"]),
        (&json!(1), &json!("somebody.knows"))
    );
    let (code, output) = dlq(place, &["purge", "--all", "--yes"]);
    assert_eq!((code, output.as_str()), (Some(0), "purged 1 of 1"));
    assert_eq!(reasons(place, &[]), [""; 0]);
    assert_eq!(place.waiting(), 0);
}

fn a_replay_that_is_killed_and_asked_for_again_brings_each_back_once(place: &Place) {
    const KEPT: usize = 15;
    let _machine = together();
    let sink = Sink::new();
    // Their steps are committed; only what they return is too long.
    let strict = sink.worker(place, &["-c", "4"]).env("LOVAGE_SANDBOX__RESULT_BYTES", "8");
    let strict = strict.start_until("ready:");
    let ids = place.see("send", &["bench.effect", r#"["retry", 0, 0]"#, &KEPT.to_string()]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"FAILURE": KEPT}));
    wait_until("all messages to be kept", || place.kept() == KEPT);
    assert!(strict.terminate().success());
    assert_eq!((sink.seen().runs, sink.seen().sends()), (KEPT, KEPT));

    for left in [12, 8, 4] {
        let replay =
            LovageCommand::new().args(["dlq", "replay", "--all", "--rate", "10/s", "--yes"]);
        let urls = ["-b", &place.broker(), "--result-backend", &place.backend()];
        let replay = replay.args(urls).start();
        wait_until("some of them to be back", || place.kept() <= left);
        replay.kill();
        assert_eq!(place.kept() + place.waiting(), KEPT, "each is in one place");
    }
    let left = place.kept();
    assert!(left > 0, "it was killed in the middle");
    let done = listed(place, &["replay", "--all", "--yes"]);
    assert_eq!(done, json!({"matched": left, "replayed": left}));
    assert_eq!((place.kept(), place.waiting()), (0, KEPT));

    let worker = sink.worker(place, &["-c", "4"]).start_until("ready:");
    wait_until("the results", || place.see("now", &[&ids.to_string()]) == json!({"SUCCESS": KEPT}));
    assert!(worker.terminate().success());
    let seen = sink.seen();
    assert_eq!((seen.runs, seen.sends()), (2 * KEPT, KEPT), "run again, and their steps replayed");
    assert_eq!((place.kept(), place.waiting()), (0, 0));
}

#[test]
fn a_broker_that_is_away_is_told_in_one_line_and_what_to_do_in_another() {
    let (code, output) =
        LovageCommand::new().args(["dlq", "ls", "-b", "redis://127.0.0.1:1/0"]).finish();
    assert_eq!(code, Some(2), "{output}");
    let lines: Vec<_> = output.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains("lovage doctor"), "{output}");
}
