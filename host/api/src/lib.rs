//! Use cases over HTTP: modules, tasks, tenants and tokens for people and programs.
