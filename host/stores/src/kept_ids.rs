//! Names of kept messages in stores that number their rows.

use lovage_core::KeptId;

/// The row that a name means; `None` when it is no row's.
pub(crate) fn row(id: &KeptId) -> Option<i64> {
    id.0.parse().ok()
}

/// Those of them that are.
pub(crate) fn rows(ids: &[KeptId]) -> Vec<i64> {
    ids.iter().filter_map(row).collect()
}
