//! Reading what is kept, a part at a time: the same wherever it is kept.

use crate::{Kept, KeptEntry, KeptFilter, KeptId, KeptKind, KeptPage, Timestamp};

/// Messages that one call looks at, at most: nobody is to wait long for it.
pub const KEPT_LOOK_MAX: usize = 256;

/// A [`KeptPage`] in the making: fills up with what fits, and remembers where it came to.
#[derive(Debug)]
pub struct KeptPager<'a> {
    filter: &'a KeptFilter,
    most: usize,
    look: usize,
    seen: usize,
    last: Option<KeptId>,
    entries: Vec<KeptEntry>,
}

impl<'a> KeptPager<'a> {
    /// A part of at most `most` messages, found among the next `look` behind the `last` one.
    pub fn new(filter: &'a KeptFilter, last: Option<KeptId>, most: usize, look: usize) -> Self {
        Self { filter, most: most.max(1), look, seen: 0, last, entries: Vec::new() }
    }

    /// Sees the next message; `false` when there is no room for it.
    pub fn see(&mut self, entry: KeptEntry) -> bool {
        if self.entries.len() >= self.most {
            return false;
        }
        self.seen += 1;
        self.last = Some(entry.id.clone());
        if self.filter.matches(&entry.kept) {
            self.entries.push(entry);
        }
        true
    }

    /// What was found. There may be more if this part is full, or if there was as much to look at as
    /// was asked for.
    pub fn end(self) -> KeptPage {
        let more = self.seen == self.look || self.entries.len() == self.most;
        KeptPage { entries: self.entries, last: self.last, more }
    }
}

/// A record as it was written. One that this version cannot read is told to be so, not left out:
/// its message can still be replayed or purged.
pub fn read_kept(record: &[u8]) -> Kept {
    serde_json::from_slice(record).unwrap_or_else(|error| {
        let detail = format!("its record cannot be read: {error}");
        let at = Timestamp::from_micros(0);
        Kept::unread(KeptKind::Quarantined, "unreadable-record", detail, "".into(), at)
    })
}
