//! What guests ask their host, and what they hear.

use lovage_core::{Json, Limits, Outcome};

use crate::testing::Executor;

#[test]
fn calls_in_the_outbox_leave_with_a_success() {
    let mut executor = Executor::with(2, &["hostile-tasks.wasm"]);
    let report = executor.run(0, "hostile.outbox", "[]", Limits::default());
    assert_eq!(report.outcome, Outcome::Succeed(Json::parse("100").unwrap()));
    assert_eq!(report.outbox.len(), 100);
    assert_eq!(report.outbox[0].task.as_str(), "hostile.spin");
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
