//! Steps: parts of a task that happen once over all its attempts.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Decided, Fence, Grant, Hold, Record, Recorded, State};
use crate::Json;
use crate::frames::OnDoubt;

/// Bytes that a step's name may have.
pub const STEP_NAME_BYTES_MAX: usize = 64;

/// Bytes that a step's value may have.
pub const STEP_VALUE_BYTES_MAX: usize = 64 << 10;

/// What a step depends on, as a hash of its canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StepInput(pub [u8; 16]);

impl StepInput {
    /// The hash of an input.
    pub fn of(input: &Json) -> Self {
        let mut short = [0; 16];
        let whole = Sha256::digest(input.canonical());
        short.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        Self(short)
    }
}

/// A step that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepBegin {
    /// Its name, 1 to [`STEP_NAME_BYTES_MAX`] bytes.
    pub name: Box<str>,
    /// What it depends on.
    pub input: StepInput,
    /// What is to happen when it was begun before.
    pub doubt: OnDoubt,
    /// Tells this begin from every other one of its grant, at most
    /// [`NUMBER_MAX`](super::NUMBER_MAX). A begin that is repeated, because its answer was lost, gets
    /// the same answer: whoever asked was not told to go on, so nothing has happened yet.
    pub ticket: u64,
}

/// What the begin of a step is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepBegun {
    /// Do it, then end it.
    Run,
    /// It was done, and this came of it.
    Replay(Bytes),
    /// It was begun, nobody knows how it ended, and its author wants to find out. It may be ended.
    Ambiguous,
    /// It was begun, nobody knows how it ended, and its author wants the task parked.
    Doubt,
    /// It was begun with another input.
    Mismatch,
    /// The grant is not the record's any more, or its lease is over: do nothing.
    Lost,
}

/// What a store keeps of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepRecord {
    /// The grant it was begun under.
    pub fence: Fence,
    /// What it depends on.
    pub input: StepInput,
    /// Which begin of that grant.
    pub ticket: u64,
    /// Whether that begin was told that the step is in doubt.
    pub doubted: bool,
    /// What came of it; `None` until it was committed.
    pub value: Option<Bytes>,
}

/// How a step ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// It happened, and this came of it: at most [`STEP_VALUE_BYTES_MAX`].
    Commit(Bytes),
    /// It did not happen: its author asserts it.
    Abandon,
}

/// Decides the begin of a step. `hold` says how the record's owner does.
///
/// Only a live lease may begin one: whoever is late must not start an effect that another worker may
/// be starting.
pub fn decide_begin_step(
    record: Option<&Record>,
    found: Option<&StepRecord>,
    grant: &Grant,
    begin: &StepBegin,
    hold: Hold,
) -> Decided<StepRecord, StepBegun> {
    let runs = record.is_some_and(|record| {
        let owner = match record.state {
            State::Running { owner, .. } => owner,
            _ => None,
        };
        record.fence == grant.fence && owner == Some(grant.session)
    });
    if !runs || !matches!(hold, Hold::Live(_)) {
        return Decided::only(StepBegun::Lost);
    }
    let begun = |doubted| StepRecord {
        fence: grant.fence,
        input: begin.input,
        ticket: begin.ticket,
        doubted,
        value: None,
    };
    let Some(step) = found else {
        return Decided { write: Some(begun(false)), answer: StepBegun::Run };
    };
    if step.input != begin.input {
        return Decided::only(StepBegun::Mismatch);
    }
    if let Some(value) = &step.value {
        return Decided::only(StepBegun::Replay(value.clone()));
    }
    if step.fence == grant.fence && step.ticket == begin.ticket {
        return Decided::only(if step.doubted { StepBegun::Ambiguous } else { StepBegun::Run });
    }
    match begin.doubt {
        OnDoubt::Retry => Decided { write: Some(begun(false)), answer: StepBegun::Run },
        OnDoubt::Ask => Decided { write: Some(begun(true)), answer: StepBegun::Ambiguous },
        OnDoubt::Fail => Decided::only(StepBegun::Doubt),
    }
}

/// Decides the end of a step: `Some(None)` to be written means that it goes.
///
/// Evidence is welcome from whoever began the step, also after the record was lost, but never over
/// what a later grant began.
pub fn decide_end_step(
    found: Option<&StepRecord>,
    grant: &Grant,
    end: &StepEnd,
) -> Decided<Option<StepRecord>, Recorded> {
    match (found, end) {
        (Some(step), _) if step.fence != grant.fence => Decided::only(Recorded::Lost),
        (Some(step @ StepRecord { value: None, .. }), StepEnd::Commit(value)) => Decided {
            write: Some(Some(StepRecord { value: Some(value.clone()), ..step.clone() })),
            answer: Recorded::Written,
        },
        (Some(StepRecord { value: None, .. }), StepEnd::Abandon) => {
            Decided { write: Some(None), answer: Recorded::Written }
        }
        // A repetition.
        (Some(_), StepEnd::Commit(_)) | (None, StepEnd::Abandon) => {
            Decided::only(Recorded::Written)
        }
        (Some(_), StepEnd::Abandon) | (None, StepEnd::Commit(_)) => Decided::only(Recorded::Lost),
    }
}
