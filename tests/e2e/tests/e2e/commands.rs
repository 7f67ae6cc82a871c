//! The commands that people type: what they print and the codes they exit with.

use std::fs;

use lovage_test_support::{LovageCommand, PATIENCE, paths};

use crate::bed::{Place, python, together};

fn call(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let urls = ["-b", &place.broker(), "--result-backend", &place.backend()];
    LovageCommand::new().arg("call").args(arguments).args(urls).finish()
}

#[test]
fn call_prints_the_result_and_exits_with_zero() {
    let _machine = together();
    let place = Place::redis();
    let _worker = place.worker(&[]);
    let (code, output) = call(&place, &["bench.add", "-a", "[2, 3]"]);
    assert_eq!((code, output.lines().last()), (Some(0), Some("5")), "{output}");
    let (code, output) = call(&place, &["bench.add", "-k", r#"{"x": 20, "y": 22}"#]);
    assert_eq!((code, output.lines().last()), (Some(0), Some("42")), "{output}");
}

#[test]
fn bench_measures_a_worker_of_its_own() {
    let _machine = together();
    let place = Place::redis();
    let urls = ["-b", &place.broker(), "--result-backend", &place.backend()];
    let modules = paths::guests().display().to_string();
    let counts = ["--calls", "300", "--single", "5", "--json", "--modules", &modules];
    let bench = |task| {
        let command = LovageCommand::new().args(["bench", task, "-a", "[2, 3]"]);
        command.args(counts).args(urls).finish()
    };
    let (code, output) = bench("bench.add");
    assert_eq!(code, Some(0), "{output}");
    let figures = output.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let figures: serde_json::Value = serde_json::from_str(figures).expect("a line of JSON");
    assert_eq!((&figures["calls"], &figures["failed"]), (&300.into(), &0.into()));
    for figure in ["/tasks_per_s", "/cpu_us", "/round_trip_ms/p50"] {
        let value = figures.pointer(figure).and_then(serde_json::Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure} of {figures}");
    }
    assert_eq!(place.waiting(), 0, "nothing was sent to anybody else's queue");
}

#[test]
fn call_exits_with_one_when_the_task_failed() {
    let _machine = together();
    let place = Place::sqlite();
    let _worker = place.worker(&[]);
    let (code, output) = call(&place, &["demo.fail", "-a", r#"["card declined"]"#]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("ValueError") && output.contains("card declined"), "{output}");
}

#[test]
fn call_exits_with_two_when_nobody_answers_in_time() {
    let _machine = together();
    let place = Place::redis();
    let (code, output) = call(&place, &["bench.add", "-a", "[2, 3]", "--timeout", "1"]);
    assert_eq!(code, Some(2), "{output}");
}

#[test]
fn a_command_that_cannot_be_meant_exits_with_two() {
    let _machine = together();
    let place = Place::redis();
    for arguments in [&["bench.add", "-a", "{"][..], &["bench.add", "-a", "3"], &[]] {
        let (code, output) = call(&place, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {output}");
    }
    let (code, output) = LovageCommand::worker().arg("--no-such-flag").finish();
    assert_eq!(code, Some(2), "{output}");
}

#[test]
fn doctor_tells_a_broker_that_is_there_from_one_that_is_not() {
    let _machine = together();
    let place = Place::sqlite();
    let modules = tempfile::tempdir().expect("a temporary folder");
    fs::copy(paths::guest("hello"), modules.path().join("hello.wasm")).expect("a copy");
    let doctor = |broker: &str| {
        let urls = ["-b", broker, "--result-backend", &place.backend(), "--modules"];
        LovageCommand::new().arg("doctor").args(urls).arg(modules.path()).finish()
    };
    let (code, output) = doctor(&place.broker());
    assert_eq!(code, Some(0), "{output}");
    let (code, output) = doctor("redis://127.0.0.1:1/0");
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("fail"), "{output}");
}

#[test]
fn dev_serves_whoever_pastes_its_two_lines() {
    let _machine = together();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dev = LovageCommand::new().arg("dev").arg(paths::guests()).folder(folder.path()).start();
    let pasted = |name: &str| {
        let line = dev.wait_for_line(name);
        line.split('"').nth(1).unwrap_or_default().to_owned()
    };
    let (broker, backend) = (pasted("broker_url ="), pasted("result_backend ="));
    dev.wait_for_line("ready");
    let output = python("producer.py", &[&broker, &backend, "add"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains('5'), "{output:?}");
    assert!(dev.find_line("bench.add", PATIENCE).is_some(), "a line for each task");
    assert!(dev.terminate().success());
}
