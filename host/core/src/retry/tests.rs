//! Delays as their formulas have them, and retries that end.

use std::time::Duration;

use super::{Backoff, Cause, Causes, FailedAttempt, Jitter, RetryMarks, RetryPolicy, RetryRequest};
use crate::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

fn policy(json: &str) -> RetryPolicy {
    let request: RetryRequest = serde_json::from_str(json).unwrap();
    request.check().unwrap();
    RetryPolicy::requested(Some(&request))
}

fn failed(retries: u32, asked_s: Option<u64>) -> FailedAttempt {
    FailedAttempt { retries, asked: asked_s.map(Duration::from_secs), now: NOW, chance: 0.5 }
}

/// Delays of retry `retries + 1`, in order, drawn from a source whose seed is fixed.
fn sample(json: &str, retries: u32, previous: Option<f64>) -> Vec<f64> {
    let (backoff, previous) = (policy(json).backoff, previous.map(Duration::from_secs_f64));
    let mut chance = fastrand::Rng::with_seed(26);
    let draw = |_| backoff.delay(retries, previous, chance.f64()).as_secs_f64();
    let mut delays: Vec<f64> = (0..20_000).map(draw).collect();
    delays.sort_by(f64::total_cmp);
    delays
}

/// The test of Kolmogorov and Smirnov against the uniform distribution: `p > 0.01`.
fn assert_uniform(delays: &[f64], least: f64, most: f64) {
    assert!(least <= delays[0] && *delays.last().unwrap() <= most, "{least} to {most}");
    let count = f64::from(u32::try_from(delays.len()).unwrap());
    let distance = (0_u32..)
        .zip(delays)
        .map(|(rank, delay)| {
            let share = (delay - least) / (most - least);
            (share - f64::from(rank) / count).max((f64::from(rank) + 1.0) / count - share)
        })
        .fold(0.0, f64::max);
    assert!(distance * count.sqrt() < 1.628, "{distance} too far from {least} to {most}");
}

#[test]
fn full_jitter_is_anything_up_to_the_delay() {
    let json = r#"{"backoff": "full_jitter", "base_s": 2, "cap_s": 60, "floor_s": 0}"#;
    for (retries, most) in [(0, 2.0), (1, 4.0), (4, 32.0), (5, 60.0), (u32::MAX, 60.0)] {
        assert_uniform(&sample(json, retries, None), 0.0, most);
    }
}

#[test]
fn equal_jitter_is_the_upper_half() {
    let json = r#"{"backoff": "equal_jitter", "base_s": 2, "factor": 3, "cap_s": 60}"#;
    for (retries, most) in [(0, 2.0), (1, 6.0), (3, 54.0), (4, 60.0)] {
        assert_uniform(&sample(json, retries, None), most / 2.0, most);
    }
}

