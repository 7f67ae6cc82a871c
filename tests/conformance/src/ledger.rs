//! The promises of a [`Ledger`].
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "failing is what a test's function is for"
)]

mod calls;
pub mod random;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::frames::OnDoubt;
use lovage_core::ports::Ledger;
use lovage_core::{
    Change, Claim, Claimed, End, LedgerWrite, Recorded, Renewed, State, StepBegin, StepBegun,
    StepEnd, StepInput,
};

use calls::{begun, ended, granted, one, recorded, settled};
pub use calls::{claim, ends, key, payload, retries};

use crate::LedgerRig;

/// The lease of every session here; the store's clock is the test's, so it is never waited for.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long records are kept here.
pub const KEEP: Duration = Duration::from_hours(1);

/// Workers that may die under a call here.
pub const CRASHES_MAX: u32 = 3;

const MOMENT: Duration = Duration::from_millis(1);

/// What nobody claimed is granted once; others are told how long to wait.
pub async fn what_was_never_claimed_is_granted_once(rig: &impl LedgerRig) {
    let (one_worker, other) = (rig.session(LEASE).await, rig.session(LEASE).await);
    for number in [0, 1] {
        granted(&*one_worker, claim(number, 0, 1)).await;
        rig.advance(MOMENT).await;
        for (worker, ticket) in [(&one_worker, 2), (&other, 1)] {
            match one(&**worker, claim(number, 0, ticket)).await {
                Claimed::Busy { remaining } => assert!(remaining < LEASE, "{remaining:?}"),
                other => panic!("not busy: {other:?}"),
            }
        }
    }
}

/// A claim whose answer was lost is repeated and answered as the first time.
pub async fn a_repeated_claim_is_answered_as_the_first_time(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    let batch: Vec<_> = (0..5).map(|number| claim(number, 3, 10 + number)).collect();
    let first = worker.claim(&batch).await.expect("an answer");
    assert!(first.iter().all(|it| matches!(it, Claimed::Fresh { attempt: 3, crashes: 0, .. })));
    assert_eq!(worker.claim(&batch).await.expect("an answer"), first);
    assert!(worker.claim(&[]).await.expect("an answer").is_empty());
}

/// Two deliveries of one call in one batch: one of them runs.
pub async fn a_batch_grants_a_key_once(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    let batch = [claim(0, 0, 1), claim(1, 0, 2), claim(0, 0, 3)];
    let answers = worker.claim(&batch).await.expect("an answer");
    assert!(matches!(answers[0], Claimed::Fresh { .. }), "{answers:?}");
    assert!(matches!(answers[1], Claimed::Fresh { .. }), "{answers:?}");
    assert!(matches!(answers[2], Claimed::Busy { .. }), "{answers:?}");
}

/// Sessions that claim the same thousand keys at once share them without doubles, and fences grow.
pub async fn sessions_side_by_side_share_keys_without_doubles(rig: &impl LedgerRig) {
    let mut claims = Vec::new();
    for worker in 0..4 {
        let session = rig.session(LEASE).await;
        claims.push(tokio::spawn(async move {
            let mut won = Vec::new();
            for start in 0..10 {
                let numbers = (0..100).map(|at| (start * 100 + at * 7 + worker * 250) % 1_000);
                let batch: Vec<_> = numbers.map(|number| claim(number, 0, number)).collect();
                for answer in session.claim(&batch).await.expect("an answer") {
                    if let Claimed::Fresh { grant, .. } = answer {
                        won.push(grant);
                    }
                }
            }
            won
        }));
    }
    let mut grants = HashSet::new();
    for claim in claims {
        grants.extend(claim.await.expect("claimed"));
    }
    let keys: HashSet<_> = grants.iter().map(|grant| grant.key).collect();
    let fences: HashSet<_> = grants.iter().map(|grant| grant.fence).collect();
    assert_eq!((keys.len(), fences.len()), (grants.len(), grants.len()), "granted twice");
    assert!(grants.len() > 500);
}

