//! `lovage executor`: the inside of an executor process.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::Context as _;

/// Confines this process and serves the worker at the other end of standard input.
///
/// # Errors
/// When it is not started by a worker, or the worker breaks the protocol.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    lovage_executors::confine(lovage_executors::NICE).context("cannot confine the executor")?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("there is no socket")?;
    lovage_sandbox::serve(UnixStream::from(socket))?;
    Ok(ExitCode::SUCCESS)
}