#[test]
fn decorrelated_jitter_follows_the_delay_before() {
    let json = r#"{"backoff": "decorrelated", "base_s": 1, "cap_s": 1000}"#;
    for (previous, most) in [(None, 3.0), (Some(0.5), 3.0), (Some(10.0), 30.0)] {
        assert_uniform(&sample(json, 7, previous), 1.0, most);
    }
    let capped = sample(r#"{"backoff": "decorrelated", "cap_s": 5}"#, 0, Some(100.0));
    assert!(capped.iter().all(|delay| *delay <= 5.0) && *capped.last().unwrap() >= 5.0);
}

#[test]
fn celerys_jitter_is_whole_seconds_each_as_likely() {
    for (json, retries, most) in [
        (r#"{"backoff": "celery"}"#, 3, 8_u64),
        (r#"{"backoff": "celery", "factor": 2}"#, 2, 8),
        (r#"{"backoff": "celery", "factor": 3, "cap_s": 10}"#, 2, 10),
    ] {
        let delays = sample(json, retries, None);
        let expected = 20_000.0 / f64::from(u32::try_from(most).unwrap() + 1);
        let mut squares = 0.0;
        let mut counted = 0;
        for second in 0..=u32::try_from(most).unwrap() {
            let here =
                delays.iter().filter(|delay| (**delay - f64::from(second)).abs() < 1e-9).count();
            counted += here;
            squares += (f64::from(u32::try_from(here).unwrap()) - expected).powi(2) / expected;
        }
        assert_eq!(counted, delays.len(), "whole seconds, both ends included");
        // Chi-squared with 8 to 10 degrees of freedom exceeds 20 in one of a hundred samples.
        assert!(squares < 20.0, "{squares}");
    }
}

#[test]
fn celerys_delays_without_jitter_are_those_it_was_recorded_with() {
    let policy = policy(r#"{"backoff": "celery", "factor": 2, "jitter": "none", "max": null}"#);
    let delays: Vec<u64> = (0..10).map(|n| policy.backoff.delay(n, None, 0.9).as_secs()).collect();
    assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600]);
}

#[test]
fn a_fixed_delay_is_what_it_is_and_defaults_are_celerys() {
    assert_eq!(RetryPolicy::requested(None), RetryPolicy::default());
    let default = RetryPolicy::default();
    assert_eq!((default.max_retries, default.max_elapsed), (Some(3), None));
    assert_eq!(default.causes, Causes::ASKED);
    assert_eq!(sample("{}", 9, None)[0].to_bits(), 180.0_f64.to_bits());
    assert_eq!(policy("{}").max_retries, Some(3));
}

#[test]
fn no_delay_is_below_the_floor_above_the_cap_or_no_number() {
    let floor = r#"{"backoff": "full_jitter", "floor_s": 1.5, "base_s": 2}"#;
    assert!(sample(floor, 0, None).iter().all(|delay| (1.5..=2.0).contains(delay)));
    assert!(sample(r#"{"backoff": "full_jitter"}"#, 0, None)[0] >= 0.1, "the default floor");
    let above = r#"{"backoff": "equal_jitter", "floor_s": 9, "cap_s": 3}"#;
    assert!(sample(above, 0, None).iter().all(|delay| *delay <= 3.0), "the cap stands over it");
    let nothing = r#"{"backoff": "exponential", "base_s": 0}"#;
    assert!(sample(nothing, u32::MAX, None).iter().all(|delay| *delay < f64::MIN_POSITIVE));
}

#[test]
fn causes_are_what_is_named_less_what_is_named_never() {
    let causes = |json: &str| policy(json).causes;
    assert_eq!(causes("{}"), Causes::USUAL);
    assert_eq!(causes(r#"{"on_failure": false}"#), Causes::ASKED);
    assert_eq!(causes(r#"{"retry_on": ["trap"]}"#), Causes::of(&[Cause::Trapped]));
    let both = causes(r#"{"retry_on": ["trap", "timeout"], "never_on": ["timeout", "fuel"]}"#);
    assert_eq!(both, Causes::of(&[Cause::Trapped]));
    assert!(!causes(r#"{"never_on": ["returned_failure"]}"#).contains(Cause::Failed));
}

#[test]
fn retries_are_counted_from_zero_and_end() {
    let policy = policy(r#"{"max": 3, "delay_s": 1}"#);
    let next = |retries| policy.next(&failed(retries, None), &mut RetryMarks::default());
    assert_eq!((next(0), next(2), next(3)), (next(1), Some(Duration::from_secs(1)), None));
}

#[test]
fn no_retry_starts_after_the_time_that_all_attempts_have() {
    let policy = policy(r#"{"max": null, "max_elapsed_s": 60, "delay_s": 10}"#);
    let after = |seconds| {
        let first_attempt = Some(NOW.before(Duration::from_secs(seconds)));
        let mut marks = RetryMarks { first_attempt, ..RetryMarks::default() };
        policy.next(&failed(7, None), &mut marks)
    };
    assert_eq!((after(50), after(51)), (Some(Duration::from_secs(10)), None));
    let future = Some(NOW.after(Duration::from_hours(1)));
    let mut marks = RetryMarks { first_attempt: future, ..RetryMarks::default() };
    assert!(policy.next(&failed(0, Some(61)), &mut marks).is_none());
    assert!(policy.next(&failed(0, None), &mut marks).is_some());
    assert_eq!(marks.first_attempt, Some(NOW), "no message gives itself more time");
}

#[test]
fn a_task_may_ask_for_a_delay_up_to_the_cap() {
    let asked = |json: &str, seconds| {
        let attempt = failed(0, Some(seconds));
        policy(json).next(&attempt, &mut RetryMarks::default()).unwrap().as_secs()
    };
    assert_eq!(asked(r#"{"backoff": "full_jitter", "cap_s": 60}"#, 7), 7);
    assert_eq!(asked(r#"{"backoff": "full_jitter", "cap_s": 60}"#, 3_600), 60);
    assert_eq!(asked(r#"{"backoff": "celery", "cap_s": 60}"#, 3_600), 3_600, "as in Celery");
    assert_eq!(asked("{}", 3_600), 3_600, "as in Celery");
    assert_eq!(asked(r#"{"honor_retry_after": false, "delay_s": 5}"#, 3_600), 5);
}

#[test]
fn a_message_may_tighten_and_never_loosen() {
    let policy = policy(r#"{"max": 5, "max_elapsed_s": 60}"#);
    let wish = |max_retries, seconds: Option<u64>| {
        let max_elapsed = seconds.map(Duration::from_secs);
        let tight =
            policy.tightened(&RetryMarks { max_retries, max_elapsed, ..RetryMarks::default() });
        (tight.max_retries, tight.max_elapsed.map(|most| most.as_secs()))
    };
    assert_eq!(wish(None, None), (Some(5), Some(60)));
    assert_eq!(wish(Some(2), Some(30)), (Some(2), Some(30)));
    assert_eq!(wish(Some(9), Some(90)), (Some(5), Some(60)));
    let unbounded = RetryPolicy { max_retries: None, ..policy };
    let two = RetryMarks { max_retries: Some(2), ..RetryMarks::default() };
    assert_eq!(unbounded.tightened(&two).max_retries, Some(2));
}

#[test]
fn only_a_policy_that_needs_the_delay_before_leaves_it_in_the_message() {
    let mut marks = RetryMarks::default();
    let decorrelated = policy(r#"{"backoff": "decorrelated"}"#);
    let wait = decorrelated.next(&failed(0, None), &mut marks);
    assert_eq!((marks.delay, marks.first_attempt), (wait, Some(NOW)));
    let jitter = Jitter::None;
    let second = Duration::from_secs(1);
    let backoff =
        Backoff::Exponential { base: second, factor: 2.0, cap: second, floor: second, jitter };
    RetryPolicy { backoff, ..decorrelated }.next(&failed(1, None), &mut marks);
    assert_eq!(marks.delay, None);
}

#[test]
fn the_schema_has_the_same_words() {
    let schema = include_str!("../../../../wit/manifest.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let words = |pointer: &str| {
        let list = schema.pointer(&format!("/$defs/retry/properties/{pointer}/enum")).unwrap();
        let mut words: Vec<_> =
            list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        words.sort();
        words
    };
    let causes = |wanted: fn(&Cause) -> bool| {
        let named = Cause::ALL.iter().filter(|cause| wanted(cause)).map(|cause| cause.as_str());
        let mut names: Vec<_> = named.map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(words("retry_on/items"), causes(|cause| cause.is_retryable()));
    assert_eq!(words("never_on/items"), causes(|_| true));
    let mut backoffs = super::request::BACKOFFS.map(str::to_owned);
    backoffs.sort();
    assert_eq!(words("backoff"), backoffs);
}
