//! The promises of a [`ResultBackend`].

use std::time::Duration;

use lovage_core::ports::ResultBackend;
use lovage_core::{Failure, Json, ResultRecord, TaskId, TaskState};
use tokio::time::Instant;

use crate::ResultRig;
use crate::broker::now;

/// What is stored is what a caller sees.
pub async fn a_stored_result_is_seen(rig: &impl ResultRig) {
    let backend = rig.backend().await;
    assert_eq!(rig.seen(&"one".into()).await, None);
    store(&*backend, &[record("one", success("[1, null, \"\u{1f33f}\"]"))]).await;
    assert_eq!(rig.seen(&"one".into()).await, Some(seen("SUCCESS", "[1, null, \"\u{1f33f}\"]")));
    let loaded = backend.load(&"one".into()).await.expect("loaded").expect("stored");
    let fields: serde_json::Value = serde_json::from_str(&loaded).expect("JSON");
    assert_eq!((&fields["status"], &fields["result"][0]), (&"SUCCESS".into(), &1.into()));
    assert_eq!(backend.load(&"two".into()).await.expect("loaded"), None);
}

/// A state that is no success gives way to whatever comes next.
pub async fn a_state_gives_way_to_the_next(rig: &impl ResultRig) {
    let backend = rig.backend().await;
    let started = TaskState::Started { process_id: 1, hostname: "here".to_owned() };
    let failed = TaskState::Failure(failure());
    for state in [started, TaskState::Retry(failure()), failed, success("3")] {
        let name = state.name().to_owned();
        store(&*backend, &[record("one", state)]).await;
        assert_eq!(rig.seen(&"one".into()).await.expect("seen").0, name);
    }
}

/// A success is final: whatever a redelivery or a revoke says later, callers keep seeing it.
pub async fn a_success_is_never_overwritten(rig: &impl ResultRig) {
    let backend = rig.backend().await;
    store(&*backend, &[record("one", success("1"))]).await;
    for state in [
        TaskState::Failure(failure()),
        TaskState::Retry(failure()),
        TaskState::Revoked("terminated"),
        success("2"),
    ] {
        store(&*backend, &[record("one", state.clone()), record("two", state)]).await;
        assert_eq!(rig.seen(&"one".into()).await, Some(seen("SUCCESS", "1")));
        assert!(rig.seen(&"two".into()).await.is_some(), "its neighbour was stored");
    }
}

/// A batch is stored whole; a later record of the same task counts.
pub async fn a_batch_is_stored_whole(rig: &impl ResultRig) {
    let backend = rig.backend().await;
    let mut batch: Vec<_> =
        (0..500).map(|n| record(&format!("task {n}"), success(&n.to_string()))).collect();
    batch.insert(0, record("task 7", TaskState::Retry(failure())));
    store(&*backend, &batch).await;
    assert!(backend.store(&[]).await.is_empty());
    for n in 0..500 {
        let id = TaskId::from(format!("task {n}"));
        assert_eq!(rig.seen(&id).await, Some(seen("SUCCESS", &n.to_string())));
    }
}

/// Storing may be repeated.
pub async fn storing_may_be_repeated(rig: &impl ResultRig) {
    let backend = rig.backend().await;
    for _ in 0..3 {
        store(&*backend, &[record("one", success("1"))]).await;
    }
    assert_eq!(rig.seen(&"one".into()).await, Some(seen("SUCCESS", "1")));
}

/// A result whose own time is over goes, at the latest when the next one of its kind comes, and takes
/// no other with it.
pub async fn a_result_has_a_time_of_its_own(rig: &impl ResultRig) {
    let backend = rig.backend().await;
    let long_ago = now().before(Duration::from_hours(2));
    let kept = |task: &str, at, life| ResultRecord {
        at,
        life: Some(Duration::from_secs(life)),
        ..record(task, success("1"))
    };
    store(&*backend, &[kept("short", long_ago, 1), kept("long", long_ago, 100_000)]).await;
    store(&*backend, &[record("usual", success("1"))]).await;
    let begun = Instant::now();
    while rig.seen(&"short".into()).await.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is kept for ever");
        store(&*backend, &[kept("next", now(), 100_000)]).await;
        // Sleeps because a server counts a result's time by its own clock.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for task in ["long", "usual", "next"] {
        assert_eq!(rig.seen(&task.into()).await, Some(seen("SUCCESS", "1")), "{task}");
    }
}

/// A record of a task in this state.
pub fn record(task: &str, state: TaskState) -> ResultRecord {
    ResultRecord {
        task_id: task.into(),
        state,
        at: now(),
        group: None,
        parent_id: None,
        children: Vec::new(),
        reply_to: None,
        correlation_id: None,
        extended: None,
        tenant: None,
        life: None,
    }
}

/// A success with this value.
pub fn success(value: &str) -> TaskState {
    TaskState::Success(Json::parse(value).expect("JSON"))
}

fn failure() -> Failure {
    Failure::new("builtins", "ValueError", "no")
}

fn seen(state: &str, result: &str) -> (String, String) {
    (state.to_owned(), result.to_owned())
}

async fn store(backend: &dyn ResultBackend, batch: &[ResultRecord]) {
    let answers = backend.store(batch).await;
    assert!(answers.len() == batch.len() && answers.iter().all(Result::is_ok), "{answers:?}");
}
