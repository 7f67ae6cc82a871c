//! The ledger in a PostgreSQL database, custody for brokers that can neither delay nor keep, and
//! Celery's database result backend (`db+postgresql://…`).

mod custody;
mod error;
mod ledger;
mod results;

pub use custody::PostgresCustody;
pub use ledger::{PostgresLedger, PostgresLedgerOptions};
pub use results::PostgresResults;
