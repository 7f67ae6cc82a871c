//! Every recorded message and document of the kinds `msg-*`, `bad-*` and `result-*`, and the
//! messages that Celery's own worker sent in the recorded runs.
#![expect(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly, compares what was written as it was written, and is not in a hurry"
)]

mod chords;
mod follow_ups;
mod load;
mod malformed;
mod messages;
mod mutations;
mod results;
