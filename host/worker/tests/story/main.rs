//! The whole story of a message, told by ports that write down what they are asked.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests fail loudly")]

mod book;
mod claims;
mod stage;

use lovage_core::{Death, Outcome};
use stage::{Stage, envelope, failure, killed, value};

#[tokio::test(start_paused = true)]
async fn a_success_is_shown_before_it_is_acknowledged() {
    let stage = Stage::new([value("5")]);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["run", "result SUCCESS", "acknowledge"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shown_and_its_message_kept_as_a_dead_letter() {
    let stage = Stage::new([Outcome::Fail(failure())]);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["run", "result FAILURE", "keep Dead"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_shown_and_published_before_the_old_message_goes() {
    let stage = Stage::new([Outcome::Retry { failure: failure(), after: None, options: None }]);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["run", "result RETRY", "publish celery retries=1", "acknowledge"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_retry_that_fails_is_final() {
    let stage = Stage::new([Outcome::Retry { failure: failure(), after: None, options: None }]);
    stage.deliver(&envelope("demo.add", "1", r#"{"retries": 3}"#)).await;
    assert_eq!(stage.story(), ["run", "result FAILURE", "keep Dead"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_breaker_is_open_is_handed_back_without_being_run() {
    let stage = Stage::new([Outcome::Fail(failure())]);
    stage.deliver(&envelope("demo.guarded", "1", "{}")).await;
    assert_eq!(stage.story(), ["run", "result FAILURE", "keep Dead"]);
    stage.deliver(&envelope("demo.guarded", "2", "{}")).await;
    assert_eq!(stage.story(), ["release later"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_arguments_do_not_fit_never_starts_a_guest() {
    let stage = Stage::new([]);
    stage.deliver(&envelope("demo.typed", "1", "{}")).await;
    assert_eq!(stage.story(), ["result FAILURE", "keep Dead"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_parked_and_its_caller_told() {
    let stage = Stage::new([]);
    stage.deliver(&envelope("demo.nobody", "1", "{}")).await;
    assert_eq!(stage.story(), ["result FAILURE", "keep Parked"]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_read_is_quarantined() {
    let stage = Stage::new([]);
    for bytes in ["", "not JSON", "{}", "[1, 2]", "\u{0}"] {
        stage.deliver(bytes).await;
    }
    assert_eq!(stage.story(), ["keep Quarantined"; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_has_not_come_goes_back_untouched() {
    let stage = Stage::new([]);
    stage.deliver(&envelope("demo.add", "1", r#"{"eta": "2100-01-01T00:00:00+00:00"}"#)).await;
    assert_eq!(stage.story(), ["release later"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_is_not_run() {
    let stage = Stage::new([]);
    stage.deliver(&envelope("demo.add", "1", r#"{"expires": "2000-01-01T00:00:00"}"#)).await;
    assert_eq!(stage.story(), ["result REVOKED", "acknowledge"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_executor_dies_is_run_again_alone_and_not_for_ever() {
    let lost = || killed(Death::ExecutorLost);
    let stage = Stage::new([lost(), lost(), value("5"), lost(), lost(), lost()]);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    let runs = ["run", "run", "alone", "run"];
    assert_eq!(stage.story(), [&runs[..], &["result SUCCESS", "acknowledge"]].concat());
    stage.deliver(&envelope("demo.add", "2", "{}")).await;
    assert_eq!(stage.story(), [&runs[..], &["result FAILURE", "keep Dead"]].concat());
}

#[tokio::test(start_paused = true)]
async fn what_another_worker_has_is_told_to_nobody_and_given_back() {
    let stage = Stage::new([killed(Death::LeaseLost)]);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["run", "release"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_while_results_cannot_be_stored() {
    let stage = Stage::new([value("5")]);
    stage.fail_results(2, true);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    let tries = ["run", "result refused", "result refused", "result SUCCESS", "acknowledge"];
    assert_eq!(stage.story(), tries);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_result_is_refused_for_good_is_kept() {
    let stage = Stage::new([value("5")]);
    stage.fail_results(1, false);
    stage.deliver(&envelope("demo.add", "1", "{}")).await;
    assert_eq!(stage.story(), ["run", "result refused", "keep Dead"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_there_are_free_slots() {
    let stage = Stage::new([]);
    for number in 0..10 {
        stage.put(&envelope("demo.stuck", &number.to_string(), "{}"));
    }
    stage.until(|story| story.len() == stage::SLOTS).await;
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    assert_eq!(stage.story().len(), stage::SLOTS);
    assert_eq!(stage.waiting(), 10 - stage::SLOTS);
}

#[tokio::test(start_paused = true)]
async fn a_cold_stop_settles_nothing_and_hands_everything_back() {
    let stage = Stage::new([]);
    stage.put(&envelope("demo.stuck", "1", "{}"));
    stage.until(|story| story.len() == 1).await;
    let (drained, story) = stage.stop_cold().await;
    assert_eq!(drained.handed_back, 1);
    assert_eq!(story, ["run", "release", "leave"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_the_guest_and_settles_nothing() {
    let stage = Stage::new([]);
    stage.put(&envelope("demo.stuck", "1", "{}"));
    stage.until(|story| story.len() == 1).await;
    stage.lose_leases();
    stage.until(|story| story.len() == 3).await;
    assert_eq!(stage.story(), ["run", "cancel LeaseLost", "release"]);
    let (drained, _) = stage.stop_warm().await;
    assert_eq!(drained.handed_back, 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_renew_stops_its_guests_before_the_lease_is_over() {
    let stage = Stage::new([]);
    stage.put(&envelope("demo.stuck", "1", "{}"));
    stage.until(|story| story.len() == 1).await;
    let begun = tokio::time::Instant::now();
    stage.fail_renewals();
    stage.until(|story| story.len() == 3).await;
    assert!(begun.elapsed() < stage::LEASE);
    assert_eq!(stage.story(), ["run", "cancel LeaseLost", "release"]);
}
