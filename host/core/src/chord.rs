//! Chords: members that are counted, and a body that waits for all of them.

use serde::{Deserialize, Serialize};

use crate::{Json, TaskId, TaskState};

/// What settling a call has to do with chords.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChordWork {
    /// Chords that leave with the call, and how many members each has.
    pub starts: Vec<(TaskId, u64)>,
    /// Members that join a chord that is on its way: its group, and their ids.
    pub joining: Vec<(TaskId, TaskId)>,
    /// What is over and counts: the call itself, or a later link of its chain.
    pub members: Vec<ChordMember>,
}

impl ChordWork {
    /// Whether there is nothing to do, as for nearly every call.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.joining.is_empty() && self.members.is_empty()
    }
}

/// A member that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct ChordMember {
    /// The group that the chord's members are.
    pub group: TaskId,
    /// The member. It counts once, however often it ends.
    pub id: TaskId,
    /// Its place among the results.
    pub index: Option<i64>,
    /// How it ended.
    pub state: TaskState,
    /// The body, as Celery's signature.
    pub body: Json,
}

/// What counting a member came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// Others are still out, or the body has left.
    Known,
    /// All are there, and somebody else is sending the body; whether they did is to be asked again.
    Contended,
    /// All are there, and it is for us to send the body.
    Complete {
        /// Proves it when the chord is ended.
        token: String,
        /// What they came to.
        members: ChordMembers,
    },
}

/// What the members of a chord came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChordMembers {
    /// An entry for each in the order of their places: `[1, id, state, result]` as JSON.
    pub entries: Vec<String>,
    /// Groups among the members, where whoever sent the chord noted them: `{"result": [[id, parent],
    /// children]}`, Celery's saved `GroupResult`. The body gets a list for each.
    pub saved: Option<String>,
}
