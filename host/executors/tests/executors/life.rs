//! Executors that die, lie, hang or never come to life, and their end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lovage_core::Death;
use lovage_core::frames::PROTOCOL;
use lovage_core::ports::Sandbox;
use lovage_executors::{Cause, Executors, Options, StartError};
use tokio::sync::Barrier;

use crate::Test;
use crate::stage::{
    Services, death, exists, in_flight, job, kill, number, options, run, runs, spawn, start, until,
    value,
};

const SECOND: Duration = Duration::from_secs(1);

/// All of them.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a_killed_executor_is_replaced_and_everyone_is_told", || Box::pin(killed())),
    ("what_was_said_before_the_end_counts", || Box::pin(last_words())),
    ("whoever_breaks_the_rules_is_replaced", || Box::pin(rules())),
    ("a_hung_executor_is_replaced", || Box::pin(hung())),
    ("an_executor_that_ignores_a_cancel_is_hung", || Box::pin(ignores_cancel())),
    ("the_first_that_cannot_start_is_an_error", || Box::pin(cannot_start())),
    ("attempts_wait_for_an_executor_that_starts", || Box::pin(starts_later())),
    ("stopping_leaves_nothing_behind", || Box::pin(stopping())),
    ("dropping_leaves_nothing_running", || Box::pin(dropping())),
    ("who_runs_alone_fells_nobody_else", || Box::pin(alone())),
    ("executors_die_with_their_worker", || Box::pin(with_the_worker())),
];

async fn killed() {
    let executors = start(options("plain", 2)).await;
    let held: Vec<_> = (0..200).map(|_| spawn(&executors, job("hold"))).collect();
    until("all are in flight", || in_flight(&executors) == 200).await;
    let before = executors.states()[0];
    assert!(before.in_flight >= 80, "{before:?}");
    let victim = before.process.unwrap();
    kill(victim);
    let since = Instant::now();
    until("it is replaced", || {
        executors.states()[0].process.is_some_and(|process| process != victim)
    })
    .await;
    assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
    until("they are told", || held.iter().filter(|at| at.is_finished()).count() > 0).await;
    let told: Vec<_> = held.iter().filter(|at| at.is_finished()).collect();
    assert_eq!(told.len(), before.in_flight);

    let losses = executors.take_losses();
    let [loss] = losses.as_slice() else { panic!("{losses:?}") };
    assert_eq!((loss.process, loss.suspects.len()), (victim, before.in_flight));
    assert!(loss.suspects.iter().all(|at| at.task.as_ref().unwrap().as_str() == "id-hold"));
    assert!(loss.cause.to_string().contains("signal: 9"), "{}", loss.cause);
    assert!(executors.take_losses().is_empty());

    let states = executors.states();
    assert_eq!((states[0].started, states[0].lost, states[1].lost), (2, 1, 0));
    assert_eq!(value(&run(&executors, "echo").await), "[1, 2]");
    // The other half has noticed nothing.
    run(&executors, "release").await;
    assert!(!exists(victim));
    executors.stop().await;
    let mut lost = 0;
    for report in held {
        lost += usize::from(death(&report.await.unwrap().outcome) == Some(Death::ExecutorLost));
    }
    assert_eq!(lost, before.in_flight);
}

async fn last_words() {
    let executors = start(options("plain", 1)).await;
    for lost in 1..=20 {
        assert_eq!(value(&run(&executors, "done-and-die").await), "\"last words\"");
        until("its end is noticed", || executors.states()[0].lost == lost).await;
    }
    assert!(executors.take_losses().iter().all(|loss| loss.suspects.is_empty()));
    executors.stop().await;
}

async fn rules() {
    for task in [
        "stranger",
        "stranger-call",
        "calls",
        "twice",
        "ready",
        "unasked",
        "large",
        "garbage",
        "empty",
        "outbox",
    ] {
        // The services answer nothing here, so that unanswered calls pile up.
        let services = Arc::new(Services(Barrier::new(1_000)));
        let executors = Arc::new(Executors::start(options("plain", 1), services).await.unwrap());
        let neighbour = spawn(&executors, job("hold"));
        until("the neighbour is in flight", || in_flight(&executors) == 1).await;
        let outcome = run(&executors, task).await;
        if task != "twice" {
            assert_eq!(death(&outcome), Some(Death::ExecutorLost), "{task}: {outcome:?}");
        }
        let neighbour = neighbour.await.unwrap().outcome;
        assert_eq!(death(&neighbour), Some(Death::ExecutorLost), "{task}");
        let losses = executors.take_losses();
        assert!(matches!(losses[0].cause, Cause::BrokeRules(_)), "{task}: {losses:?}");
        assert_eq!(value(&run(&executors, "echo").await), "[1, 2]", "{task}");
        executors.stop().await;
    }
}

async fn hung() {
    let grace = Duration::from_millis(200);
    let executors = start(Options { grace, ..options("plain", 1) }).await;
    let neighbour = spawn(&executors, job("hold"));
    let mut job = job("hang");
    job.limits.time = Duration::from_millis(100);
    let since = Instant::now();
    let number = number();
    let outcome = executors.run(number, &job).await.outcome;
    assert_eq!(death(&outcome), Some(Death::ExecutorLost), "{outcome:?}");
    let took = since.elapsed();
    assert!(took >= job.limits.time + grace && took < SECOND, "{took:?}");
    assert_eq!(death(&neighbour.await.unwrap().outcome), Some(Death::ExecutorLost));
    let losses = executors.take_losses();
    assert!(matches!(losses[0].cause, Cause::Hung(hung) if hung == number), "{losses:?}");
    assert_eq!(value(&run(&executors, "echo").await), "[1, 2]");
    executors.stop().await;
}

