//! The audit log: each row holds the hash of the one before it, so that none can be altered, removed
//! or moved unnoticed. Whoever keeps the newest hash elsewhere notices a cut end, too.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Digest, TenantId, Timestamp};

/// A change that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: the id of a token, or what the host is called.
    pub actor: String,
    /// Whose things were changed.
    pub tenant: TenantId,
    /// What was done, such as `module.promote`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What else is worth knowing.
    pub detail: String,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its number, from 1 without a gap.
    pub number: u64,
    /// What was done.
    pub entry: AuditEntry,
    /// The hash of the row before it; nothing but zeros for the first.
    pub previous: Digest,
    /// The hash of everything above.
    pub hash: Digest,
}

/// Where a log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tampered {
    /// Rows are missing, or were moved.
    #[error("row {expected} is missing; row {found} is in its place")]
    Missing {
        /// The number that should be there.
        expected: u64,
        /// The one that is.
        found: u64,
    },
    /// The row does not follow from the one before it.
    #[error("row {0} does not follow from the row before it")]
    Unlinked(u64),
    /// The row is not what was written.
    #[error("row {0} is not what was written")]
    Altered(u64),
}

impl AuditRow {
    /// The row that follows `last` and says `entry`.
    pub fn after(last: Option<(u64, Digest)>, entry: AuditEntry) -> Self {
        let (number, previous) = last.unwrap_or((0, Digest::from_bytes([0; 32])));
        let number = number + 1;
        Self { number, hash: hash(number, &entry, &previous), entry, previous }
    }
}

fn hash(number: u64, entry: &AuditEntry, previous: &Digest) -> Digest {
    let mut hash = Sha256::new_with_prefix(b"lovage-audit-v1");
    hash.update(number.to_be_bytes());
    hash.update(previous.as_bytes());
    hash.update(entry.at.as_micros().to_be_bytes());
    let tenant = entry.tenant.as_str();
    for part in [&*entry.actor, tenant, &entry.action, &entry.subject, &entry.detail] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Digest::from_bytes(hash.finalize().into())
}

/// Checks rows in their order, the first of which follows `last` (nothing, for a whole log). Returns
/// the number and the hash of the last one.
///
/// # Errors
/// At the first row that is not what was written.
pub fn verify_audit<'a>(
    last: Option<(u64, Digest)>,
    rows: impl IntoIterator<Item = &'a AuditRow>,
) -> Result<Option<(u64, Digest)>, Tampered> {
    let mut last = last;
    for row in rows {
        let (before, previous) = last.unwrap_or((0, Digest::from_bytes([0; 32])));
        if row.number != before + 1 {
            return Err(Tampered::Missing { expected: before + 1, found: row.number });
        }
        if row.previous != previous {
            return Err(Tampered::Unlinked(row.number));
        }
        if row.hash != hash(row.number, &row.entry, &row.previous) {
            return Err(Tampered::Altered(row.number));
        }
        last = Some((row.number, row.hash));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::{AuditEntry, AuditRow, Tampered, verify_audit};
    use crate::{TenantId, Timestamp};

    fn log(rows: u64) -> Vec<AuditRow> {
        let mut log: Vec<AuditRow> = Vec::new();
        for number in 0..rows {
            let entry = AuditEntry {
                at: Timestamp::from_micros(number.cast_signed()),
                actor: "token".into(),
                tenant: TenantId::default(),
                action: "module.push".into(),
                subject: number.to_string(),
                detail: String::new(),
            };
            let last = log.last().map(|row| (row.number, row.hash));
            log.push(AuditRow::after(last, entry));
        }
        log
    }

    #[test]
    fn whatever_is_done_to_a_row_is_noticed() {
        assert!(verify_audit(None, &log(5)).unwrap().is_some());
        let mut altered = log(5);
        altered[2].entry.subject.push('x');
        assert_eq!(verify_audit(None, &altered), Err(Tampered::Altered(3)));
        let mut removed = log(5);
        removed.remove(2);
        assert_eq!(verify_audit(None, &removed), Err(Tampered::Missing { expected: 3, found: 4 }));
        let mut swapped = log(5);
        swapped.swap(1, 2);
        assert!(verify_audit(None, &swapped).is_err());
        let mut forged = log(5);
        forged[2] = AuditRow::after(None, forged[2].entry.clone());
        forged[2].number = 3;
        assert_eq!(verify_audit(None, &forged), Err(Tampered::Unlinked(3)));
    }
}
