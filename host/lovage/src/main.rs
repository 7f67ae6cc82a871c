//! The `lovage` binary: the one place that names adapters and joins them to the worker.
//!
//! `main` is one match over the commands; `config` is the only place that reads the environment,
//! `wiring` the only one that knows which broker and which store a URL means.

#![expect(
    clippy::print_stdout,
    reason = "a command's answer goes to standard output; everything else goes through the log"
)]

mod canceller;
mod cli;
mod commands;
mod config;
mod inert;
mod inspector;
mod kit;
mod metrics;
mod modules;
mod operating;
mod remote;
mod shelves;
mod signals;
mod telemetry;
mod wiring;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // TLS has one provider of cryptography here; a second one asking for the place has lost.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match cli.command {
        Command::Worker(arguments) => commands::worker::run(&arguments),
        Command::Dev(arguments) => commands::dev::run(&arguments),
        Command::Serve(arguments) => commands::serve::run(&arguments),
        Command::Push(arguments) => commands::push::run(&arguments),
        Command::Modules(command) => commands::modules::run(&command),
        Command::Tenants(command) => commands::tenants::run(&command),
        Command::Tokens(command) => commands::tokens::run(&command),
        Command::Audit(command) => commands::audit::run(&command),
        Command::Openapi => commands::serve::openapi(),
        Command::New(arguments) => commands::new::run(&arguments),
        Command::Build(arguments) => commands::build::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Call(arguments) => commands::call::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Inspect(arguments) => commands::ask::inspect(&arguments),
        Command::Control(arguments) => commands::ask::control(&arguments),
        Command::Status(arguments) => commands::ask::status(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Dlq(command) => commands::dlq::run(&command),
        Command::Config(arguments) => commands::config::run(&arguments),
        Command::Compile(arguments) => commands::compile::run(&arguments),
        Command::Executor => commands::executor::run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "lovage: {error:#}");
            ExitCode::from(2)
        }
    }
}
