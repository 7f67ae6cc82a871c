//! Attempts: placed, answered, refused, cancelled.

use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::Sandbox;
use lovage_core::{Death, Json, Limits, Outcome, Tenant, Timestamp};
use lovage_executors::Options;

use crate::Test;
use crate::stage::{
    death, in_flight, job, module, number, options, run, runs, spawn, start, start_with, until,
    value,
};

/// A limit of ours that no test may wait for.
const SOON: Duration = Duration::from_millis(200);

/// All of them.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("many_attempts_are_in_flight_and_end_in_any_order", || Box::pin(any_order())),
    ("attempts_are_spread_evenly", || Box::pin(spread())),
    ("an_attempt_is_told_everything", || Box::pin(told())),
    ("arguments_above_their_limit_are_not_sent", || Box::pin(large_arguments())),
    ("a_number_runs_once", || Box::pin(number_twice())),
    ("a_module_that_does_not_load_is_no_attempt_and_is_asked_for_again", || Box::pin(unloadable())),
    ("modules_beyond_the_bound_are_unloaded_and_loaded_again", || Box::pin(unloaded())),
    ("an_executor_serves_one_tenant_while_there_are_enough", || Box::pin(tenants())),
    ("a_module_says_what_it_is", || Box::pin(describe())),
    ("host_calls_are_answered_side_by_side", || Box::pin(calls())),
    ("a_dropped_attempt_is_cancelled_in_its_executor", || Box::pin(dropped())),
    ("a_cancelled_attempt_dies_as_it_was_told", || Box::pin(cancelled())),
    ("log_lines_above_their_limit_are_dropped_and_counted", || Box::pin(logs())),
    ("an_executor_that_does_not_read_is_given_no_more", || Box::pin(back_pressure())),
    ("no_more_attempts_than_slots_are_in_an_executor", || Box::pin(slots())),
    ("an_executor_has_its_socket_and_nothing_else", || Box::pin(nothing_else())),
];

async fn any_order() {
    let executors = start(options("plain", 1)).await;
    let held: Vec<_> = (0..500).map(|_| spawn(&executors, job("hold"))).collect();
    until("all are in flight", || in_flight(&executors) == 500).await;
    assert_eq!(value(&run(&executors, "echo").await), "[1, 2]");
    run(&executors, "release").await;
    for report in held {
        assert_eq!(value(&report.await.unwrap().outcome), "\"released\"");
    }
    let state = executors.states()[0];
    assert_eq!((state.in_flight, state.in_flight_peak, state.finished), (0, 501, 502));
    executors.stop().await;
}

async fn spread() {
    let executors = start(options("plain", 3)).await;
    let held: Vec<_> = (0..300).map(|_| spawn(&executors, job("hold"))).collect();
    until("all are in flight", || in_flight(&executors) == 300).await;
    for state in executors.states() {
        assert!((80..=120).contains(&state.in_flight), "{state:?}");
    }
    drop(held);
    executors.stop().await;
}