/// Once its lease is over a worker can write nothing to what another one was granted.
pub async fn a_late_finisher_changes_nothing(rig: &impl LedgerRig) {
    let (late, next) = (rig.session(LEASE).await, rig.session(LEASE).await);
    let old = granted(&*late, claim(1, 0, 1)).await;
    assert_eq!(begun(&*late, &old, OnDoubt::Retry).await, StepBegun::Run);
    rig.advance(LEASE).await;
    assert_eq!(begun(&*late, &old, OnDoubt::Retry).await, StepBegun::Lost, "nobody took it yet");
    assert!(matches!(next.renew().await, Ok(Renewed::Lost(_))));
    let answer = one(&*next, claim(1, 0, 1)).await;
    let Claimed::Fresh { grant: new, crashes: 1, .. } = answer else { panic!("{answer:?}") };
    assert!(new.fence > old.fence);
    for write in [ends(old, End::Done), retries(old, 1, MOMENT)] {
        assert_eq!(recorded(&*late, &write).await, Recorded::Lost);
        assert_eq!(settled(&*late, &write).await, Recorded::Lost);
    }
    let release = LedgerWrite { change: Change::Release, ..ends(old, End::Done) };
    assert_eq!(recorded(&*late, &release).await, Recorded::Lost);
    assert_eq!(begun(&*late, &old, OnDoubt::Retry).await, StepBegun::Lost);
    assert_eq!(recorded(&*next, &ends(new, End::Failed)).await, Recorded::Written);
    assert_eq!(recorded(&*late, &ends(old, End::Done)).await, Recorded::Lost);
    let answer = one(&*next, claim(1, 0, 2)).await;
    assert!(matches!(answer, Claimed::Over { end: End::Failed, .. }), "{answer:?}");
}

/// One heartbeat keeps everything a session claimed; one that comes too late is told, and a session
/// that is over is granted nothing.
pub async fn one_heartbeat_keeps_everything_and_a_late_one_is_told(rig: &impl LedgerRig) {
    let (worker, other) = (rig.session(LEASE).await, rig.session(LEASE * 100).await);
    let grants = [granted(&*worker, claim(0, 0, 0)).await, granted(&*worker, claim(1, 0, 1)).await];
    for _ in 0..4 {
        rig.advance(LEASE.saturating_sub(MOMENT)).await;
        assert_eq!(worker.renew().await.expect("an answer"), Renewed::Held);
    }
    for number in [0, 1] {
        let answer = one(&*other, claim(number, 0, number)).await;
        assert!(matches!(answer, Claimed::Busy { .. }), "{answer:?}");
    }
    rig.advance(LEASE).await;
    assert!(worker.claim(&[claim(2, 0, 2)]).await.is_err_and(|error| error.is_transient()));
    let lost = Renewed::Lost(grants[0].session);
    assert_eq!(worker.renew().await.expect("an answer"), lost);
    assert_eq!(worker.renew().await.expect("an answer"), Renewed::Held);
    let again = granted(&*worker, claim(0, 0, 0)).await;
    assert_ne!(again.session, grants[0].session);
    assert_eq!(recorded(&*worker, &ends(grants[0], End::Done)).await, Recorded::Lost);
    assert_eq!(recorded(&*worker, &ends(grants[1], End::Done)).await, Recorded::Written);
}

/// Whoever leaves or releases hands its work back at once, and neither attempt nor crash is counted.
pub async fn what_is_handed_back_is_free_at_once_and_costs_nothing(rig: &impl LedgerRig) {
    let (worker, next) = (rig.session(LEASE).await, rig.session(LEASE).await);
    let free = |answer| matches!(answer, Claimed::Fresh { attempt: 2, crashes: 0, .. });
    let grant = granted(&*worker, claim(0, 2, 1)).await;
    let release = LedgerWrite { change: Change::Release, ..ends(grant, End::Done) };
    assert_eq!(recorded(&*worker, &release).await, Recorded::Written);
    assert_eq!(recorded(&*worker, &release).await, Recorded::Written, "repeated");
    assert!(free(one(&*next, claim(0, 2, 1)).await));
    for round in 0..5 {
        let leaving = rig.session(LEASE).await;
        assert!(free(one(&*leaving, claim(1, 2, round)).await), "round {round}");
        leaving.leave().await.expect("left");
        assert!(leaving.claim(&[claim(5, 0, 0)]).await.is_err());
    }
    assert!(free(one(&*next, claim(1, 2, 1)).await));
}

