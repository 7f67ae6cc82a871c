//! The promises, seen from outside: the real binary, real brokers, real Celery producers.
//!
//! Every test starts servers and workers of its own and ends them by dropping them. What callers
//! see is told by `producer.py`, which judges nothing; what must be so is said here. Tests that
//! measure run [alone](bed::alone), all others beside each other.
//!
//! The same calls are made to a real Celery worker, too, in [`reference`]: what a test asks of
//! Lovage is what Celery does, and not what somebody remembers of it.
#![expect(clippy::disallowed_methods, reason = "the environment may name a seed to repeat")]
#![expect(clippy::print_stdout, reason = "a test prints the figures that it found")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what is not as it should be fails the test, loudly"
)]

mod bed;
mod calls;
mod canvas;
mod chaos;
mod coexistence;
mod commands;
mod control;
mod costs;
mod coverage;
mod crashes;
mod density;
mod elsewhere;
mod fairness;
mod hostile;
mod kept;
mod kills;
mod malformed;
mod monitors;
mod patience;
mod processes;
mod queues;
mod rabbit;
mod reference;
mod requests;
mod results;
mod retries;
mod revoking;
mod shutdown;
mod sizes;
mod takeovers;
mod tenants;
