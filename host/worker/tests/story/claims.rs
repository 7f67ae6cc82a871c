//! What the ledger's answer makes of a message's story.

use std::time::Duration;

use lovage_core::{
    Claimed, Death, End, Failure, Json, LedgerKey, Outcome, ParkReason, Settlement, TaskId,
    Timestamp,
};

use crate::book::grant;
use crate::stage::{Refused, Stage, envelope, failure, killed, value};

/// What a ledger keeps of a call `id` that returned 5.
fn five(id: &str) -> bytes::Bytes {
    let result = Json::parse("5").unwrap();
    let settlement = Settlement::Succeed { result, calls: Vec::new() };
    settlement.to_recorded(&TaskId::from(id)).unwrap()
}

fn over(end: End, settled: bool, verdict: Option<bytes::Bytes>) -> Claimed {
    Claimed::Over { end, settled, grant: grant(LedgerKey::from_bytes([1; 16])), verdict }
}

async fn story(id: &str, claimed: Claimed) -> Vec<String> {
    let stage = Stage::with_ledger([value("7")], [claimed]);
    stage.deliver(&envelope("demo.add", id, r#"{"idempotency-key": "k"}"#)).await;
    stage.story()
}

#[tokio::test(start_paused = true)]
async fn a_success_is_recorded_then_shown_then_closed_then_acknowledged() {
    let stage = Stage::with_ledger([value("5")], []);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    let steps = ["claim", "run", "record done", "result SUCCESS", "close", "acknowledge"];
    assert_eq!(stage.story(), steps);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_recorded_before_it_is_published() {
    let stage =
        Stage::with_ledger([Outcome::Retry { failure: failure(), after: None, options: None }], []);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    let publish = "publish celery retries=1";
    let steps = ["claim", "run", "record retry", "result RETRY", publish, "close", "acknowledge"];
    assert_eq!(stage.story(), steps);
}

#[tokio::test(start_paused = true)]
async fn who_finds_it_running_or_not_due_comes_again_and_acknowledges_nothing() {
    let remaining = Duration::from_secs(3);
    for claimed in [Claimed::Busy { remaining }, Claimed::NotYet { remaining }] {
        assert_eq!(story("1", claimed).await, ["claim", "release later"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_for_everybody_is_only_acknowledged() {
    for verdict in [None, Some(five("1"))] {
        let steps = story("1", over(End::Done, true, verdict)).await;
        assert_eq!(steps, ["claim", "acknowledge"]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_call_with_the_same_key_gets_the_result_and_runs_nothing() {
    let steps = story("2", over(End::Done, true, Some(five("1")))).await;
    assert_eq!(steps, ["claim", "result SUCCESS", "acknowledge"]);
    let failed = Settlement::Bury(Failure::new("builtins", "ValueError", "no"));
    let failed = failed.to_recorded(&TaskId::from("1")).unwrap();
    let steps = story("2", over(End::Failed, true, Some(failed))).await;
    assert_eq!(steps, ["claim", "result FAILURE", "acknowledge"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_half_told_is_told_without_running_it_again() {
    let steps = story("1", over(End::Done, false, Some(five("1")))).await;
    assert_eq!(steps, ["claim", "record done", "result SUCCESS", "close", "acknowledge"]);
}

#[tokio::test(start_paused = true)]
async fn another_call_waits_while_the_first_is_half_told() {
    let steps = story("2", over(End::Done, false, Some(five("1")))).await;
    assert_eq!(steps, ["claim", "release later"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_was_recorded_and_not_sent_is_sent() {
    let at = Timestamp::from_micros(1_790_000_005_000_000);
    let verdict = Settlement::Retry { failure: failure(), at, options: None }
        .to_recorded(&"1".into())
        .unwrap();
    let stale = Claimed::Stale {
        attempt: 1,
        remaining: Duration::from_secs(5),
        settled: false,
        grant: grant(LedgerKey::from_bytes([1; 16])),
        verdict: Some(verdict),
    };
    let publish = "publish celery retries=1";
    let steps = ["claim", "record retry", "result RETRY", publish, "close", "acknowledge"];
    assert_eq!(story("1", stale).await, steps);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_with_other_arguments_never_runs() {
    let steps = story("2", Claimed::Mismatch).await;
    assert_eq!(steps, ["claim", "result FAILURE", "keep Dead"]);
    // Where the key is the call's id, the result under that id is the other call's.
    let stage = Stage::with_ledger([value("7")], [Claimed::Mismatch]);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["claim", "keep Dead"]);
}

#[tokio::test(start_paused = true)]
async fn what_kills_its_workers_is_parked() {
    let steps = story("1", over(End::Parked, false, None)).await;
    assert_eq!(steps, ["claim", "record parked", "result FAILURE", "close", "keep Parked"]);
}

#[tokio::test(start_paused = true)]
async fn another_call_waits_while_the_first_waits_for_its_retry() {
    let grant = grant(LedgerKey::from_bytes([1; 16]));
    let (remaining, verdict) = (Duration::from_secs(3), None);
    let claimed = Claimed::Stale { attempt: 1, remaining, settled: true, grant, verdict };
    assert_eq!(story("2", claimed).await, ["claim", "release later"]);
}

#[tokio::test(start_paused = true)]
async fn another_call_is_parked_beside_the_first() {
    let doubtful = Settlement::Park(ParkReason::AmbiguousStep("charge".into()));
    let verdict = doubtful.to_recorded(&TaskId::from("1")).ok();
    let steps = story("2", over(End::Parked, true, verdict)).await;
    assert_eq!(steps, ["claim", "keep Parked"]);
    let steps = story("2", over(End::Parked, true, None)).await;
    assert_eq!(steps, ["claim", "result FAILURE", "keep Parked"]);
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_right_tells_nobody_and_gives_the_message_back() {
    let stage = Stage::with_ledger([value("5")], []);
    stage.until_renewed().await;
    stage.lose_grants();
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["claim", "run", "record done", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_ledger_session_stops_the_guests_that_it_let_run() {
    let stage = Stage::with_ledger([], []);
    stage.put(&envelope("demo.stuck", "1", "{}"));
    stage.until(|story| story.len() == 2).await;
    stage.lose_grants();
    stage.until(|story| story.iter().any(|step| step == "release")).await;
    assert_eq!(stage.story()[..3], ["claim", "run", "cancel LeaseLost"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_frees_the_calls_before_it_gives_their_messages_back() {
    let stage = Stage::with_ledger([killed(Death::LeaseLost)], []);
    stage.put(&envelope("demo.stuck", "1", "{}"));
    stage.until(|story| story.len() == 2).await;
    let (drained, story) = stage.stop_cold().await;
    assert_eq!(drained.handed_back, 1);
    let steps = ["claim", "run", "record release", "close", "release", "free", "leave"];
    assert_eq!(story, steps);
}

#[tokio::test(start_paused = true)]
async fn whose_claim_alone_is_refused_for_good_is_a_dead_letter_and_its_neighbours_run() {
    let stage = Stage::with_ledger([value("5"), value("5")], []);
    stage.refuse_claims(Refused::One);
    for id in ["1", "refused", "2"] {
        stage.put(&envelope("demo.add", id, "{}"));
    }
    let over = |step: &String| step == "acknowledge" || step.starts_with("keep");
    stage.until(|story| story.iter().filter(|step| over(step)).count() == 3).await;
    let story = stage.story();
    let count = |step: &str| story.iter().filter(|it| *it == step).count();
    assert_eq!(["run", "acknowledge", "result FAILURE", "keep Dead"].map(count), [2, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_refuses_everybody_for_good_ends_the_worker_which_gives_all_back() {
    let stage = Stage::with_ledger([], []);
    stage.refuse_claims(Refused::Everybody);
    stage.put(&envelope("demo.add", "1", "{}"));
    let (ended, story) = stage.end().await;
    assert!(ended.is_err_and(|error| !error.is_transient()));
    let settled = |step: &String| step == "acknowledge" || step.starts_with("keep");
    assert!(!story.iter().any(settled) && story.ends_with(&["free".into(), "leave".into()]));
}
