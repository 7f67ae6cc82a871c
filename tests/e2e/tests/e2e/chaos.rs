//! Chaos in small: the script that `make chaos` runs, with fewer tasks and fewer deaths.

use std::process::{Command, Output};

use lovage_test_support::paths;

use crate::bed::{alone, together};

#[test]
fn on_redis_no_effect_is_lost_or_doubled_by_chaos() {
    let _machine = alone();
    run("chaos.py", &["--smoke", "--broker", "redis"]);
}

#[test]
fn on_sqlite_no_effect_is_lost_or_doubled_by_chaos() {
    let _machine = alone();
    run("chaos.py", &["--smoke", "--broker", "sqlite"]);
}

#[test]
fn on_rabbitmq_no_effect_is_lost_or_doubled_by_chaos_of_workers_and_broker() {
    let _machine = alone();
    run("chaos.py", &["--smoke", "--broker", "amqp", "--one-database"]);
}

#[test]
fn on_redis_a_thousand_keys_that_are_each_asked_for_ten_times_run_a_thousand_times() {
    duplicated("redis");
}

#[test]
fn on_sqlite_a_thousand_keys_that_are_each_asked_for_ten_times_run_a_thousand_times() {
    duplicated("sqlite");
}

#[test]
fn bodies_of_chords_happen_once_though_members_come_twice_and_workers_die() {
    let _machine = alone();
    run("chords.py", &["--smoke"]);
}

fn duplicated(broker: &str) {
    let _machine = together();
    let small = ["--duplicated", "--tasks", "1000", "--lease", "10", "--broker", broker];
    run("chaos.py", &small);
}

/// Runs it to its end, which is good when it says so; it prints its seed.
fn run(name: &str, arguments: &[&str]) {
    let script = paths::repository().join("tests/chaos").join(name);
    let mut command = Command::new(paths::python());
    command.arg(script).args(arguments);
    if name == "chaos.py" {
        command.args(["--report", "/dev/null"]);
    }
    command.env("LOVAGE_BIN", paths::lovage()).env("LOVAGE_GUESTS", paths::guests());
    command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("BROKER");
    let Output { status, stdout, stderr } = command.output().expect("a Python");
    let printed = String::from_utf8_lossy(&stdout);
    println!("{printed}");
    assert!(status.success(), "{printed}\n{}", String::from_utf8_lossy(&stderr));
}
