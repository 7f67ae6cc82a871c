//! Of what an attempt died, told from the error that wasmtime has.

use std::fmt::Write as _;

use lovage_core::{Death, Json};
use wasmtime::{FrameInfo, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Why the host itself ended a guest from inside one of its calls.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// It made as many calls as it may.
    #[error("more host calls than the limit allows")]
    TooManyHostCalls,
    /// A command wrote more than its result may have.
    #[error("more than {0} bytes of standard output")]
    OutputTooLarge(usize),
    /// The fate of this step is unknown, and its author wants a person to decide.
    #[error("the step {0} is in doubt")]
    Doubt(String),
    /// A command ended itself with this status.
    #[error("exit status {0}")]
    Exit(i32),
}

/// How an attempt ended that returned nothing.
#[derive(Debug)]
pub(crate) enum Ended {
    /// A step is in doubt.
    Doubt(String),
    /// It ended itself with this status.
    Exit(i32),
    /// Anything else.
    Died(Died),
}

/// A death in the caller's words.
#[derive(Debug)]
pub(crate) struct Died {
    /// Which one.
    pub(crate) death: Death,
    /// What a person reads: the argument of the exception.
    pub(crate) message: String,
    /// The guest's frames, as Python prints them.
    pub(crate) traceback: Option<String>,
}

impl Died {
    /// A death that has no frames, because nothing ran or its frames are gone.
    pub(crate) fn of(death: Death, message: impl Into<String>) -> Self {
        Self { death, message: message.into(), traceback: None }
    }
}

/// Tells how an attempt ended from the error of its instance.
///
/// `denied` says whether memory was refused: guests make many things of that, most often a panic.
/// `stderr` is the end of what it wrote to standard error, where a panic says why.
pub(crate) fn classify(error: &wasmtime::Error, denied: bool, stderr: &[u8]) -> Ended {
    match error.downcast_ref::<Stop>() {
        Some(Stop::Doubt(step)) => return Ended::Doubt(step.clone()),
        Some(Stop::Exit(status)) => return Ended::Exit(*status),
        _ => {}
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return Ended::Exit(*status);
    }
    let death = death(error, denied);
    let stderr = String::from_utf8_lossy(stderr);
    let message = match death {
        Death::OutOfMemory => "the memory limit is reached".to_owned(),
        Death::Trapped => panic_message(&stderr).unwrap_or_else(|| root(error)),
        _ => root(error),
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    Ended::Died(Died { death, traceback: Some(traceback(death, &message, frames)), message })
}

fn death(error: &wasmtime::Error, denied: bool) -> Death {
    match error.downcast_ref::<Stop>() {
        Some(Stop::TooManyHostCalls) => return Death::TooManyHostCalls,
        Some(Stop::OutputTooLarge(_)) => return Death::OutputTooLarge,
        _ => {}
    }
    if is_hosts_fault(error) {
        return Death::NotStarted;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Death::OutOfFuel,
        _ if denied => Death::OutOfMemory,
        Some(Trap::StackOverflow) => Death::StackOverflow,
        // The type of this error is private.
        _ if root(error).contains("fuel allocated for hostcalls has been exhausted") => {
            Death::OutputTooLarge
        }
        _ => Death::Trapped,
    }
}

/// The pool or the system has no room: nothing of the guest ran, or it may run again elsewhere.
fn is_hosts_fault(error: &wasmtime::Error) -> bool {
    const NO_MEMORY: i32 = 12;
    let is_system = |error: &(dyn std::error::Error + 'static)| {
        let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        let errno = error.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error());
        number.or(errno) == Some(NO_MEMORY)
    };
    error.is::<PoolConcurrencyLimitError>()
        || error.is::<wasmtime::OutOfMemory>()
        || error.chain().any(is_system)
}

fn root(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

/// What a panic, an abort or an interpreter said before it trapped, if it said anything.
fn panic_message(stderr: &str) -> Option<String> {
    let said = stderr.split("note: run with `RUST_BACKTRACE=1`").next().unwrap_or_default().trim();
    let said = match said.rfind("panicked at ") {
        Some(place) => said.get(place..)?,
        None => said.lines().next_back()?,
    };
    (!said.is_empty()).then(|| said.to_owned())
}

/// The frames in Python's layout, the innermost last, then the exception.
fn traceback(death: Death, message: &str, frames: &[FrameInfo]) -> String {
    let mut text = String::from("Traceback (most recent call last):\n");
    for frame in frames.iter().rev() {
        // Of inlined functions, the outermost comes last.
        for symbol in frame.symbols().iter().rev() {
            let name = symbol.name().map(demangled).or_else(|| frame.func_name().map(demangled));
            line(&mut text, symbol.file(), symbol.line(), name, frame);
        }
        if frame.symbols().is_empty() {
            line(&mut text, None, None, frame.func_name().map(demangled), frame);
        }
    }
    let (module, class) = death.exception();
    let _ = write!(text, "{module}.{class}: {message}");
    text
}

/// One line of a frame. Writing to a string cannot fail.
fn line(
    text: &mut String,
    file: Option<&str>,
    number: Option<u32>,
    name: Option<String>,
    frame: &FrameInfo,
) {
    let name = name.unwrap_or_else(|| format!("<function {}>", frame.func_index()));
    let _ = if let Some(file) = file {
        writeln!(text, "  File {file:?}, line {}, in {name}", number.unwrap_or(0))
    } else {
        let offset = frame.module_offset().unwrap_or(0);
        writeln!(text, "  File \"<wasm+{offset:#x}>\", line 0, in {name}")
    };
}

fn demangled(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.into(), |name| format!("{name:#}"))
}

/// The message as the JSON text that the exception's constructor is given.
pub(crate) fn argument(message: &str) -> Json {
    Json::string(message)
}

#[cfg(test)]
mod tests {
    use super::panic_message;

    #[test]
    fn the_reason_of_a_panic_is_found_in_standard_error() {
        let said = "noise\n\nthread '<unnamed>' panicked at src/lib.rs:1:2:\nindex out of bounds\n\
            note: run with `RUST_BACKTRACE=1` environment variable\n";
        assert_eq!(
            panic_message(said).as_deref(),
            Some("panicked at src/lib.rs:1:2:\nindex out of bounds")
        );
        assert_eq!(panic_message("a\nValueError: b\n").as_deref(), Some("ValueError: b"));
        assert_eq!(panic_message(" \n"), None);
    }
}
