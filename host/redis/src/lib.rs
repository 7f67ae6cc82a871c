//! Redis, wrapped once.
