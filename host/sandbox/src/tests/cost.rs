//! What an attempt costs, printed for people and bounded against accidents.

use std::time::{Duration, Instant};

use lovage_core::{Limits, Outcome};

use crate::testing::Executor;

#[test]
fn a_fresh_instance_is_cheap() {
    const ROUNDS: u32 = 200;
    const BATCH: u32 = 50;
    let mut executor = Executor::with(64, &["bench.wasm"]);
    let mut cpu = Vec::new();
    let mut begun = Instant::now();
    for round in 0..ROUNDS {
        if round == 20 {
            begun = Instant::now();
            cpu.clear();
        }
        let mut batch = Vec::new();
        let jobs: Vec<_> = (0..BATCH)
            .map(|_| executor.prepare(&mut batch, 0, ("bench.add", "[2, 3]"), Limits::default()))
            .collect();
        executor.say_bytes(&batch);
        for job in jobs {
            let report = executor.wait(job);
            assert!(matches!(report.outcome, Outcome::Succeed(_)));
            cpu.push(report.usage.cpu);
        }
    }
    let each = begun.elapsed() / ((ROUNDS - 20) * BATCH);
    cpu.sort();
    let (p50, p99) = (cpu[cpu.len() / 2], cpu[cpu.len() * 99 / 100]);
    println!("bench.add: guest p50 {p50:?}, p99 {p99:?}; {each:?} a job through the socket");
    assert!(p50 < Duration::from_millis(1), "{p50:?}");
}

#[test]
fn thousands_sleep_in_little_memory() {
    alone("tests::cost::thousands_sleep_in_little_memory", sleep_by_thousands);
}

/// Runs a test in a process of its own, because it measures the whole process.
fn alone(name: &str, test: fn()) {
    if std::env::args().any(|argument| argument == "--exact") {
        return test();
    }
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", name, "--nocapture"];
    let status = std::process::Command::new(program).args(arguments).status().unwrap();
    assert!(status.success());
}

fn sleep_by_thousands() {
    const SLEEPERS: u32 = 2_500;
    let mut executor = Executor::with(SLEEPERS, &["bench.wasm"]);
    let mut grown = 0;
    for round in 0..2 {
        let begun = Instant::now();
        let mut batch = Vec::new();
        let jobs: Vec<_> = (0..SLEEPERS)
            .map(|_| executor.prepare(&mut batch, 0, ("bench.sleep", "[1000]"), Limits::default()))
            .collect();
        executor.say_bytes(&batch);
        std::thread::park_timeout(Duration::from_millis(700));
        let during = anonymous();
        grown = grown.max(during);
        for job in jobs {
            let report = executor.wait(job);
            assert!(matches!(report.outcome, Outcome::Succeed(_)), "{report:?}");
        }
        println!(
            "{SLEEPERS} sleepers, round {round}: {} MiB during, {} MiB after, {:?}",
            during >> 20,
            anonymous() >> 20,
            begun.elapsed()
        );
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    // What a burst took comes back once the executor is idle.
    let begun = Instant::now();
    while anonymous() > grown / 2 && begun.elapsed() < Duration::from_secs(10) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    println!("idle: {} MiB after {:?}", anonymous() >> 20, begun.elapsed());
    assert!(anonymous() <= grown / 2);
    let report = executor.run(0, "bench.add", "[2, 3]", Limits::default());
    assert!(matches!(report.outcome, Outcome::Succeed(_)), "{report:?}");
}

/// The bytes of this process that are in memory and no file's.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = status.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}
