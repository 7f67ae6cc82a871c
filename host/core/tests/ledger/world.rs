//! One call, two workers, and everything that can happen to them.

mod work;

use std::time::Duration;

use lovage_core::frames::OnDoubt;
use lovage_core::{
    End, Fence, Grant, Hold, LedgerKey, Payload, Record, SessionNumber, State, StepRecord,
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
}
