//! Python scripts with the real Celery, run by the interpreter of the tests' virtual environment.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::{Process, paths};

/// What a script printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error: tracebacks, Celery's warnings.
    pub stderr: String,
}

impl Output {
    /// The standard output of a script that must succeed; fails the test with its traceback
    /// otherwise.
    pub fn expect_success(&self) -> &str {
        assert!(self.code == Some(0), "the script ended with {:?}:\n{}", self.code, self.stderr);
        &self.stdout
    }
}

/// Runs a script, given as text, to its end.
pub fn run(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = command(script, arguments, environment);
    let finished = command.stdin(Stdio::null()).output();
    let output = match finished {
        Ok(output) => output,
        Err(error) => panic!("cannot run Python: {error}"),
    };
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts a script, given as text, and leaves it running: a producer or a Celery worker to be
/// listened to.
pub fn start(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    Process::start(command(script, arguments, environment))
}

/// Starts `python -m module arguments…`, for instance `celery -A app worker`, in `folder`.
pub fn start_module(
    module: &str,
    arguments: &[impl AsRef<OsStr>],
    folder: &std::path::Path,
) -> Process {
    let mut command = interpreter();
    command.args(["-u", "-m", module]).args(arguments).current_dir(folder);
    Process::start(command)
}

fn command(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = interpreter();
    command.args(["-u", "-c", script]).args(arguments).envs(environment.iter().copied());
    command
}

/// An interpreter that neither reads settings of the machine's nor leaves compiled files behind.
fn interpreter() -> Command {
    let mut command = Command::new(paths::python());
    command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}
