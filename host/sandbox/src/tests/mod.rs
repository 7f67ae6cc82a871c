//! What guests can do to an executor, and what they cannot.

mod cost;
mod deaths;
mod host_calls;
mod http;
mod protocol;
mod reuse;
mod turns;
