//! What is decided after every way to end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{DropReason, ParkReason, Settlement, decide};
use crate::{
    Backoff, Cause, Causes, Death, Delivery, Digest, Failure, Invocation, Job, Json, Limits, Links,
    Manifest, Message, Module, OutboxCall, OutboxItem, Outcome, Receipt, Report, RetryMarks,
    RetryPolicy, TaskSpec, Tenant, TenantId, TimeLimit, Timestamp,
};

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

fn job(retries: u32, on_failure: bool) -> Job {
    let delivery = Delivery {
        queue: "celery".into(),
        receipt: Receipt(1),
        message: Message::Envelope(Bytes::new()),
        redelivered: false,
        deliveries: 1,
    };
    let invocation = Invocation {
        errback: None,
        task: "demo.add".into(),
        id: "1".into(),
        root_id: None,
        parent_id: None,
        group: None,
        group_index: None,
        retries,
        eta: None,
        expires: None,
        time_limit: TimeLimit::default(),
        ignore_result: None,
        shadow: None,
        reply_to: None,
        correlation_id: None,
        priority: None,
        idempotency_key: None,
        retry: RetryMarks::default(),
        replaced_task_nesting: 0,
        args: Json::empty_array(),
        kwargs: Json::empty_object(),
        links: Links::default(),
        headers: Json::empty_object(),
        delivery,
    };
    let module = Module {
        digest: Digest::from_bytes([7; 32]),
        manifest: Manifest {
            v: 1,
            abi: String::new(),
            module: "demo".into(),
            language: String::new(),
            tasks: Vec::new(),
        },
        compiled: "/nowhere".into(),
    };
    let causes = if on_failure { Causes::USUAL } else { Causes::ASKED };
    Job {
        invocation,
        tenant: Arc::new(Tenant::new(TenantId::default())),
        module: Arc::new(module),
        task: Arc::new(TaskSpec::named("demo.add".into())),
        limits: Limits::default(),
        retry: RetryPolicy { causes, ..RetryPolicy::default() },
        key: "1".into(),
        key_is_explicit: false,
    }
}

fn failure() -> Failure {
    Failure::new("builtins", "ValueError", "no")
}

fn settled(job: Job, outcome: Outcome) -> Settlement {
    decide(job, Report::of(outcome), NOW, 0.5).settlement
}

fn died(job: Job, death: Death) -> Settlement {
    settled(job, Outcome::Killed { death, failure: failure() })
}

#[test]
fn a_plain_failure_is_final_unless_the_task_wants_it_retried() {
    assert_eq!(settled(job(0, false), Outcome::Fail(failure())), Settlement::Bury(failure()));
    let after = NOW.after(Duration::from_mins(3));
    let retried = Settlement::Retry { failure: failure(), at: after, options: None };
    assert_eq!(settled(job(0, true), Outcome::Fail(failure())), retried);
    assert_eq!(settled(job(3, true), Outcome::Fail(failure())), Settlement::Bury(failure()));
    assert_eq!(settled(job(0, true), Outcome::Reject(failure())), Settlement::Bury(failure()));
}

#[test]
fn a_guest_that_asks_for_a_time_gets_it_while_retries_are_left() {
    let asked = || Outcome::Retry {
        failure: failure(),
        after: Some(Duration::from_secs(7)),
        options: None,
    };
    let at = NOW.after(Duration::from_secs(7));
    assert_eq!(
        settled(job(2, false), asked()),
        Settlement::Retry { failure: failure(), at, options: None }
    );
    assert_eq!(settled(job(3, false), asked()), Settlement::Bury(failure()));
}

