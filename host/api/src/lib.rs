//! Use cases over HTTP: modules, tasks, tenants and tokens for people and programs.

mod watched;

pub use watched::{Watched, serve_watched};
