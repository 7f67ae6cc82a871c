//! Several tenants on one worker: fair to each, and apart.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use lovage_test_support::{Process, paths};
use tempfile::TempDir;

use crate::bed::{Place, alone, together, wait_until};

/// Other programs on the machine may spoil so many measurements, less one.
const MEASUREMENTS_MAX: usize = 4;

/// Runs the script that `make tenants` runs, in small, until it is within its bounds.
fn measure(arguments: &[&str]) {
    let _machine = alone();
    let mut seen = Vec::new();
    for _ in 0..MEASUREMENTS_MAX {
        let mut command = Command::new(paths::python());
        command.arg(paths::repository().join("tests/bench/tenants.py")).args(arguments);
        command.env("LOVAGE_BIN", paths::lovage()).env("LOVAGE_GUESTS", paths::guests());
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("a Python");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{said}");
        if output.status.success() {
            return;
        }
        seen.push(said);
    }
    panic!("never within bounds: {seen:#?}");
}

#[test]
fn a_tenant_that_floods_does_not_slow_another() {
    measure(&["flood", "--quiet", "0", "--seconds", "3", "--rounds", "2"]);
}

#[test]
fn a_tenant_that_floods_does_not_slow_two_hundred() {
    measure(&["flood", "--quiet", "200", "--seconds", "3", "--rounds", "2"]);
}

#[test]
fn a_module_for_each_of_many_tenants_costs_little_more_than_one_for_all() {
    measure(&["modules", "--tenants", "30", "--calls", "6000", "--rounds", "1"]);
}

/// A worker that has these tenants, each with the bench's module, and takes from all their queues.
fn worker(place: &Place, tenants: &[&str]) -> (Process, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let modules = folder.path().join("modules");
    let mut config = String::new();
    for tenant in tenants {
        let own = modules.join(tenant);
        fs::create_dir_all(&own).expect("a folder");
        symlink(paths::guests().join("bench.wasm"), own.join("bench.wasm")).expect("a link");
        writeln!(config, "[tenants.{tenant}]\nqueues = [\"{tenant}.*\"]").expect("a text");
    }
    fs::write(modules.join("quiet/strict.wasm"), strict()).expect("a module");
    fs::write(folder.path().join("lovage.toml"), config).expect("a file");
    let modules = modules.display().to_string();
    let urls = ["-b", &place.broker(), "--result-backend", &place.backend()];
    let worker = lovage_test_support::LovageCommand::new()
        .arg("worker")
        .args(urls)
        .args(["--modules", &modules, "-c", "64", "-n", "fair@test"])
        .folder(folder.path())
        .start_until("ready:");
    (worker, folder)
}

/// A module that no instance survives, with a task that takes whole numbers.
fn strict() -> Vec<u8> {
    let schema =
        r#"{"type":"object","properties":{"n":{"type":"array","items":{"type":"integer"}}}}"#;
    let manifest = format!(
        r#"{{"v":1,"abi":"lovage:task@0.1.0","module":"strict","tasks":[
            {{"name":"strict.start","params":["n"],"input_schema":{schema}}}]}}"#
    );
    let name = "lovage-manifest";
    let mut section = vec![u8::try_from(name.len()).expect("a short name")];
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(manifest.as_bytes());
    let mut module = fs::read(paths::guest("hostile-start")).expect("a module");
    let (low, high) = (section.len() & 0x7f | 0x80, section.len() >> 7);
    module.extend([0, low, high].map(|byte| u8::try_from(byte).expect("seven bits and one")));
    module.extend_from_slice(&section);
    module
}

#[test]
fn tenants_do_not_meet_a_new_queue_is_joined_and_wrong_arguments_start_no_guest() {
    let _machine = together();
    let place = Place::redis();
    let (worker, _folder) = worker(&place, &["loud", "quiet"]);
    let seen = place.script("borders.py", &[]);
    assert_eq!(seen["new_queue"], 3, "{seen}");
    assert_eq!(seen["default_tenant"], "FAILURE", "a foreign task is not resolved: {seen}");
    let wrong = seen["wrong_arguments"].as_str().unwrap_or_default();
    assert!(wrong.starts_with("ArgumentsInvalid"), "{seen}");
    assert!(wrong.contains("strict.start(): arguments/n/1: "), "where it is wrong: {seen}");
    let started = seen["right_arguments"].as_str().unwrap_or_default();
    assert!(started.contains("rapped"), "whatever starts here says so: {seen}");
    wait_until("all is put aside", || place.kept() == 4);
    let kept: Vec<String> = {
        let entries: Vec<(String, Vec<String>)> =
            place.ask(0, redis::cmd("XRANGE").arg("lovage:kept").arg("-").arg("+"));
        entries.into_iter().map(|(_, fields)| fields[1].clone()).collect()
    };
    for reason in ["tenant-mismatch", "unknown-task", "arguments-invalid", "trapped"] {
        assert!(kept.iter().any(|record| record.contains(&format!("\"{reason}\""))), "{kept:?}");
    }
    assert!(worker.terminate().success());
}
