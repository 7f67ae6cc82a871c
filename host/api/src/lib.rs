//! Use cases over HTTP: modules, tasks, what was kept, queues, events; and for admins tenants, tokens
//! and the audit log.
//!
//! [`Api`] holds the ports; [`public`] and [`admin`] make a service of it each, for a listener each:
//! whoever reaches the public one cannot reach what admins do. A request's tenant comes from its token
//! and from nowhere else, and what belongs to another tenant does not exist (404).
//!
//! Deliberately absent: every name of a broker, a store or an engine, sessions, cookies, and any way
//! to read a secret again.

mod api;
mod audit;
mod auth;
mod backlog;
mod body;
mod dlq;
mod events;
mod health;
mod modules;
mod problem;
mod queues;
mod rates;
mod server;
mod tasks;
mod tenants;
mod time;
mod tokens;
mod watched;
mod workers;

pub use api::{Api, ApiOptions, Cancel, Placement, Ports, WorkerState};
pub use events::{Feed, TaskEvent};
pub use problem::{Code, Problem, ProblemBody};
pub use server::{admin, openapi, public, serve};
pub use tenants::refresh as refresh_tenants;
pub use tokens::{TokenWish, make as make_token};
pub use watched::{Watched, serve_watched};
