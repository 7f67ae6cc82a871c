//! Several tenants on one worker: fair to each, and apart.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;

use lovage_test_support::{Process, paths};
use serde_json::Value;
use tempfile::TempDir;

use crate::bed::{Place, alone, together, wait_until};

/// What a tenant sends that floods.
const FLOOD: &str = "100000";
const SECONDS: &str = "6";
/// What is left for the noise of a machine that others use, too, seconds.
const NOISE_S: f64 = 0.005;
const MEASUREMENTS_MAX: usize = 3;

/// A worker that has these tenants, each with the bench's module, and takes from all their queues.
fn worker(place: &Place, tenants: &[String], more: &str) -> (Process, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let modules = folder.path().join("modules");
    let mut config = String::new();
    for tenant in tenants {
        let own = modules.join(tenant);
        fs::create_dir_all(&own).expect("a folder");
        symlink(paths::guests().join("bench.wasm"), own.join("bench.wasm")).expect("a link");
        writeln!(config, "[tenants.{tenant}]\nqueues = [\"{tenant}.*\"]\n{more}").expect("a text");
    }
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

fn names(quiet: usize) -> Vec<String> {
    let small = (0..quiet).map(|number| format!("small{number}"));
    ["loud".to_owned(), "quiet".to_owned()].into_iter().chain(small).collect()
}

fn p99(seen: &Value) -> f64 {
    let seconds: Vec<f64> =
        seen["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    seconds[seconds.len() * 99 / 100 - 1]
}

/// Alone and beside the flood, on one worker each, as often as noise spoils it.
fn stays_quick_beside_a_flood(quiet: usize) {
    let _machine = alone();
    let mut measured = Vec::new();
    for _ in 0..MEASUREMENTS_MAX {
        let place = Place::redis();
        let (worker, _folder) = worker(&place, &names(quiet), "max_in_flight = 1000");
        let quiet = quiet.to_string();
        let alone = p99(&place.script("tenants.py", &[SECONDS, "0", &quiet]));
        let seen = place.script("tenants.py", &[SECONDS, FLOOD, &quiet]);
        let beside = p99(&seen);
        assert!(seen["flood_left"].as_u64() > Some(10_000), "the flood lasted: {seen}");
        assert!(seen["flood_done"].as_u64() > Some(2_000), "and went on: {seen}");
        worker.kill();
        measured.push((alone, beside));
        if beside <= alone * 2.0 || beside <= alone + NOISE_S {
            println!("p99 alone and beside a flood, {quiet} more tenants: {measured:.4?} s");
            return;
        }
    }
    panic!("p99 alone and beside a flood: {measured:.4?} s");
}

#[test]
fn a_tenant_that_floods_does_not_slow_another() {
    stays_quick_beside_a_flood(0);
}

#[test]
fn a_tenant_that_floods_does_not_slow_two_hundred() {
    stays_quick_beside_a_flood(200);
}

#[test]
fn tenants_do_not_meet_and_a_new_queue_is_joined() {
    let _machine = together();
    let place = Place::redis();
    let (worker, _folder) = worker(&place, &names(0), "");
    let seen = place.script("borders.py", &[]);
    assert_eq!(seen["new_queue"], 3, "{seen}");
    assert_eq!(seen["default_tenant"], "FAILURE", "a foreign task is not resolved: {seen}");
    wait_until("all is put aside", || place.kept() == 2);
    let kept: Vec<String> = {
        let entries: Vec<(String, Vec<String>)> =
            place.ask(0, redis::cmd("XRANGE").arg("lovage:kept").arg("-").arg("+"));
        entries.into_iter().map(|(_, fields)| fields[1].clone()).collect()
    };
    assert!(kept.iter().any(|record| record.contains("\"tenant-mismatch\"")), "{kept:?}");
    assert!(kept.iter().any(|record| record.contains("\"unknown-task\"")), "{kept:?}");
    assert!(worker.terminate().success());
}
