//! Canvas: groups, chains and chords as values, with the ids that everybody will know them by.
//!
//! A signature in Celery's JSON is read into a [`Node`], [frozen](freeze) (every call gets its id, every
//! member its group, the last link of a chain what follows it), and then sent as the messages that
//! Celery would send. Ids that a signature names are kept; the others are made from the caller's id
//! and their place, so that whoever does the same twice sends the same messages.

mod chord;
mod freeze;
mod node;
mod send;

use lovage_core::{Json, TaskId, outbox_task_id};

pub(crate) use chord::{complete_chord, members_of};
pub(crate) use freeze::{Place, freeze};
pub(crate) use node::{Kind, Node, REPLACED};
pub(crate) use send::{Canvas, ChordStart, With};

/// Signatures inside of signatures: deeper ones are refused.
const DEPTH_MAX: u32 = 32;

/// Messages that one signature may become.
const CALLS_MAX: u32 = 10_000;

/// Why a signature is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The value is no signature, or has one that is none inside.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is nested too deeply.
    #[error("signatures are nested more than {DEPTH_MAX} deep")]
    Deep,
    /// It is too many calls.
    #[error("a signature is more than {CALLS_MAX} calls")]
    Many,
}

/// The tuple of the result that a signature of an outbox will have (`[[id, parent], children]`), when it
/// is the `index`-th item of the outbox of `caller`.
///
/// # Errors
/// When it is no signature.
pub fn frozen_result(
    signature: &Json,
    caller: &TaskId,
    index: u32,
) -> Result<Json, SignatureError> {
    let mut ids = Ids::of_item(caller, index);
    let mut node = Node::parse(signature.as_part())?;
    Ok(freeze(&mut node, &Place::default(), &mut ids))
}

/// Makes ids, the same ones every time.
pub(crate) struct Ids {
    seed: TaskId,
    next: u32,
    first: Option<TaskId>,
}

impl Ids {
    /// Those of an item of an outbox. The first is the one that a plain call would have there.
    pub(crate) fn of_item(caller: &TaskId, index: u32) -> Self {
        let first = outbox_task_id(caller, index);
        let seed = TaskId::from(format!("{first}\0canvas"));
        Self { seed, next: 0, first: Some(first) }
    }

    /// Those of what follows a call in some role.
    pub(crate) fn of_role(call: &TaskId, role: &str) -> Self {
        Self { seed: TaskId::from(format!("{call}\0{role}")), next: 0, first: None }
    }

    pub(crate) fn make(&mut self) -> TaskId {
        if let Some(first) = self.first.take() {
            return first;
        }
        let id = outbox_task_id(&self.seed, self.next);
        self.next = self.next.saturating_add(1);
        id
    }
}
