//! One call, two workers, and everything that can happen to them.

use std::time::Duration;

use bytes::Bytes;
use lovage_core::frames::OnDoubt;
use lovage_core::{
    Change, Claim, Claimant, Claimed, End, Fence, Grant, Hold, LedgerKey, LedgerWrite, Payload,
    Record, Recorded, SessionNumber, State, StepBegin, StepBegun, StepEnd, StepInput, StepRecord,
    decide_begin_step, decide_claim, decide_end_step, decide_write,
};

/// What is explored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// What the step's author says of doubt.
    pub(crate) doubt: OnDoubt,
    /// Whether settling is one step.
    pub(crate) atomic: bool,
    pub(crate) crashes_max: u32,
    /// How often the one message was published.
    pub(crate) copies: usize,
    /// How many faults may happen.
    pub(crate) faults: u8,
    pub(crate) mutant: Mutant,
}

/// A protocol with one thing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    RecordAfterPublish,
    AcknowledgeBusy,
    NoFence,
    RunningExpires,
    RepeatInDoubt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    record: Option<Record>,
    step: Option<StepRecord>,
    now_ms: u64,
    fence: u64,
    begins: u8,
    sessions: Vec<Life>,
    copies: Vec<Message>,
    workers: [Worker; 2],
    /// How often the effect was sent.
    effects: u8,
    /// What others were told.
    told: Option<End>,
    successor: bool,
    /// Every write that ended the call.
    ends: Vec<(Fence, End)>,
    /// Workers that died or were away too long.
    deaths: u32,
    pub(crate) faults: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    Live,
    Over,
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Message {
    attempt: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Waiting,
    Held,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Worker {
    session: Option<SessionNumber>,
    job: Option<Job>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Job {
    copy: usize,
    /// Whether the broker still counts the delivery as this worker's.
    holds: bool,
    grant: Option<Grant>,
    attempt: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Reserved,
    Granted,
    Begun,
    /// Begun before by somebody else: to be looked up.
    Asked,
    Sent,
    Ending(Plan),
    Recorded(Plan),
    Told(Plan),
    Published(Plan),
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Plan {
    End(End),
    Retry(u32),
    /// Somebody else has recorded it.
    Finish(End),
}

const KEY: LedgerKey = LedgerKey::from_bytes([7; 16]);
const PAYLOAD: Payload = Payload::Raw([1; 4]);
const DELAY: Duration = Duration::from_millis(10);

impl World {
    pub(crate) fn start(rules: &Rules) -> Self {
        Self {
            record: None,
            step: None,
            now_ms: 0,
            fence: 0,
            begins: 0,
            sessions: Vec::new(),
            copies: vec![Message { attempt: 0, place: Place::Waiting }; rules.copies],
            workers: [Worker::default(); 2],
            effects: 0,
            told: None,
            successor: false,
            ends: Vec::new(),
            deaths: 0,
            faults: rules.faults,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.copies.iter().all(|copy| copy.place == Place::Gone)
    }

    /// Every state that can come next, with what happened.
    pub(crate) fn successors(&self, rules: &Rules) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        for number in 0..self.workers.len() {
            for (what, next) in self.work(number, rules) {
                all.push((format!("worker {number} {what}"), next));
            }
            for (what, next) in self.faults(number) {
                all.push((format!("worker {number} {what}"), next));
            }
        }
        for (number, life) in self.sessions.iter().enumerate() {
            let session = SessionNumber(number as u64 + 1);
            let orphan = self.workers.iter().all(|worker| worker.session != Some(session));
            if *life == Life::Live && orphan {
                let mut next = self.clone();
                next.sessions[number] = Life::Over;
                all.push((format!("the lease of session {} ends", session.0), next));
            }
        }
        if let Some(Record { state: State::Retry { due_ms, .. }, .. }) = self.record
            && due_ms > self.now_ms
        {
            all.push(("the retry is due".into(), Self { now_ms: due_ms, ..self.clone() }));
        }
        let running = matches!(self.record, Some(Record { state: State::Running { .. }, .. }));
        if rules.mutant == Mutant::RunningExpires && running {
            all.push(("the record expires".into(), Self { record: None, ..self.clone() }));
        }
        all
    }

    /// What is broken in this state, which came after `before`.
    pub(crate) fn broken(&self, before: &Self, rules: &Rules) -> Option<&'static str> {
        let over = match self.record {
            Some(Record { state: State::Over { end, settled, .. }, .. }) => Some((end, settled)),
            _ => None,
        };
        let was_over = matches!(before.record, Some(Record { state: State::Over { .. }, .. }));
        let fences = [before, self].map(|it| it.record.as_ref().map(|record| record.fence));
        let crashes = match self.record {
            Some(Record { state: State::Running { crashes, .. }, .. }) => crashes,
            _ => 0,
        };
        let running = |worker: &&Worker| {
            let runs = |job: Job| {
                matches!(job.stage, Stage::Granted | Stage::Begun | Stage::Asked | Stage::Sent)
            };
            worker.job.is_some_and(runs) && self.life(worker.session) == Some(Life::Live)
        };
        if self.ends.len() > 1 {
            Some("a second terminal write")
        } else if was_over && (over.is_none() || fences[0] != fences[1]) {
            Some("a terminal record changed")
        } else if fences[0] > fences[1] && rules.mutant != Mutant::RunningExpires {
            Some("a fence went back")
        } else if rules.doubt == OnDoubt::Fail && self.effects > 1 {
            Some("an effect that must not be repeated was sent twice")
        } else if self.workers.iter().filter(running).count() > 1 {
            Some("two workers with live leases run it at once")
        } else if crashes > self.deaths {
            Some("a crash was counted that was none")
        } else if self.successor && over.is_none_or(|(end, _)| end != End::Done) {
            Some("a call left without its success")
        } else if self.told.is_some() && over.is_none_or(|(end, _)| self.told != Some(end)) {
            Some("others were told what is not recorded")
        } else if over.is_some_and(|(end, _)| end == End::Done) && self.effects == 0 {
            Some("a success without its effect")
        } else if self.is_finished()
            && !over.is_some_and(|(end, settled)| {
                settled && self.told == Some(end) && self.successor == (end == End::Done)
            })
        {
            Some("the call is lost: no message is left, and it is not settled")
        } else {
            None
        }
    }

    fn life(&self, session: Option<SessionNumber>) -> Option<Life> {
        session.map(|session| self.sessions[usize::try_from(session.0).unwrap() - 1])
    }

    fn hold(&self, session: Option<SessionNumber>) -> Hold {
        match self.life(session) {
            Some(Life::Live) => Hold::Live(DELAY),
            Some(Life::Left) => Hold::Left,
            Some(Life::Over) | None => Hold::Over,
        }
    }

    fn faults(&self, number: usize) -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        let Some(job) = self.workers[number].job.filter(|_| self.faults > 0) else { return all };
        for (what, ends) in [("dies", None), ("shuts down", Some(Life::Left))] {
            let mut next = Self { faults: self.faults - 1, ..self.clone() };
            next.give_back(&job);
            if let (Some(session), Some(life)) = (next.workers[number].session, ends) {
                next.sessions[usize::try_from(session.0).unwrap() - 1] = life;
            }
            next.workers[number] = Worker::default();
            next.deaths += u32::from(ends.is_none());
            all.push((what, next));
        }
        let live = self.life(self.workers[number].session) == Some(Life::Live);
        if let Some(session) = self.workers[number].session.filter(|_| live) {
            let mut next =
                Self { faults: self.faults - 1, deaths: self.deaths + 1, ..self.clone() };
            next.give_back(&job);
            next.sessions[usize::try_from(session.0).unwrap() - 1] = Life::Over;
            next.workers[number].job = job.grant.is_some().then_some(Job { holds: false, ..job });
            all.push(("is away for longer than its lease", next));
        }
        all
    }

    fn give_back(&mut self, job: &Job) {
        if job.holds {
            self.copies[job.copy].place = Place::Waiting;
        }
    }

    /// Everything that a worker can do next; each call to the store also with its answer lost and
    /// the call repeated, as long as there may be faults.
    fn work(&self, number: usize, rules: &Rules) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        let Some(job) = self.workers[number].job else {
            for copy in 0..self.copies.len() {
                if self.copies[copy].place == Place::Waiting {
                    all.push((format!("takes message {copy}"), self.taken(number, copy)));
                }
            }
            return all;
        };
        for times in 1..=if self.faults > 0 { 2 } else { 1 } {
            let mut base = self.clone();
            base.faults -= times - 1;
            for (what, next) in base.step(number, job, times, rules) {
                all.push((format!("{what} (×{times})"), next));
            }
        }
        all
    }

    fn taken(&self, number: usize, copy: usize) -> Self {
        let mut next = self.clone();
        if next.life(next.workers[number].session) != Some(Life::Live) {
            next.sessions.push(Life::Live);
            next.workers[number].session = Some(SessionNumber(next.sessions.len() as u64));
        }
        next.copies[copy].place = Place::Held;
        let attempt = next.copies[copy].attempt;
        let stage = Stage::Reserved;
        next.workers[number].job = Some(Job { copy, holds: true, grant: None, attempt, stage });
        next
    }

    fn step(&self, number: usize, job: Job, times: u8, rules: &Rules) -> Vec<(&'static str, Self)> {
        let at = |next: &Self, stage| {
            let mut next = next.clone();
            next.workers[number].job = Some(Job { stage, ..job });
            next
        };
        let first_retry = (job.attempt == 0).then_some(Stage::Ending(Plan::Retry(1)));
        match job.stage {
            Stage::Reserved => vec![("claims", self.claim(number, job, times, rules))],
            Stage::Granted => vec![("begins the step", self.begin(number, job, times, rules))],
            Stage::Begun => {
                let sent = Self { effects: (self.effects + 1).min(9), ..self.clone() };
                let mut all = vec![("sends the effect", at(&sent, Stage::Sent))];
                if let Some(retry) = first_retry {
                    let mut next = self.clone();
                    next.end_step(job, &StepEnd::Abandon, times);
                    all.push(("fails before the effect", at(&next, retry)));
                }
                all
            }
            Stage::Asked => {
                let stage = if self.effects > 0 { Stage::Sent } else { Stage::Begun };
                vec![("looks the effect up", at(self, stage))]
            }
            Stage::Sent => {
                let mut next = self.clone();
                next.end_step(job, &StepEnd::Commit(Bytes::from_static(b"1")), times);
                let done = Stage::Ending(Plan::End(End::Done));
                let mut all = vec![("commits the step and succeeds", at(&next, done))];
                if let Some(retry) = first_retry {
                    all.push(("commits the step and fails", at(&next, retry)));
                }
                all
            }
            Stage::Ending(plan) => vec![("records", self.record(number, job, plan, times, rules))],
            Stage::Recorded(plan) => {
                let mut next = at(self, Stage::Told(plan));
                next.tell(plan);
                vec![("tells the result", next)]
            }
            Stage::Told(plan) => {
                let mut next = at(self, Stage::Published(plan));
                next.publish(plan);
                if rules.mutant == Mutant::RecordAfterPublish {
                    next = next.record(number, job, plan, times, rules);
                }
                vec![("publishes", next)]
            }
            Stage::Published(plan) => {
                let mut next = at(self, Stage::Settled);
                next.write(job, plan, Some(Change::Settle), true, times);
                vec![("settles", next)]
            }
            Stage::Settled => vec![("acknowledges", self.closed(number, &job, Place::Gone))],
        }
    }

    fn claim(&self, number: usize, job: Job, times: u8, rules: &Rules) -> Self {
        let mut next = self.clone();
        let session = self.workers[number].session.unwrap();
        let claim = Claim {
            key: KEY,
            payload: PAYLOAD,
            attempt: self.copies[job.copy].attempt,
            ticket: 1 + job.copy as u64,
        };
        let mut answer = None;
        for _ in 0..times {
            let by = Claimant {
                session,
                fence: Fence(next.fence + 1),
                now_ms: next.now_ms,
                crashes_max: rules.crashes_max,
            };
            let hold = next.hold(next.record.as_ref().and_then(Record::owner));
            let decided = decide_claim(next.record.as_ref(), &claim, &by, hold);
            if let Some(record) = decided.write {
                if let State::Over { end, .. } = record.state {
                    next.ends.push((record.fence, end));
                }
                next.fence = record.fence.0;
                next.record = Some(record);
            }
            let first = answer.get_or_insert_with(|| decided.answer.clone());
            assert_eq!(*first, decided.answer, "a repeated claim");
        }
        let (grant, attempt, stage) = match answer.unwrap() {
            Claimed::Fresh { grant, attempt, .. } => (grant, attempt, Stage::Granted),
            Claimed::Busy { .. } if rules.mutant == Mutant::AcknowledgeBusy => {
                return next.closed(number, &job, Place::Gone);
            }
            Claimed::Busy { .. } | Claimed::NotYet { .. } => {
                return next.closed(number, &job, Place::Waiting);
            }
            Claimed::Over { settled: true, grant, .. }
            | Claimed::Stale { settled: true, grant, .. } => (grant, 0, Stage::Settled),
            Claimed::Over { end, grant, .. } if rules.atomic => {
                (grant, 0, Stage::Ending(Plan::Finish(end)))
            }
            Claimed::Over { end, grant, .. } => (grant, 0, Stage::Recorded(Plan::End(end))),
            Claimed::Stale { attempt, grant, .. } => {
                (grant, 0, Stage::Recorded(Plan::Retry(attempt)))
            }
            Claimed::Mismatch => panic!("the payload is the same"),
        };
        next.workers[number].job = Some(Job { grant: Some(grant), attempt, stage, ..job });
        next
    }

    fn begin(&self, number: usize, job: Job, times: u8, rules: &Rules) -> Self {
        let mut next = self.clone();
        let grant = job.grant.unwrap();
        let mut answer = None;
        next.begins += 1;
        for _ in 0..times {
            let begin = StepBegin {
                name: "charge".into(),
                input: StepInput([0; 16]),
                doubt: rules.doubt,
                ticket: next.begins.into(),
            };
            let hold = next.hold(Some(grant.session));
            let (record, step) = (next.record.as_ref(), next.step.as_ref());
            let decided = decide_begin_step(record, step, &grant, &begin, hold);
            next.step = decided.write.or(next.step);
            let first = answer.get_or_insert_with(|| decided.answer.clone());
            assert_eq!(*first, decided.answer, "a repeated begin");
        }
        let stage = match answer.unwrap() {
            StepBegun::Run => Stage::Begun,
            StepBegun::Replay(_) => Stage::Sent,
            StepBegun::Ambiguous => Stage::Asked,
            StepBegun::Doubt if rules.mutant == Mutant::RepeatInDoubt => Stage::Begun,
            StepBegun::Doubt => Stage::Ending(Plan::End(End::Parked)),
            StepBegun::Lost => return next.closed(number, &job, Place::Waiting),
            StepBegun::Mismatch => panic!("the input is the same"),
        };
        next.workers[number].job = Some(Job { stage, ..job });
        next
    }

    fn end_step(&mut self, job: Job, end: &StepEnd, times: u8) {
        for _ in 0..times {
            let decided = decide_end_step(self.step.as_ref(), &job.grant.unwrap(), end);
            if let Some(step) = decided.write {
                self.step = step;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a step of the exploration has this many sides")]
    fn record(&self, number: usize, job: Job, plan: Plan, times: u8, rules: &Rules) -> Self {
        let mut next = self.clone();
        if rules.atomic && !job.holds {
            // The one script does nothing at all for a delivery that is not its session's.
            return next.closed(number, &job, Place::Waiting);
        }
        if rules.mutant == Mutant::RecordAfterPublish && job.stage == Stage::Ending(plan) {
            next.workers[number].job = Some(Job { stage: Stage::Recorded(plan), ..job });
            return next;
        }
        let mut job = job;
        if rules.mutant == Mutant::NoFence
            && let (Some(grant), Some(record)) = (&mut job.grant, &next.record)
        {
            grant.fence = record.fence;
        }
        let change = matches!(plan, Plan::Finish(_)).then_some(Change::Settle);
        if next.write(job, plan, change, rules.atomic, times) == Recorded::Lost {
            return next.closed(number, &job, Place::Waiting);
        }
        if rules.atomic {
            next.tell(plan);
            next.publish(plan);
            return next.closed(number, &job, Place::Gone);
        }
        let after = if job.stage == Stage::Ending(plan) {
            Stage::Recorded(plan)
        } else {
            Stage::Published(plan)
        };
        next.workers[number].job = Some(Job { stage: after, ..job });
        next
    }

    #[expect(clippy::too_many_arguments, reason = "a step of the exploration has this many sides")]
    fn write(
        &mut self,
        job: Job,
        plan: Plan,
        change: Option<Change>,
        settled: bool,
        times: u8,
    ) -> Recorded {
        let change = change.unwrap_or(match plan {
            Plan::End(end) | Plan::Finish(end) => Change::End(end),
            Plan::Retry(attempt) => Change::Retry { attempt, delay: DELAY },
        });
        let keep = Duration::from_hours(1);
        let write = LedgerWrite { grant: job.grant.unwrap(), change, keep, verdict: None };
        let mut answer = Recorded::Lost;
        for _ in 0..times {
            let decided = decide_write(self.record.as_ref(), &write, settled, self.now_ms);
            if let Some(record) = decided.write {
                if let (State::Over { end, .. }, Change::End(_)) = (&record.state, change) {
                    self.ends.push((record.fence, *end));
                }
                self.record = Some(record);
            }
            answer = decided.answer;
        }
        answer
    }

    fn tell(&mut self, plan: Plan) {
        if let Plan::End(end) | Plan::Finish(end) = plan {
            self.told = Some(end);
        }
    }

    fn publish(&mut self, plan: Plan) {
        match plan {
            Plan::Retry(attempt) => {
                self.copies.push(Message { attempt, place: Place::Waiting });
            }
            Plan::End(end) | Plan::Finish(end) => self.successor |= end == End::Done,
        }
    }

    /// The worker is done with its delivery, which goes to `place` if it is still its own.
    fn closed(&self, number: usize, job: &Job, place: Place) -> Self {
        let mut next = self.clone();
        if job.holds {
            next.copies[job.copy].place = place;
        }
        next.workers[number].job = None;
        next
    }
}
