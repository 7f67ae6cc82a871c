//! What a worker does next, and what the store answers.

use bytes::Bytes;
use lovage_core::{
    Change, Claim, Claimant, Claimed, End, Fence, LedgerWrite, Recorded, SessionNumber, State,
    StepBegin, StepBegun, StepEnd, StepInput, decide_begin_step, decide_claim, decide_end_step,
    decide_write,
};

use super::{
    DELAY, Duration, Job, KEY, Life, Message, Mutant, PAYLOAD, Place, Plan, Record, Rules, Stage,
    World,
};

impl World {
    /// Everything that a worker can do next; each call to the store also with its answer lost and
    /// the call repeated, as long as there may be faults.
    pub(super) fn work(&self, number: usize, rules: &Rules) -> Vec<(String, Self)> {
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
