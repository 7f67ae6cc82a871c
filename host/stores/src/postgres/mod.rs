//! The ledger in a PostgreSQL database, and custody for brokers that can neither delay nor keep.

mod custody;
mod error;
mod ledger;

pub use custody::PostgresCustody;
pub use ledger::{PostgresLedger, PostgresLedgerOptions};
