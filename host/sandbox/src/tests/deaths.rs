//! Each way to die, by a guest that dies it.

use std::time::{Duration, Instant};

use lovage_core::frames::ToExecutor;
use lovage_core::{Death, Limits, Outcome};

use crate::testing::{Executor, death};

const LATE: Duration = Duration::from_millis(100);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Runs a hostile task beside a neighbour that must not notice.
fn dies(module: &str, task: &str, args: &str, limits: Limits) -> (Death, String, Duration) {
    let mut executor = Executor::with(8, &[module, "bench.wasm"]);
    let neighbour = executor.begin(1, "bench.sleep", "[30]", Limits::default());
    let (begun, cpu_time) = (Instant::now(), limits.cpu_time);
    let report = executor.run(0, task, args, limits);
    let took = begun.elapsed();
    assert!(report.usage.cpu < cpu_time + LATE, "{:?}", report.usage);
    assert!(matches!(executor.wait(neighbour).outcome, Outcome::Succeed(_)));
    let sum = executor.run(1, "bench.add", "[2, 3]", Limits::default());
    assert_eq!(sum.outcome, Outcome::Succeed(lovage_core::Json::parse("5").unwrap()));
    executor.end().unwrap();
    let (death, said) = death(&report);
    println!("{module} {task}: {death:?} {said} after {took:?}, {:?}", report.usage);
    (death, said, took)
}

#[test]
fn a_spinner_dies_of_the_limit_that_it_meets_first() {
    let spin = |limits| dies("hostile-tasks.wasm", "hostile.spin", "[]", limits);
    let fuel = spin(Limits { fuel: 50_000_000, ..Limits::default() });
    assert_eq!(fuel.0, Death::OutOfFuel);
    let endless = Limits { fuel: u64::MAX, ..Limits::default() };
    let (death, said, took) = spin(Limits { time: ms(200), ..endless });
    assert_eq!((death, said.as_str()), (Death::TimedOut, "[0.2]"));
    assert!(took >= ms(200) && took < ms(200) + LATE, "{took:?}");
    // However long the machine took for it.
    let (death, _, took) = spin(Limits { cpu_time: ms(200), ..endless });
    assert_eq!(death, Death::OutOfCpuTime);
    assert!(took >= ms(200), "{took:?}");
}

#[test]
fn who_waits_dies_in_time() {
    let limits = Limits { time: ms(150), ..Limits::default() };
    let (death, _, took) = dies("hostile-tasks.wasm", "hostile.stubborn", "[60000]", limits);
    assert_eq!(death, Death::TimedOut);
    assert!(took >= ms(150) && took < ms(150) + LATE, "{took:?}");
}

#[test]
fn memory_is_one_total() {
    let limits = Limits { memory_bytes: 32 << 20, ..Limits::default() };
    assert_eq!(dies("hostile-tasks.wasm", "hostile.memory", "[]", limits).0, Death::OutOfMemory);
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(dies("memories.wat", "hostile.memories", "[]", limits).0, Death::OutOfMemory);
    assert_eq!(dies("tables.wat", "hostile.tables", "[]", limits).0, Death::OutOfMemory);
    // It has more to begin with than it may have at all.
    let limits = Limits { memory_bytes: 1 << 16, ..Limits::default() };
    assert_eq!(dies("bench.wasm", "bench.add", "[1, 2]", limits).0, Death::OutOfMemory);
}

#[test]
fn every_other_end_has_its_name() {
    let tasks = |task, args| dies("hostile-tasks.wasm", task, args, Limits::default());
    let (death, said, _) = tasks("hostile.panic", "[]");
    assert_eq!(death, Death::Trapped);
    assert!(said.contains("out of order"), "{said}");
    let recursion = tasks("hostile.recursion", "[]").0;
    assert!(matches!(recursion, Death::StackOverflow | Death::Trapped), "{recursion:?}");
    assert_eq!(tasks("hostile.output", "[2000000]").0, Death::OutputTooLarge);
    assert_eq!(tasks("hostile.output", "[20000000]").0, Death::OutputTooLarge);
    assert_eq!(tasks("hostile.invalid", "[]").0, Death::InvalidResult);
    assert_eq!(tasks("hostile.nested", "[100]").0, Death::InvalidResult);
    assert_eq!(tasks("hostile.exit", "[3]").0, Death::Exited);
    assert_eq!(tasks("hostile.exit", "[0]").0, Death::Exited);
    assert_eq!(tasks("hostile.calls", "[]").0, Death::TooManyHostCalls);
    let streams = tasks("hostile.streams", "[]");
    assert!(matches!(streams.0, Death::TooManyHostCalls | Death::OutOfFuel), "{streams:?}");
    let large = format!("[{:?}]", "x".repeat(1 << 20));
    assert_eq!(tasks("hostile.output", &large).0, Death::ArgumentsTooLarge);
}

#[test]
fn modules_that_break_the_rules_of_the_game_trap() {
    for module in ["start.wat", "wild.wat", "realloc.wat", "liar.wat", "not-utf8.wat"] {
        let (death, _, _) = dies(module, "hostile.any", "[]", Limits::default());
        assert_eq!(death, Death::Trapped, "{module}");
    }
    let limits = Limits { fuel: 50_000_000, ..Limits::default() };
    assert_eq!(dies("start-spin.wat", "hostile.any", "[]", limits).0, Death::OutOfFuel);
    let limits = Limits { time: ms(100), fuel: u64::MAX, ..Limits::default() };
    let (death, _, took) = dies("fill.wat", "hostile.any", "[]", limits);
    assert_eq!(death, Death::TimedOut);
    assert!(took < ms(100) + LATE, "{took:?}");
}

#[test]
fn a_panic_has_a_traceback_with_its_place() {
    let mut executor = Executor::with(2, &["hostile-tasks.wasm"]);
    let report = executor.run(0, "hostile.panic", "[]", Limits::default());
    let Outcome::Killed { failure, .. } = report.outcome else { panic!("{report:?}") };
    let traceback = failure.traceback.unwrap();
    println!("{traceback}");
    assert!(traceback.starts_with("Traceback (most recent call last):\n  File \""));
    assert!(traceback.contains("in hostile_tasks::panic") || traceback.contains("::panic"));
    assert!(traceback.contains("lovage.exceptions.GuestTrapped: panicked at"));
}

#[test]
fn floods_of_lines_are_cut_off_and_counted() {
    let mut executor = Executor::with(2, &["hostile-tasks.wasm"]);
    let report = executor.run(0, "hostile.logs", "[5000, 10]", Limits::default());
    assert!(matches!(report.outcome, Outcome::Succeed(_)));
    assert_eq!((report.logs.len(), report.logs_dropped), (1_000, 4_000));
    let report = executor.run(0, "hostile.logs", "[100, 100000]", Limits::default());
    assert!(report.logs.iter().all(|line| line.message.len() <= 8 << 10));
    assert!(report.logs.iter().map(|line| line.message.len()).sum::<usize>() <= 64 << 10);
}

#[test]
fn a_cancelled_attempt_reports_what_it_was_cancelled_for() {
    let mut executor = Executor::with(2, &["hostile-tasks.wasm"]);
    for task in ["hostile.spin", "hostile.stubborn"] {
        let limits = Limits { fuel: u64::MAX, ..Limits::default() };
        let args = if task == "hostile.spin" { "[]" } else { "[60000]" };
        let job = executor.begin(0, task, args, limits);
        executor.say(&ToExecutor::Cancel { job, death: Death::Revoked });
        assert_eq!(death(&executor.wait(job)).0, Death::Revoked);
    }
}
