//! The ledger in a PostgreSQL database.

mod error;
mod ledger;

pub use ledger::{PostgresLedger, PostgresLedgerOptions};