/// A call under which too many workers died is parked, and says so.
pub async fn a_call_that_kills_its_workers_is_parked(rig: &impl LedgerRig) {
    for number in [0, 1] {
        for crashes in 0..CRASHES_MAX {
            let worker = rig.session(LEASE).await;
            let answer = one(&*worker, claim(number, 1, 1)).await;
            let Claimed::Fresh { attempt: 1, crashes: counted, .. } = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(counted, crashes);
            rig.advance(LEASE).await;
        }
        let worker = rig.session(LEASE).await;
        let answer = one(&*worker, claim(number, 1, 1)).await;
        let Claimed::Over { end: End::Parked, settled: false, grant, verdict: None } = answer
        else {
            panic!("{answer:?}")
        };
        let write = ends(grant, End::Parked);
        assert_eq!(settled(&*worker, &write).await, Recorded::Written);
        let answer = one(&*worker, claim(number, 1, 1)).await;
        assert!(matches!(answer, Claimed::Over { settled: true, .. }), "{answer:?}");
    }
}

/// What is not settled is never forgotten, and what is, is kept as long as was asked.
pub async fn only_what_is_settled_is_ever_forgotten(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    for number in [0, 1] {
        let (key, grant) = (key(number), granted(&*worker, claim(number, 0, number)).await);
        assert_eq!(rig.time_to_live(&key).await, None, "running");
        let retry = retries(grant, 1, Duration::ZERO);
        assert_eq!(recorded(&*worker, &retry).await, Recorded::Written);
        assert_eq!(rig.time_to_live(&key).await, None, "to be retried");
        assert_eq!(settled(&*worker, &retry).await, Recorded::Written);
        assert_eq!(rig.time_to_live(&key).await, None, "to be retried, and sent");
        let grant = granted(&*worker, claim(number, 1, number)).await;
        assert_eq!(rig.time_to_live(&key).await, None, "running again");
        let end = ends(grant, End::Done);
        assert_eq!(recorded(&*worker, &end).await, Recorded::Written);
        assert_eq!(rig.time_to_live(&key).await, None, "over");
        assert_eq!(settled(&*worker, &end).await, Recorded::Written);
        let left = rig.time_to_live(&key).await.expect("settled");
        assert!(left <= KEEP && left > KEEP / 2, "{left:?}");
    }
}

/// Unsettled, everybody is handed the verdict; afterwards only an explicit key's is kept.
pub async fn a_verdict_is_kept_while_somebody_needs_it(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    for number in [0, 1] {
        let grant = granted(&*worker, claim(number, 0, number)).await;
        let write = ends(grant, End::Done);
        for _ in 0..2 {
            assert_eq!(recorded(&*worker, &write).await, Recorded::Written);
        }
        // What the same grant says next does not count: the first word stands.
        assert_eq!(recorded(&*worker, &ends(grant, End::Failed)).await, Recorded::Written);
        let over = |settled, verdict: Option<Bytes>| Claimed::Over {
            end: End::Done,
            settled,
            grant,
            verdict,
        };
        let asked = claim(number, 0, 50);
        assert_eq!(one(&*worker, asked).await, over(false, write.verdict.clone()));
        for _ in 0..2 {
            assert_eq!(settled(&*worker, &write).await, Recorded::Written);
        }
        let kept = write.verdict.clone().filter(|_| number == 1);
        assert_eq!(one(&*worker, asked).await, over(true, kept));
    }
}

