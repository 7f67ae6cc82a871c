//! Calls to other tasks that leave with an attempt's success.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{ChordMembers, Json, QueueName, TaskId, TaskName};

/// Something in the outbox. Its place there is part of the ids that it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OutboxItem {
    /// One call.
    Call(OutboxCall),
    /// A signature of Celery's, of any form.
    Signature(Json),
    /// A signature that becomes a member of the chord that the caller is a member of.
    Member(Json),
    /// The body of a chord whose members have all ended: it is sent, or its caller told which failed.
    Body {
        /// The group that the members are.
        group: TaskId,
        /// The body, as Celery's signature.
        body: Json,
        /// What they came to.
        members: ChordMembers,
    },
}

/// A call in the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxCall {
    /// The id it will have: [`outbox_task_id`] of the caller's id and the call's place.
    pub id: TaskId,
    /// The task to call.
    pub task: TaskName,
    /// Positional arguments, a JSON array.
    pub args: Json,
    /// Keyword arguments, a JSON object.
    pub kwargs: Json,
    /// The queue; `None` leaves it to the host's routing.
    pub queue: Option<QueueName>,
    /// The earliest start, from the moment the attempt succeeds.
    pub countdown: Option<Duration>,
    /// How long the call is wanted, from the same moment.
    pub expires: Option<Duration>,
    /// 0 to 9, in the broker's own meaning.
    pub priority: Option<u8>,
    /// Whether nobody wants the result.
    pub ignore_result: bool,
    /// More headers, a JSON object.
    pub headers: Option<Json>,
}

/// The caller from whose id those of its outbox are made. A task that took another's place has its id
/// and not its calls.
pub fn outbox_caller(id: &TaskId, replaced_task_nesting: u32) -> TaskId {
    match replaced_task_nesting {
        0 => id.clone(),
        nesting => TaskId::from(format!("{id}\0{nesting}")),
    }
}

/// The id of the `index`-th call (from 0) that the task `caller` puts in its outbox.
///
/// It depends on nothing else, so that an attempt that is settled twice sends the same calls, which
/// whoever receives them can tell. The text has the form of a UUID of version 8.
pub fn outbox_task_id(caller: &TaskId, index: u32) -> TaskId {
    let hash = Sha256::new_with_prefix(caller.as_str())
        .chain_update([0])
        .chain_update(index.to_be_bytes())
        .finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash) {
        *to = from;
    }
    TaskId::from(uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string())
}

#[cfg(test)]
mod tests {
    use super::outbox_task_id;
    use crate::TaskId;

    #[test]
    fn an_outbox_id_depends_on_caller_and_place_alone() {
        let caller = TaskId::from("a");
        assert_eq!(outbox_task_id(&caller, 0), outbox_task_id(&caller, 0));
        assert_ne!(outbox_task_id(&caller, 0), outbox_task_id(&caller, 1));
        assert_ne!(outbox_task_id(&caller, 0), outbox_task_id(&TaskId::from("b"), 0));
        assert_eq!(outbox_task_id(&caller, 0).as_str().len(), 36);
    }
}