async fn ignores_cancel() {
    let grace = Duration::from_millis(200);
    let executors = start(Options { grace, ..options("plain", 1) }).await;
    let hangs = spawn(&executors, job("hang"));
    until("it is in flight", || in_flight(&executors) == 1).await;
    hangs.abort();
    until("it is replaced", || executors.states()[0].started == 2).await;
    assert_eq!(executors.states()[0].lost, 1);
    executors.stop().await;
}

async fn cannot_start() {
    let start = async |options| {
        let services = Arc::new(Services(Barrier::new(1)));
        Executors::start(options, services).await.err().unwrap()
    };
    let error = start(Options::new("/no/such/program", ["executor"])).await;
    assert!(matches!(error, StartError::Spawn(_)), "{error:?}");
    let error = start(options("dead", 2)).await;
    let StartError::Ended { status, said } = &error else { panic!("{error:?}") };
    assert!(status.contains("exit status: 101"), "{error}");
    assert!(said.contains("RUST_BACKTRACE") && !said.contains('\x1b'), "{error}");
    let error = start(options("old", 2)).await;
    assert!(matches!(error, StartError::Protocol(it) if it == PROTOCOL + 1), "{error:?}");
    let error = start(options("talks", 2)).await;
    assert!(matches!(error, StartError::FirstWords), "{error:?}");
    let brief = Options { start_time: Duration::from_millis(100), ..options("mute", 2) };
    let error = start(brief).await;
    assert!(matches!(error, StartError::NotReady(_)), "{error:?}");
}

async fn starts_later() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().join("allowed");
    std::fs::write(&allowed, "").unwrap();
    let executors = start(options(&format!("until:{}", allowed.display()), 1)).await;
    std::fs::remove_file(&allowed).unwrap();
    kill(executors.states()[0].process.unwrap());
    until("it fails to start again and again", || executors.states()[0].failed_starts >= 3).await;
    let waits = spawn(&executors, job("echo"));
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    std::fs::write(&allowed, "").unwrap();
    assert_eq!(value(&waits.await.unwrap().outcome), "[1, 2]");
    executors.stop().await;
}

async fn stopping() {
    let stop_time = Duration::from_millis(300);
    let executors = start(Options { stop_time, slots: 2, ..options("plain", 2) }).await;
    let processes: Vec<u32> = executors.states().iter().filter_map(|at| at.process).collect();
    let running: Vec<_> = ["deaf", "hold", "hold"].map(|task| spawn(&executors, job(task))).into();
    until("all are in flight", || in_flight(&executors) == 3).await;
    let more: Vec<_> = (0..9).map(|_| spawn(&executors, job("hold"))).collect();
    until("the rest waits", || in_flight(&executors) == 4).await;
    let since = Instant::now();
    executors.stop().await;
    let took = since.elapsed();
    assert!(took >= stop_time && took < SECOND, "the deaf one is killed: {took:?}");
    assert!(processes.iter().all(|process| !exists(*process)), "no zombie");
    let mut deaths = Vec::new();
    for report in running.into_iter().chain(more) {
        deaths.push(death(&report.await.unwrap().outcome).unwrap());
    }
    assert_eq!(deaths.iter().filter(|at| **at == Death::LeaseLost).count(), 4);
    assert_eq!(deaths.iter().filter(|at| **at == Death::NotStarted).count(), 8);
    assert_eq!(death(&run(&executors, "echo").await), Some(Death::NotStarted));
    assert!(executors.take_losses().is_empty());
}

async fn dropping() {
    let executors = start(options("plain", 2)).await;
    let processes: Vec<u32> = executors.states().iter().filter_map(|at| at.process).collect();
    let deaf = spawn(&executors, job("deaf"));
    until("it is in flight", || in_flight(&executors) == 1).await;
    deaf.abort();
    assert!(deaf.await.is_err());
    drop(executors);
    until("none runs", || processes.iter().all(|process| !runs(*process))).await;
}

/// A worker whose executor no longer reads; it says which process that is, and waits.
pub(crate) fn worker() -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async {
        let executors = start(options("plain", 1)).await;
        let deaf = spawn(&executors, job("deaf"));
        until("it is in flight", || in_flight(&executors) == 1).await;
        // A frame more than fits the socket: it is deaf when this cannot be written.
        println!("{}", executors.states()[0].process.unwrap());
        deaf.await.unwrap();
    })
}

async fn with_the_worker() {
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .arg("worker")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let executor: u32 = line.trim().parse().unwrap();
    assert!(runs(executor));
    worker.kill().unwrap();
    worker.wait().unwrap();
    until("its executor has ended", || !runs(executor)).await;
}

/// A suspect falls in an executor of its own; those who share the other executors and those who
/// take their turn after it are none the worse.
async fn alone() {
    let executors = start(options("plain", 1)).await;
    let neighbour = spawn(&executors, job("hold"));
    until("the neighbour is there", || executors.states()[0].in_flight == 1).await;
    let felled = job("die");
    let innocent = job("echo");
    let (fell, cleared) = tokio::join!(
        executors.run_alone(number(), &felled),
        executors.run_alone(number(), &innocent),
    );
    assert_eq!(death(&fell.outcome), Some(Death::ExecutorLost));
    assert_eq!(value(&cleared.outcome), "[1, 2]");
    assert_eq!(executors.states()[0].lost, 0);
    let released = job("release");
    executors.run(number(), &released).await;
    assert_eq!(value(&neighbour.await.unwrap().outcome), "\"released\"");
    executors.stop().await;
}
