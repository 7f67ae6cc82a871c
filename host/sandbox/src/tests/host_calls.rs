//! What guests ask their host, and what they hear.

use std::time::Duration;

use lovage_core::frames::{HostCall, HostReply};
use lovage_core::{Json, Limits, OutboxItem, Outcome};

use crate::testing::Executor;

fn charge(answer: fn(&HostCall<'_>) -> HostReply) -> (Outcome, Vec<String>) {
    let mut executor = Executor::with(2, &["shop.wasm"]);
    executor.answer = answer;
    let report = executor.run(0, "shop.charge", "[7, 250]", Limits::default());
    let left = matches!(report.outcome, Outcome::Succeed(_)).then_some(1).unwrap_or_default();
    assert_eq!(report.outbox.len(), left, "calls leave with a success and not without");
    (report.outcome, std::mem::take(&mut executor.calls))
}

#[test]
fn a_step_that_is_new_is_begun_and_committed() {
    let (outcome, calls) = charge(|call| match call {
        HostCall::StepBegin { name: "charge", .. } => HostReply::StepRun("key-1".into()),
        HostCall::StepCommit { name: "charge", value: r#""charged-key-1""# } => HostReply::Done,
        other => panic!("{other:?}"),
    });
    let Outcome::Succeed(receipt) = outcome else { panic!("{outcome:?}") };
    assert!(receipt.as_str().contains("charged-key-1"), "{receipt}");
    assert_eq!(calls.len(), 2);
}

#[test]
fn a_step_that_is_done_is_not_done_again() {
    let (outcome, calls) = charge(|_| HostReply::StepReplay(r#""charged-before""#.into()));
    let Outcome::Succeed(receipt) = outcome else { panic!("{outcome:?}") };
    assert!(receipt.as_str().contains("charged-before"), "{receipt}");
    assert_eq!(calls.len(), 1);
}

#[test]
fn a_step_in_doubt_ends_the_attempt_there() {
    let (outcome, calls) = charge(|_| HostReply::StepDoubt);
    assert_eq!(outcome, Outcome::Ambiguous { step: "charge".into() });
    assert_eq!(calls.len(), 1);
}

#[test]
fn what_the_worker_cannot_honour_the_guest_hears() {
    let (outcome, _) = charge(|_| HostReply::Unavailable("no ledger".into()));
    let Outcome::Reject(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.arguments.as_str().contains("no ledger"), "{failure:?}");
}

#[test]
fn after_the_soft_limit_calls_fail() {
    let mut executor = Executor::with(2, &["hostile-tasks.wasm"]);
    let limits = Limits { soft_time: Some(Duration::ZERO), ..Limits::default() };
    let report = executor.run(0, "hostile.outbox", "[]", limits);
    assert_eq!(report.outcome, Outcome::Succeed(Json::parse("0").unwrap()));
}

#[test]
fn a_worker_that_goes_away_ends_an_executor_with_guests_that_wait() {
    let mut executor = Executor::with(2, &["bench.wasm"]);
    executor.begin(0, "bench.sleep", "[60000]", Limits::default());
    executor.end().unwrap();
}

#[test]
fn calls_in_the_outbox_leave_with_a_success() {
    let mut executor = Executor::with(2, &["hostile-tasks.wasm"]);
    let report = executor.run(0, "hostile.outbox", "[]", Limits::default());
    assert_eq!(report.outcome, Outcome::Succeed(Json::parse("100").unwrap()));
    assert_eq!(report.outbox.len(), 100);
    let OutboxItem::Call(call) = &report.outbox[0] else { panic!("{report:?}") };
    assert_eq!(call.task.as_str(), "hostile.spin");
}

#[test]
fn a_module_describes_itself() {
    let mut executor = Executor::with(2, &["bench.wasm", "shop.wasm", "hello.wasm"]);
    for (module, name) in [(0, "bench.add"), (1, "shop."), (2, "hello")] {
        let report = executor.run(module, "", "", Limits::default());
        let Outcome::Succeed(manifest) = report.outcome else { panic!("{report:?}") };
        let manifest = lovage_core::Manifest::parse(manifest.as_str()).unwrap();
        assert!(manifest.tasks.iter().any(|task| task.name.as_str().contains(name)));
    }
}

#[test]
fn a_program_reads_a_job_and_prints_its_result() {
    let mut executor = Executor::with(2, &["command-words.wasm"]);
    let report = executor.run(0, "words", r#"["to be or not"]"#, Limits::default());
    assert_eq!(report.outcome, Outcome::Succeed(Json::parse("4").unwrap()), "{report:?}");
    let report = executor.run(0, "words", r#"["later"]"#, Limits::default());
    let Outcome::Retry { after, .. } = report.outcome else { panic!("{report:?}") };
    assert_eq!(after, Some(std::time::Duration::from_secs(1)));
    let report = executor.run(0, "words", "[]", Limits::default());
    let (death, said) = crate::testing::death(&report);
    assert_eq!(death, lovage_core::Death::Exited);
    assert!(said.contains("exit status 1: the text is missing"), "{said}");
}