/// The same key with another payload never runs, and is shown nothing.
pub async fn another_payload_is_refused(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    for number in [0, 1] {
        let other = Claim { payload: payload(number, 9), ..claim(number, 0, 77) };
        let grant = granted(&*worker, claim(number, 0, number)).await;
        assert_eq!(one(&*worker, other).await, Claimed::Mismatch);
        assert_eq!(recorded(&*worker, &ends(grant, End::Done)).await, Recorded::Written);
        assert_eq!(one(&*worker, other).await, Claimed::Mismatch);
        // But a task may retry itself with other arguments.
        let grant = granted(&*worker, claim(number + 2, 0, number)).await;
        let retry = retries(grant, 1, Duration::ZERO);
        assert_eq!(recorded(&*worker, &retry).await, Recorded::Written);
        let other = Claim { payload: payload(number, 9), ..claim(number + 2, 0, 78) };
        assert_eq!(one(&*worker, other).await, Claimed::Mismatch);
        granted(&*worker, Claim { attempt: 1, ..other }).await;
    }
}

/// Until a retry is due it is waited for; older copies are told to send it, or that it was sent.
pub async fn a_retry_is_run_when_it_is_due_and_older_copies_are_not(rig: &impl LedgerRig) {
    let (worker, delay) = (rig.session(LEASE * 100).await, Duration::from_secs(90));
    for number in [0, 1] {
        let grant = granted(&*worker, claim(number, 0, number)).await;
        let retry = retries(grant, 1, delay);
        assert_eq!(recorded(&*worker, &retry).await, Recorded::Written);
        let mut stale = Vec::new();
        stale.push(one(&*worker, claim(number, 0, 50)).await);
        assert_eq!(settled(&*worker, &retry).await, Recorded::Written);
        stale.push(one(&*worker, claim(number, 0, 50)).await);
        for (answer, was_settled) in stale.into_iter().zip([false, true]) {
            let Claimed::Stale { attempt: 1, remaining, settled, grant: by, verdict } = answer
            else {
                panic!("{answer:?}")
            };
            assert_eq!((settled, by, verdict.is_some()), (was_settled, grant, !was_settled));
            assert!(remaining <= delay && remaining > delay / 2, "{remaining:?}");
        }
        let answer = one(&*worker, claim(number, 1, 51)).await;
        assert!(matches!(answer, Claimed::NotYet { remaining } if remaining <= delay));
        rig.advance(delay).await;
        let answer = one(&*worker, claim(number, 1, 51)).await;
        assert!(matches!(answer, Claimed::Fresh { attempt: 1, .. }), "{answer:?}");
    }
}

/// A step that was committed is replayed for ever after; one in doubt goes as its author said.
pub async fn a_step_happens_once_and_doubt_is_its_authors(rig: &impl LedgerRig) {
    for (number, doubt) in [(0, OnDoubt::Retry), (1, OnDoubt::Fail), (2, OnDoubt::Ask)] {
        let first = rig.session(LEASE).await;
        let old = granted(&*first, claim(number, 0, 1)).await;
        assert_eq!(begun(&*first, &old, doubt).await, StepBegun::Run);
        rig.advance(LEASE).await;
        let next = rig.session(LEASE).await;
        let new = granted(&*next, claim(number, 0, 1)).await;
        let expected = match doubt {
            OnDoubt::Retry => StepBegun::Run,
            OnDoubt::Ask => StepBegun::Ambiguous,
            OnDoubt::Fail => StepBegun::Doubt,
        };
        let input = StepInput([1; 16]);
        let step = StepBegin { name: "charge".into(), input, doubt, ticket: 7 };
        for _ in 0..2 {
            let answer = next.begin_step(&new, &step).await.expect("an answer");
            assert_eq!(answer, expected, "also when it is repeated");
        }
        // Late evidence counts, but not over a newer begin.
        let late = ended(&*first, &old, b"late").await;
        if doubt == OnDoubt::Fail {
            assert_eq!(late, Recorded::Written);
            let replay = StepBegun::Replay(Bytes::from_static(b"late"));
            assert_eq!(begun(&*next, &new, doubt).await, replay);
        } else {
            assert_eq!(late, Recorded::Lost);
            for _ in 0..2 {
                assert_eq!(ended(&*next, &new, b"\0\xff").await, Recorded::Written);
            }
            let replay = StepBegun::Replay(Bytes::from_static(b"\0\xff"));
            assert_eq!(begun(&*next, &new, doubt).await, replay);
        }
        let input = StepInput([2; 16]);
        let other = StepBegin { name: "charge".into(), input, doubt, ticket: 1 };
        let answer = next.begin_step(&new, &other).await.expect("an answer");
        assert_eq!(answer, StepBegun::Mismatch);
    }
}

