//! Instances that more than one attempt is in, where that is asked for.

use lovage_core::frames::Share;
use lovage_core::{Limits, Outcome};

use crate::testing::Executor;

/// Says how often it was called before, as a digit. `{}` as its arguments makes it trap, `[]` take
/// sixteen pages more, anything else is counted.
const COUNTER: &str = r#"(module
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (data (i32.const 1) "-")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (i32.const 64))))
    (func (export "lovage:task/catalog@0.1.0#describe") (result i32) unreachable)
    (func (export "lovage:task/handler@0.1.0#run")
        (param $task i32) (param $tl i32) (param $args i32) (param $al i32) (param i32 i32) (result i32)
        (if (i32.eq (i32.load8_u (local.get $args)) (i32.const 0x7b)) (then unreachable))
        (if (i32.eq (i32.load16_u (local.get $args)) (i32.const 0x5d5b))
            (then (drop (memory.grow (i32.const 16)))))
        (i32.store8 (i32.const 0) (i32.add (i32.const 0x30) (i32.load (i32.const 16))))
        (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
        (i32.store (i32.const 32) (i32.const 0))
        (i32.store (i32.const 40) (i32.const 0))
        (i32.store (i32.const 44) (i32.const 1))
        (i32.const 32)))"#;

const OURS: Option<Share<'static>> = Some(Share { attempts: 3, tenant: "ours" });

fn counted(executor: &mut Executor, args: &str) -> String {
    match executor.run(0, "count", args, Limits::default()).outcome {
        Outcome::Succeed(value) => value.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn nothing_is_shared_unless_it_is_asked_for() {
    let mut executor = Executor::with(4, &[COUNTER]);
    for _ in 0..3 {
        assert_eq!(counted(&mut executor, "[1]"), "0");
    }
    executor.share = Some(Share { attempts: 1, tenant: "ours" });
    for _ in 0..2 {
        assert_eq!(counted(&mut executor, "[1]"), "0");
    }
}

#[test]
fn so_many_attempts_are_in_an_instance_and_then_it_is_another() {
    let mut executor = Executor::with(4, &[COUNTER]);
    executor.share = OURS;
    let seen: Vec<String> = (0..7).map(|_| counted(&mut executor, "[1]")).collect();
    assert_eq!(seen, ["0", "1", "2", "0", "1", "2", "0"]);
}

#[test]
fn tenants_and_modules_never_meet() {
    let mut executor = Executor::with(4, &[COUNTER, COUNTER]);
    executor.share = OURS;
    assert_eq!(counted(&mut executor, "[1]"), "0");
    executor.share = Some(Share { attempts: 3, tenant: "theirs" });
    assert_eq!(counted(&mut executor, "[1]"), "0");
    executor.share = OURS;
    let report = executor.run(1, "count", "[1]", Limits::default());
    assert!(matches!(report.outcome, Outcome::Succeed(value) if value.to_string() == "0"));
    assert_eq!(counted(&mut executor, "[1]"), "1");
    executor.share = None;
    assert_eq!(counted(&mut executor, "[1]"), "0", "who shares with nobody has its own");
    // What is loaded under the same number is another module.
    assert_eq!(executor.load(0, COUNTER), None);
    executor.share = OURS;
    assert_eq!(counted(&mut executor, "[1]"), "0");
}

#[test]
fn an_instance_is_thrown_away_when_it_traps_or_grows_or_is_too_large() {
    let mut executor = Executor::with(4, &[COUNTER]);
    executor.share = OURS;
    assert_eq!(counted(&mut executor, "[1]"), "0");
    assert!(counted(&mut executor, "{}").contains("Trapped"), "it is in the same instance");
    assert_eq!(counted(&mut executor, "[1]"), "0");
    assert_eq!(counted(&mut executor, "[]"), "1");
    assert_eq!(counted(&mut executor, "[1]"), "0", "it had grown");
    let small = Limits { memory_bytes: 64 << 10, ..Limits::default() };
    let report = executor.run(0, "count", "[1]", small);
    assert!(matches!(report.outcome, Outcome::Killed { .. }), "{report:?}");
    assert_eq!(counted(&mut executor, "[1]"), "1", "who may use less has none of those");
}

#[test]
fn each_attempt_has_limits_and_figures_of_its_own() {
    let mut executor = Executor::with(4, &[COUNTER]);
    executor.share = OURS;
    let limits = Limits { fuel: 10_000, ..Limits::default() };
    let first = executor.run(0, "count", "[1]", limits).usage;
    let second = executor.run(0, "count", "[1]", limits).usage;
    assert!(second.fuel > 0 && second.fuel < 10_000 && second.fuel <= first.fuel, "{second:?}");
    assert_eq!(first.memory_bytes, second.memory_bytes);
}