#[test]
fn what_a_ledger_keeps_is_read_back_and_what_another_version_kept_is_not() {
    let calls = vec![OutboxItem::Call(OutboxCall {
        id: "b".into(),
        task: "next".into(),
        args: Json::parse("[NaN]").unwrap(),
        kwargs: Json::empty_object(),
        queue: Some("q".into()),
        countdown: Some(Duration::from_secs(3)),
        expires: None,
        priority: Some(3),
        ignore_result: true,
        headers: None,
    })];
    for settlement in [
        Settlement::Succeed { result: Json::parse("12345678901234567890").unwrap(), calls },
        Settlement::Bury(failure()),
        Settlement::Park(ParkReason::AmbiguousStep("charge".into())),
        Settlement::Drop(DropReason::Terminated),
        Settlement::Retry { failure: failure(), at: NOW, options: None },
    ] {
        let kept = settlement.to_recorded(&"a".into()).unwrap();
        assert_eq!(Settlement::from_recorded(&kept), Some(("a".into(), settlement)));
        let later = [&[1], &kept[1..]].concat();
        assert_eq!(Settlement::from_recorded(&later), None);
    }
    assert_eq!(Settlement::from_recorded(b""), None);
}

#[test]
fn what_would_come_to_the_same_again_is_never_retried() {
    let every = || {
        let mut job = job(0, true);
        job.retry.causes = Causes::of(Cause::ALL);
        job
    };
    for death in [
        Death::OutOfFuel,
        Death::OutOfMemory,
        Death::OutputTooLarge,
        Death::StackOverflow,
        Death::ArgumentsTooLarge,
        Death::TooManyHostCalls,
        Death::InvalidResult,
        Death::ExecutorLost,
    ] {
        assert_eq!(died(every(), death), Settlement::Bury(failure()), "{death:?}");
    }
    assert_eq!(settled(every(), Outcome::Reject(failure())), Settlement::Bury(failure()));
    for death in [Death::Trapped, Death::TimedOut, Death::Exited, Death::OutOfCpuTime] {
        assert!(matches!(died(every(), death), Settlement::Retry { .. }), "{death:?}");
    }
    let mut only_traps = job(0, true);
    only_traps.retry.causes = Causes::of(&[Cause::Trapped]);
    let asked = Outcome::Retry { failure: failure(), after: None, options: None };
    assert_eq!(settled(only_traps, asked), Settlement::Bury(failure()));
}

#[test]
fn the_first_attempt_is_remembered_from_when_it_began() {
    let second = Duration::from_secs(1);
    let mut report = Report::of(Outcome::Fail(failure()));
    report.usage.wall = second;
    let verdict = decide(job(0, true), report.clone(), NOW, 0.5);
    assert_eq!(verdict.invocation.retry.first_attempt, Some(NOW.before(second)));
    let mut late = job(1, true);
    late.invocation.retry = verdict.invocation.retry;
    late.retry.max_elapsed = Some(Duration::from_mins(3));
    let settlement = decide(late.clone(), report.clone(), NOW, 0.5).settlement;
    assert_eq!(settlement, Settlement::Bury(failure()), "180 s after the end is too late");
    late.retry.backoff = Backoff::Fixed { delay: second };
    let settlement = decide(late, report, NOW, 0.5).settlement;
    assert!(matches!(settlement, Settlement::Retry { .. }));
}

#[test]
fn each_death_has_its_end() {
    assert_eq!(died(job(0, true), Death::LeaseLost), Settlement::Forget);
    assert!(matches!(died(job(9, false), Death::NotStarted), Settlement::Release(Some(_))));
    let terminated = Settlement::Drop(DropReason::Terminated);
    assert_eq!(died(job(0, true), Death::Revoked), terminated);
    for death in [Death::OutOfFuel, Death::OutOfMemory, Death::OutputTooLarge] {
        assert_eq!(died(job(0, true), death), Settlement::Bury(failure()), "never retried");
    }
    for death in [Death::Trapped, Death::TimedOut, Death::Exited] {
        assert!(matches!(died(job(0, true), death), Settlement::Retry { .. }));
        assert_eq!(died(job(0, false), death), Settlement::Bury(failure()));
    }
    let step = Outcome::Ambiguous { step: "charge".into() };
    let parked = Settlement::Park(ParkReason::AmbiguousStep("charge".into()));
    assert_eq!(settled(job(0, true), step), parked);
}
