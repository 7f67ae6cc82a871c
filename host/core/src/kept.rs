//! What was taken out of its queue and kept: dead letters, the parking lot, and what nobody can read.
//!
//! A kept message is its original bytes and a record of why. It leaves in one of two ways: it is
//! *replayed*, which puts it back on its queue as if it had never been delivered, or *purged*.
//! Nothing else is ever done to one, so whoever lists them sees what happened.

use serde::{Deserialize, Serialize};

use crate::{Digest, LedgerKey, QueueName, TaskId, TaskName, Timestamp};

/// The reason of a call that is parked because no module implements its task.
pub const UNKNOWN_TASK: &str = "unknown-task";

/// Why a message was taken out of its queue and kept: a record beside its original bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// `dead` (failed for good), `parked` (waits for a person or a module) or `quarantined` (nobody
    /// can read it).
    pub kind: KeptKind,
    /// Why, in a word or two that can be filtered on, such as `unknown-task` or `out-of-memory`.
    pub reason: String,
    /// More, for people.
    pub detail: String,
    /// The call's id, when it could be read.
    pub task_id: Option<TaskId>,
    /// The task's name, when it could be read.
    pub task: Option<TaskName>,
    /// The queue it came from.
    pub queue: QueueName,
    /// The module that ran it, if one did.
    pub digest: Option<Digest>,
    /// The guest's traceback, if there is one.
    pub traceback: Option<String>,
    /// How often it was retried.
    pub retries: u32,
    /// How often it was delivered.
    pub deliveries: u32,
    /// When it was kept.
    pub at: Timestamp,
    /// The ledger's record of the call, if it has one.
    #[serde(default)]
    pub ledger_key: Option<LedgerKey>,
}

impl Kept {
    /// A record of a message of which nothing is known but where it came from.
    pub fn unread(
        kind: KeptKind,
        reason: &str,
        detail: String,
        queue: QueueName,
        at: Timestamp,
    ) -> Self {
        Self {
            kind,
            reason: reason.into(),
            detail,
            task_id: None,
            task: None,
            queue,
            digest: None,
            traceback: None,
            retries: 0,
            deliveries: 1,
            at,
            ledger_key: None,
        }
    }
}

/// Which of the three kinds of kept messages one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptKind {
    /// Failed for good.
    Dead,
    /// Waits for a person or a module.
    Parked,
    /// Nobody can read it.
    Quarantined,
}

impl KeptKind {
    /// The kind as it is written: `dead`, `parked` or `quarantined`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Parked => "parked",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Names one kept message, in the words of the broker that has it. Never used twice there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct KeptId(pub String);

/// One kept message, its bytes aside.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptEntry {
    /// Its name.
    pub id: KeptId,
    /// Why it is kept.
    pub kept: Kept,
    /// Bytes that the message has.
    pub message_bytes: u64,
}

/// A part of what is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptPage {
    /// What fits the filter, oldest first; may be empty although more will follow.
    pub entries: Vec<KeptEntry>,
    /// The last message that was looked at: where to go on, now or when more was kept. `None` when
    /// none was ever looked at.
    pub last: Option<KeptId>,
    /// Whether there may be more behind it already.
    pub more: bool,
}

/// Which kept messages are meant: those that fit everything that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptFilter {
    /// Of this kind.
    pub kind: Option<KeptKind>,
    /// For this reason.
    pub reason: Option<String>,
    /// Of this task; `*` stands for any text.
    pub task: Option<String>,
    /// Of this call.
    pub task_id: Option<TaskId>,
    /// From this queue.
    pub queue: Option<QueueName>,
    /// Kept at this moment or later.
    pub since: Option<Timestamp>,
    /// Kept before this moment.
    pub until: Option<Timestamp>,
}

impl KeptFilter {
    /// Whether a kept message is meant.
    pub fn matches(&self, kept: &Kept) -> bool {
        let task = kept.task.as_ref().map_or("", TaskName::as_str);
        self.kind.is_none_or(|kind| kind == kept.kind)
            && self.reason.as_ref().is_none_or(|reason| *reason == kept.reason)
            && self.task.as_ref().is_none_or(|pattern| fits(pattern, task))
            && self.task_id.as_ref().is_none_or(|id| kept.task_id.as_ref() == Some(id))
            && self.queue.as_ref().is_none_or(|queue| *queue == kept.queue)
            && self.since.is_none_or(|since| since <= kept.at)
            && self.until.is_none_or(|until| kept.at < until)
    }
}

/// Whether a text is as a pattern says, whose `*` stand for any text. Each is given the shortest
/// text at first; when it goes wrong later, only the last one can mend it by taking more.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Kept, KeptFilter, KeptKind, fits};
    use crate::{LedgerKey, Timestamp};

    fn kept() -> Kept {
        let at = Timestamp::from_micros(5);
        let mut kept = Kept::unread(KeptKind::Dead, "failed", String::new(), "q".into(), at);
        kept.task = Some("shop.charge".into());
        kept.task_id = Some("1".into());
        kept
    }

    #[test]
    fn a_star_is_any_text_and_everything_else_itself() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("shop.*", "shop.charge"),
            ("*.charge", "shop.charge"),
            ("s*h*e", "shop.charge"),
            ("a*a", "aa"),
            ("*ab*ab", "abab"),
            ("shop.charge", "shop.charge"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("shop", "shop.charge"), ("a*a", "a"), ("*x*", "abc"), ("a?", "ab")]
        {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn every_part_of_a_filter_must_fit() {
        let all = KeptFilter {
            kind: Some(KeptKind::Dead),
            reason: Some("failed".into()),
            task: Some("shop.*".into()),
            task_id: Some("1".into()),
            queue: Some("q".into()),
            since: Some(Timestamp::from_micros(5)),
            until: Some(Timestamp::from_micros(6)),
        };
        assert!(KeptFilter::default().matches(&kept()) && all.matches(&kept()));
        for wrong in [
            KeptFilter { kind: Some(KeptKind::Parked), ..all.clone() },
            KeptFilter { reason: Some("fail".into()), ..all.clone() },
            KeptFilter { task: Some("charge".into()), ..all.clone() },
            KeptFilter { task_id: Some("2".into()), ..all.clone() },
            KeptFilter { queue: Some("p".into()), ..all.clone() },
            KeptFilter { since: Some(Timestamp::from_micros(6)), ..all.clone() },
            KeptFilter { until: Some(Timestamp::from_micros(5)), ..all.clone() },
        ] {
            assert!(!wrong.matches(&kept()), "{wrong:?}");
        }
    }

    #[test]
    fn a_record_is_read_back_and_so_is_one_without_the_ledgers_key() {
        let mut kept = kept();
        kept.ledger_key = Some(LedgerKey::from_bytes([0xab; 16]));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
        let before = text.replace(&format!(r#","ledger_key":"{}""#, "ab".repeat(16)), "");
        assert!(before != text, "{text}");
        assert_eq!(serde_json::from_str::<Kept>(&before).unwrap().ledger_key, None);
    }
}