/// A begin whose answer was lost is repeated without doubt; an abandoned step may be begun again.
pub async fn a_step_may_be_begun_again_if_it_surely_did_not_happen(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    let grant = granted(&*worker, claim(0, 0, 1)).await;
    let (input, doubt) = (StepInput([1; 16]), OnDoubt::Fail);
    let mut step = StepBegin { name: "charge".into(), input, doubt, ticket: 1 };
    for (ticket, expected) in [(1, StepBegun::Run), (1, StepBegun::Run), (2, StepBegun::Doubt)] {
        step.ticket = ticket;
        assert_eq!(worker.begin_step(&grant, &step).await.expect("an answer"), expected);
    }
    for _ in 0..2 {
        let answer = worker.end_step(&grant, "charge", &StepEnd::Abandon).await;
        assert_eq!(answer.expect("an answer"), Recorded::Written);
    }
    assert_eq!(worker.begin_step(&grant, &step).await.expect("an answer"), StepBegun::Run);
    let big = Bytes::from(vec![0xfe; 64 << 10]);
    let answer = worker.end_step(&grant, "charge", &StepEnd::Commit(big.clone())).await;
    assert_eq!(answer.expect("an answer"), Recorded::Written);
    let answer = worker.begin_step(&grant, &step).await.expect("an answer");
    assert_eq!(answer, StepBegun::Replay(big));
}

/// A failed call that a person sends again finds the steps it had done, unless these go, too.
pub async fn purging_runs_a_call_again_with_or_without_its_steps(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    for (number, steps) in [(0, false), (1, true)] {
        let grant = granted(&*worker, claim(number, 0, 1)).await;
        assert_eq!(begun(&*worker, &grant, OnDoubt::Fail).await, StepBegun::Run);
        assert_eq!(ended(&*worker, &grant, b"once").await, Recorded::Written);
        let write = ends(grant, End::Failed);
        assert_eq!(recorded(&*worker, &write).await, Recorded::Written);
        assert_eq!(settled(&*worker, &write).await, Recorded::Written);
        let record = worker.get(&key(number)).await.expect("an answer").expect("a record");
        let State::Over { end: End::Failed, settled: true, expires_ms: Some(_), .. } = record.state
        else {
            panic!("{record:?}")
        };
        let keys = [key(number), key(99)];
        assert_eq!(worker.purge(&keys, steps).await.expect("an answer"), 1);
        assert_eq!(worker.get(&key(number)).await.expect("an answer"), None);
        let grant = granted(&*worker, claim(number, 0, 2)).await;
        let replay = StepBegun::Replay(Bytes::from_static(b"once"));
        let expected = if steps { StepBegun::Run } else { replay };
        assert_eq!(begun(&*worker, &grant, OnDoubt::Fail).await, expected);
    }
}

/// Whatever is done in whatever order, the store answers as the machine of `lovage-core` decides.
pub async fn every_order_of_operations_is_answered_as_decided(rig: &impl LedgerRig) {
    random::compare(rig).await;
}

/// A rig's session, shared.
pub type Session = Arc<dyn Ledger>;
