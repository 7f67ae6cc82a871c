//! The API, seen from outside: the real binary, real uploads, real HTTP, a real Celery producer.
#![expect(clippy::disallowed_methods, reason = "a load and a neighbour go by the clock")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what is not as it should be fails the test, loudly"
)]

mod abuse;
mod audit;
mod http;
mod matrix;
mod modules;
mod quotas;
mod server;
mod story;
mod tasks;
mod walk;
