//! What adapters that share one file write together.

use lovage_core::Closing;
use rusqlite::Connection;

/// Somebody whose part of a settlement is written in the transaction that ends the delivery.
///
/// This is how a result, a ledger entry and the end of a delivery become true together though the
/// adapters that write them do not know each other: the binary hands the one to the other.
pub trait Participant: Send + Sync {
    /// Makes the tables that are missing. Called once, inside a transaction, before any write.
    ///
    /// # Errors
    /// When the file has tables of the same names and other columns.
    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()>;

    /// Writes this participant's part of `closing`. Called once for every delivery that is still
    /// held, inside its transaction; on an error nothing of the closing is written. Returns whether the
    /// rest may be: `false` when somebody else has the right to the call, and then nothing is.
    ///
    /// # Errors
    /// When SQLite refuses the write.
    fn write(&self, connection: &Connection, closing: &Closing) -> rusqlite::Result<bool>;
}