async fn told() {
    let executors = start(options("plain", 1)).await;
    let mut job = job("attempt");
    job.invocation.eta = Some(Timestamp::from_micros(1_700_000_000_000_000));
    let told = executors.run(number(), &job).await.outcome;
    for part in [
        r#"task: \\\"attempt\\\""#,
        r#"args: \\\"[1, 2]\\\""#,
        r#"root_id: Some(\\\"root\\\"), parent_id: None"#,
        "retries: 2",
        r#"key: \\\"key\\\", queue: \\\"celery\\\", eta: Some(\\\"2023-11-14T22:13:20Z\\\")"#,
    ] {
        let part = part.replace(r"\\\", r"\");
        assert!(value(&told).contains(&part), "{part} in {}", value(&told));
    }
    executors.stop().await;
}

async fn large_arguments() {
    let executors = start(options("plain", 1)).await;
    let mut job = job("echo");
    job.limits = Limits { argument_bytes: 7, ..Limits::default() };
    let outcome = executors.run(number(), &job).await.outcome;
    assert_eq!(death(&outcome), Some(Death::ArgumentsTooLarge));
    job.limits.argument_bytes = 8;
    assert_eq!(value(&executors.run(number(), &job).await.outcome), "[1, 2]");
    // Larger than a frame, whatever the limits say.
    job.limits.argument_bytes = u32::MAX;
    job.invocation.args = Json::string(&"x".repeat(65 << 20));
    let outcome = executors.run(number(), &job).await.outcome;
    assert_eq!(death(&outcome), Some(Death::ArgumentsTooLarge));
    assert_eq!(value(&run(&executors, "echo").await), "[1, 2]");
    executors.stop().await;
}

async fn number_twice() {
    let executors = start(options("plain", 1)).await;
    let number = number();
    let held = { (Arc::clone(&executors), job("hold")) };
    let held = tokio::spawn(async move { held.0.run(number, &held.1).await });
    until("it is in flight", || in_flight(&executors) == 1).await;
    let second = executors.run(number, &job("echo")).await.outcome;
    assert_eq!(death(&second), Some(Death::NotStarted));
    run(&executors, "release").await;
    assert_eq!(value(&held.await.unwrap().outcome), "\"released\"");
    executors.stop().await;
}

async fn unloadable() {
    let executors = start(options("plain", 1)).await;
    let mut job = job("never-started");
    job.module = Arc::new(module(9, "/unloadable"));
    for _ in 0..3 {
        let outcome = executors.run(number(), &job).await.outcome;
        let Outcome::Killed { death: Death::NotStarted, failure } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(failure.arguments.as_str().contains("no such file"), "{failure}");
    }
    job.module = Arc::new(module(9, "/loadable"));
    job.invocation.task = "echo".into();
    assert_eq!(value(&executors.run(number(), &job).await.outcome), "[1, 2]");
    assert_eq!(executors.states()[0].lost, 0);
    executors.stop().await;
}

/// The executor checks that what runs is loaded, and that nothing is loaded twice.
async fn unloaded() {
    let options = Options { modules_max: 3, ..options("plain", 1) };
    let executors = start_with(options, 1).await;
    let of = |digest: u8, task: &str| {
        let mut job = job(task);
        job.module = Arc::new(module(digest, "/m.cwasm"));
        job
    };
    let held = spawn(&executors, of(0, "hold"));
    until("it is in flight", || in_flight(&executors) == 1).await;
    for round in 0..3 {
        for digest in 1..=8 {
            let outcome = executors.run(number(), &of(digest, "echo")).await.outcome;
            assert_eq!(value(&outcome), "[1, 2]", "{round} {digest}");
            assert!(executors.states()[0].modules <= 3);
        }
    }
    executors.run(number(), &of(0, "release")).await;
    assert_eq!(value(&held.await.unwrap().outcome), "\"released\"");
    assert_eq!(executors.states()[0].lost, 0);
    executors.stop().await;
}

async fn tenants() {
    let executors = start(options("plain", 2)).await;
    let of = |tenant: &str| {
        let mut job = job("hold");
        job.tenant = Arc::new(Tenant::new(tenant.parse().unwrap()));
        job
    };
    let mut held = vec![spawn(&executors, of("a"))];
    until("a is in flight", || in_flight(&executors) == 1).await;
    held.push(spawn(&executors, of("b")));
    until("b is in flight", || in_flight(&executors) == 2).await;
    held.extend((0..10).map(|_| spawn(&executors, of("a"))));
    until("all are in flight", || in_flight(&executors) == 12).await;
    let mut seats: Vec<_> = executors.states().iter().map(|at| at.in_flight).collect();
    seats.sort_unstable();
    assert_eq!(seats, [1, 11], "each has an executor of its own");
    held.push(spawn(&executors, of("c")));
    until("c shares the one with fewer", || executors.states().iter().all(|at| at.in_flight >= 2))
        .await;
    drop(held);
    executors.stop().await;
}

async fn describe() {
    let executors = start(options("plain", 1)).await;
    assert_eq!(executors.describe(&module(1, "m")).await.unwrap().as_str(), r#"{"v": 1}"#);
    let report = executors.describe(&module(2, "unloadable")).await.unwrap_err();
    assert_eq!(death(&report.outcome), Some(Death::NotStarted));
    executors.stop().await;
}

async fn calls() {
    // The services answer only when all three are there: one by one they would wait for ever.
    let executors = start_with(options("plain", 2), 3).await;
    let calls: Vec<_> = (0..3).map(|_| spawn(&executors, job("call"))).collect();
    for call in calls {
        let outcome = call.await.unwrap().outcome;
        assert!(value(&outcome).contains("StepRun"), "{outcome:?}");
    }
    executors.stop().await;
}

async fn dropped() {
    let executors = start(options("plain", 1)).await;
    let held = spawn(&executors, job("hold"));
    until("it is in flight", || in_flight(&executors) == 1).await;
    held.abort();
    until("it has ended", || in_flight(&executors) == 0).await;
    assert_eq!(value(&run(&executors, "cancels").await), "\"[LeaseLost]\"");
    executors.stop().await;
}

async fn cancelled() {
    let executors = start(options("plain", 2)).await;
    let number = number();
    let held = { (Arc::clone(&executors), job("hold")) };
    let held = tokio::spawn(async move { held.0.run(number, &held.1).await });
    until("it is in flight", || in_flight(&executors) == 1).await;
    executors.cancel(number, Death::Revoked);
    // Once is enough, and what has ended cannot be cancelled.
    executors.cancel(number, Death::LeaseLost);
    assert_eq!(death(&held.await.unwrap().outcome), Some(Death::Revoked));
    executors.cancel(number, Death::Revoked);
    assert_eq!(executors.states().iter().map(|at| at.lost).sum::<u64>(), 0);
    executors.stop().await;
}

async fn logs() {
    let executors = start(options("plain", 1)).await;
    let report = executors.run(number(), &job("logs")).await;
    assert_eq!((report.logs.len(), report.logs_dropped), (1_000, 4_007));
    executors.stop().await;
}

async fn back_pressure() {
    let most = 64 << 10;
    let executors = start(Options { queue_bytes_max: most, ..options("plain", 1) }).await;
    let deaf = executors.states()[0].process.unwrap();
    let lost = spawn(&executors, job("deaf"));
    until("it is in flight", || in_flight(&executors) == 1).await;
    let mut large = job("echo");
    large.invocation.args = Json::string(&"x".repeat(16 << 10));
    let waiting: Vec<_> = (0..200).map(|_| spawn(&executors, large.clone())).collect();
    until("its queue is full", || executors.states()[0].queued_bytes >= most).await;
    let state = executors.states()[0];
    assert!(state.queued_bytes < most + (17 << 10), "{state:?}");
    assert!(state.in_flight < 60, "{state:?}");
    crate::stage::kill(deaf);
    let (mut done, mut killed) = (0, 0);
    for report in waiting {
        match report.await.unwrap().outcome {
            Outcome::Succeed(_) => done += 1,
            other => killed += usize::from(death(&other) == Some(Death::ExecutorLost)),
        }
    }
    assert_eq!((done + killed, killed), (200, state.in_flight - 1));
    assert_eq!(death(&lost.await.unwrap().outcome), Some(Death::ExecutorLost));
    assert!(!runs(deaf));
    executors.stop().await;
}

async fn slots() {
    let executors = start(Options { slots: 4, ..options("plain", 2) }).await;
    let jobs: Vec<_> = (0..50).map(|_| spawn(&executors, job("hold"))).collect();
    until("all slots are taken", || in_flight(&executors) == 8).await;
    let waits = tokio::time::timeout(SOON, run(&executors, "echo")).await;
    assert!(waits.is_err(), "there is no slot");
    assert_eq!(in_flight(&executors), 8);
    // Ended one after another, each makes room for the next.
    let mut ended = 0;
    for job in jobs {
        job.abort();
        ended += usize::from(job.await.is_err());
        until("slots are refilled", || in_flight(&executors) == 8.min(50 - ended)).await;
    }
    assert!(executors.states().iter().all(|at| at.in_flight_peak == 4));
    executors.stop().await;
}

async fn nothing_else() {
    let inherited = tempfile::tempfile().unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let executors = start(options("plain", 1)).await;
    let mine = run(&executors, "self").await;
    let Outcome::Succeed(mine) = &mine else { panic!("{mine:?}") };
    let nice = format!("nice {}", rustix::process::nice(0).unwrap() + 5);
    let expected = [
        "fd 0 socket",
        "fd 1 /dev/null",
        "fd 2 pipe",
        "folder /",
        nice.as_str(),
        "no new privileges true",
        "own group true",
        "core Some(0) Some(0)",
        "files Some(1024) Some(1024)",
    ];
    let expected: Vec<String> = expected.iter().map(|text| format!("{text:?}")).collect();
    assert_eq!(mine.elements().unwrap(), expected);
    executors.stop().await;
}
