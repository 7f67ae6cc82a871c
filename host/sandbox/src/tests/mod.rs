//! What guests can do to an executor, and what they cannot.

mod cost;
mod deaths;
mod host_calls;
mod protocol;
mod reuse;
mod turns;
