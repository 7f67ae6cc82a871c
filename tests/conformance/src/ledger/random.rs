//! Random operations, done to a store and to the machine that it is to follow.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::frames::OnDoubt;
use lovage_core::ports::{Ledger, PortError};
use lovage_core::{
    Change, Claim, Claimant, Claimed, End, Fence, Grant, Hold, LedgerKey, LedgerWrite, Record,
    Recorded, Renewed, SessionNumber, State, StepBegin, StepEnd, StepInput, StepRecord,
    decide_begin_step, decide_claim, decide_end_step, decide_write,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::{CRASHES_MAX, KEEP, LEASE, Session, key, payload};
use crate::LedgerRig;

/// How many sequences, and how many operations each has at most.
const SEQUENCES: u32 = 100;
const OPERATIONS_MAX: usize = 100;

/// An operation. Numbers choose among what there is: of grants the later ones are more likely.
#[derive(Debug, Clone)]
enum Operation {
    Claim { worker: usize, claims: Vec<(u64, u8, u32, u64)> },
    Record { worker: usize, grant: usize, change: Change, verdict: bool },
    Settle { worker: usize, grant: usize },
    Begin { worker: usize, grant: usize, name: bool, input: u8, doubt: OnDoubt, ticket: u64 },
    End { worker: usize, grant: usize, name: bool, commit: bool },
    Renew { worker: usize },
    Leave { worker: usize },
    Advance { milliseconds: u64 },
    Purge { key: u64, steps: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{Advance, Begin, Claim, Leave, Purge, Record, Renew, Settle};
    let worker = 0..3_usize;
    let grant = prop_oneof![3 => Just(0_usize), 1 => 1..4_usize];
    let doubt = prop_oneof![Just(OnDoubt::Retry), Just(OnDoubt::Fail), Just(OnDoubt::Ask)];
    let end = prop_oneof![Just(End::Done), Just(End::Failed), Just(End::Parked)];
    let delay = prop_oneof![Just(0), Just(10_000_u64), Just(40_000)];
    let change = prop_oneof![
        3 => end.prop_map(Change::End),
        3 => (1..4_u32, delay).prop_map(|(attempt, delay)| Change::Retry {
            attempt, delay: Duration::from_millis(delay)
        }),
        1 => Just(Change::Release),
        1 => Just(Change::Settle),
    ];
    let claim = (0..2_u64, prop_oneof![9 => Just(0_u8), 1 => Just(1)], 0..4_u32, 0..9_u64);
    let claims = proptest::collection::vec(claim, 1..3);
    prop_oneof![
        8 => (worker.clone(), claims).prop_map(|(worker, claims)| Claim { worker, claims }),
        5 => (worker.clone(), grant.clone(), change, any::<bool>()).prop_map(
            |(worker, grant, change, verdict)| Record { worker, grant, change, verdict }),
        3 => (worker.clone(), grant.clone()).prop_map(|(worker, grant)| Settle { worker, grant }),
        4 => (worker.clone(), grant.clone(), any::<bool>(), prop_oneof![9 => Just(0_u8), 1 => Just(1)], doubt, 0..4_u64).prop_map(
            |(worker, grant, name, input, doubt, ticket)| {
                Begin { worker, grant, name, input, doubt, ticket }
            }),
        3 => (worker.clone(), grant, any::<bool>(), any::<bool>()).prop_map(
            |(worker, grant, name, commit)| Operation::End { worker, grant, name, commit }),
        8 => worker.clone().prop_map(|worker| Renew { worker }),
        1 => worker.prop_map(|worker| Leave { worker }),
        4 => prop_oneof![Just(1), Just(10_000), Just(29_999), Just(30_000)]
            .prop_map(|milliseconds| Advance { milliseconds }),
        1 => (0..2_u64, any::<bool>()).prop_map(|(key, steps)| Purge { key, steps }),
    ]
}

/// What the machine says the store must be like.
struct Model {
    records: HashMap<LedgerKey, Record>,
    steps: HashMap<(LedgerKey, bool), StepRecord>,
    /// When each worker's session is over, and its number once a grant has told it.
    leases: Vec<(u64, Option<SessionNumber>)>,
    /// When sessions that are known ended; 0 for those that left.
    ends: HashMap<SessionNumber, u64>,
    grants: Vec<Grant>,
    /// The last fence of each key, also of those that were purged.
    fences: HashMap<LedgerKey, Fence>,
    now_ms: u64,
}

/// Does random sequences of operations to both, and compares every answer and every record.
pub(super) async fn compare(rig: &impl LedgerRig) {
    let mut runner = TestRunner::new(Config { cases: SEQUENCES, ..Config::default() });
    let strategy = proptest::collection::vec(operation(), 1..OPERATIONS_MAX);
    for sequence in 0..SEQUENCES {
        let operations = strategy.new_tree(&mut runner).expect("operations").current();
        let mut workers = Vec::new();
        for _ in 0..3 {
            workers.push(rig.session(LEASE).await);
        }
        let end = milliseconds(LEASE);
        let mut model = Model {
            records: HashMap::new(),
            steps: HashMap::new(),
            leases: vec![(end, None); 3],
            ends: HashMap::new(),
            grants: Vec::new(),
            fences: HashMap::new(),
            now_ms: 0,
        };
        // Every sequence has keys of its own.
        let base = 1_000 + u64::from(sequence) * 2;
        for (number, operation) in operations.iter().enumerate() {
            model.check(rig, &mut workers, operation, base).await;
            for offset in 0..2 {
                let key = key(base + offset);
                let found = workers[0].get(&key).await.expect("an answer");
                let expected = model.records.get(&key);
                let same = same(found.as_ref(), expected, &model);
                let done = operations.get(..=number);
                assert!(same, "{found:?}\nis not {expected:?}\nafter {done:#?}");
            }
        }
    }
}

/// Compares two records. The store's clock began at another moment, so that of moments only their
/// presence is compared here, and the rest by what claims answer.
fn same(found: Option<&Record>, expected: Option<&Record>, model: &Model) -> bool {
    let plain = |record: &Record| {
        let mut record = record.clone();
        match &mut record.state {
            State::Running { owner, .. } => {
                // A number that no grant has told yet cannot be compared.
                *owner = owner.filter(|it| model.ends.contains_key(it));
            }
            State::Retry { due_ms, .. } => *due_ms = 0,
            State::Over { expires_ms, .. } => *expires_ms = expires_ms.map(|_| 0),
        }
        record
    };
    found.map(plain) == expected.map(plain)
}

impl Model {
    async fn check(
        &mut self,
        rig: &impl LedgerRig,
        workers: &mut [Session],
        operation: &Operation,
        base: u64,
    ) {
        match operation {
            Operation::Claim { worker, claims } => {
                let claims: Vec<_> = claims
                    .iter()
                    .map(|(number, which, attempt, ticket)| Claim {
                        key: key(base + number),
                        payload: payload(base + number, *which),
                        attempt: *attempt,
                        ticket: *ticket,
                    })
                    .collect();
                let answer = workers[*worker].claim(&claims).await;
                if self.leases[*worker].0 <= self.now_ms {
                    assert!(answer.is_err_and(|error| error.is_transient()), "{operation:?}");
                    return;
                }
                for (claim, answer) in claims.iter().zip(answer.expect("an answer")) {
                    self.claim(*worker, claim, &answer);
                }
            }
            Operation::Record { worker, grant, change, verdict } => {
                let Some(grant) = self.grant(*grant) else { return };
                let verdict = verdict.then(|| Bytes::from_static(b"\x01verdict"));
                let write = LedgerWrite { grant, change: *change, keep: KEEP, verdict };
                let answer = workers[*worker].record(std::slice::from_ref(&write)).await;
                self.write(&write, answer);
            }
            Operation::Settle { worker, grant } => {
                let Some(grant) = self.grant(*grant) else { return };
                let write =
                    LedgerWrite { grant, change: Change::Settle, keep: KEEP, verdict: None };
                let answer = workers[*worker].settle(std::slice::from_ref(&write)).await;
                self.write(&write, answer);
            }
            Operation::Begin { worker, .. } | Operation::End { worker, .. } => {
                self.step(&*workers[*worker], operation).await;
            }
            Operation::Renew { worker } => {
                let answer = workers[*worker].renew().await.expect("an answer");
                self.renew(*worker, answer);
            }
            Operation::Leave { worker } => {
                workers[*worker].leave().await.expect("left");
                let (end, session) = &mut self.leases[*worker];
                if let Some(session) = session.filter(|_| *end > self.now_ms) {
                    self.ends.insert(session, 0);
                }
                *end = self.now_ms;
            }
            Operation::Advance { milliseconds } => {
                rig.advance(Duration::from_millis(*milliseconds)).await;
                self.now_ms += milliseconds;
                // What would be forgotten by now is not compared: Redis has a clock of its own.
                assert!(self.now_ms < self::milliseconds(KEEP), "{}", self.now_ms);
            }
            Operation::Purge { key: number, steps } => {
                let key = key(base + number);
                let gone = workers[0].purge(&[key], *steps).await.expect("an answer");
                assert_eq!(gone, usize::from(self.records.remove(&key).is_some()));
                if *steps {
                    self.steps.retain(|(owner, _), _| *owner != key);
                }
            }
        }
    }

    async fn step(&mut self, worker: &dyn Ledger, operation: &Operation) {
        match operation {
            Operation::Begin { grant, name, input, doubt, ticket, .. } => {
                let Some(grant) = self.grant(*grant) else { return };
                let begin = StepBegin {
                    name: name.to_string().into(),
                    input: StepInput([*input; 16]),
                    doubt: *doubt,
                    ticket: *ticket,
                };
                let answer = worker.begin_step(&grant, &begin).await.expect("an answer");
                let place = (grant.key, *name);
                let (record, step) = (self.records.get(&grant.key), self.steps.get(&place));
                let hold = self.hold(Some(grant.session));
                let decided = decide_begin_step(record, step, &grant, &begin, hold);
                assert_eq!(answer, decided.answer, "{operation:?}");
                if let Some(step) = decided.write {
                    self.steps.insert(place, step);
                }
            }
            Operation::End { grant, name, commit, .. } => {
                let Some(grant) = self.grant(*grant) else { return };
                let end = match commit {
                    true => StepEnd::Commit(Bytes::from_static(b"\0value")),
                    false => StepEnd::Abandon,
                };
                let answer = worker.end_step(&grant, &name.to_string(), &end).await;
                let place = (grant.key, *name);
                let decided = decide_end_step(self.steps.get(&place), &grant, &end);
                assert_eq!(answer.expect("an answer"), decided.answer, "{operation:?}");
                match decided.write {
                    Some(Some(step)) => drop(self.steps.insert(place, step)),
                    Some(None) => drop(self.steps.remove(&place)),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn claim(&mut self, worker: usize, claim: &Claim, answer: &Claimed) {
        let grant = match answer {
            Claimed::Fresh { grant, .. }
            | Claimed::Over { grant, .. }
            | Claimed::Stale { grant, .. } => Some(*grant),
            _ => None,
        };
        if let Some(grant) = grant {
            let (end, session) = &mut self.leases[worker];
            assert_eq!(session.get_or_insert(grant.session), &grant.session);
            self.ends.insert(grant.session, *end);
            self.grants.push(grant);
        }
        let record = self.records.get(&claim.key);
        let by = Claimant {
            session: self.leases[worker].1.unwrap_or(SessionNumber(u64::MAX)),
            // Which number a store takes is its own affair, as long as numbers grow.
            fence: grant.map_or(Fence(u64::MAX), |grant| grant.fence),
            now_ms: self.now_ms,
            crashes_max: CRASHES_MAX,
        };
        let hold = self.hold(record.and_then(Record::owner));
        let decided = decide_claim(record, claim, &by, hold);
        assert_eq!(*answer, decided.answer, "{claim:?} of {record:?}");
        if let Some(record) = decided.write {
            let before = self.fences.insert(claim.key, record.fence);
            assert!(before < Some(record.fence), "{:?} after {before:?}", record.fence);
            self.records.insert(claim.key, record);
        }
    }

    fn write(&mut self, write: &LedgerWrite, mut answer: Vec<Result<Recorded, PortError>>) {
        let settled = write.change == Change::Settle;
        let record = self.records.get(&write.grant.key);
        let decided = decide_write(record, write, settled, self.now_ms);
        let answer = answer.pop().expect("one answer").expect("an answer");
        assert_eq!(answer, decided.answer, "{write:?} to {record:?}");
        if let Some(record) = decided.write {
            self.records.insert(write.grant.key, record);
        }
    }

    fn renew(&mut self, worker: usize, answer: Renewed) {
        let (end, session) = &mut self.leases[worker];
        if *end > self.now_ms {
            assert_eq!(answer, Renewed::Held);
        } else {
            let Renewed::Lost(lost) = answer else { panic!("{answer:?}") };
            assert!(session.is_none_or(|session| session == lost));
            *session = None;
        }
        *end = self.now_ms + milliseconds(LEASE);
        if let Some(session) = session {
            self.ends.insert(*session, *end);
        }
    }

    fn hold(&self, session: Option<SessionNumber>) -> Hold {
        match session.and_then(|session| self.ends.get(&session)) {
            Some(0) => Hold::Left,
            Some(end) if *end > self.now_ms => Hold::Live(Duration::from_millis(end - self.now_ms)),
            _ => Hold::Over,
        }
    }

    /// A grant of the latest few.
    fn grant(&self, back: usize) -> Option<Grant> {
        self.grants.iter().rev().nth(back).copied()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
