//! How an attempt ends when it does not succeed.

use std::{
    any::type_name,
    fmt::{Display, Write as _},
    panic::Location,
    time::Duration,
};

use serde::Serialize;

/// Why a task did not succeed, and what shall become of it.
///
/// Every `std::error::Error` turns into one by `?`: the task has *failed*, with the error's type as
/// the exception's name and its message as the only argument.
///
/// ```
/// use lovage::TaskError;
///
/// let stock: Result<u32, TaskError> = "many".parse::<u32>().map_err(TaskError::from);
/// assert_eq!(stock.unwrap_err().failure().exception_type, "ParseIntError");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TaskError {
    ending: Ending,
    failure: Box<Failure>,
}

/// What the host shall do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    Fail,
    Reject,
    Retry(Option<Duration>),
    RetryWith(Option<Duration>, String),
    Ignore,
    Requeue,
    Replace(String),
}

/// The exception that the caller sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The exception's class, such as `ValueError`.
    pub exception_type: String,
    /// Where a Python caller finds the class. Without it the host decides: `builtins` for what
    /// Python has there, else the module's name.
    pub exception_module: Option<String>,
    /// The constructor's arguments, a JSON array.
    pub arguments: String,
    /// What a person reads.
    pub message: String,
    /// Where in the author's source it arose, if that is known.
    pub location: Option<&'static Location<'static>>,
}

impl TaskError {
    /// The task failed. Its retry policy decides whether it is run again.
    #[track_caller]
    pub fn fail<M: Display>(message: M) -> Self {
        Self::new(Ending::Fail, message.to_string(), type_name::<M>())
    }

    /// The task failed for good: it becomes a dead letter and is not run again.
    #[track_caller]
    pub fn reject<M: Display>(message: M) -> Self {
        Self::new(Ending::Reject, message.to_string(), type_name::<M>())
    }

    /// The task wants to be run again, after the time that its policy says or [`after`](Self::after)
    /// says. When its retries are used up it has failed with this reason.
    #[track_caller]
    pub fn retry<M: Display>(reason: M) -> Self {
        Self::new(Ending::Retry(None), reason.to_string(), type_name::<M>())
    }

    /// Waits this long before the next attempt, instead of what the policy says. It turns a failure
    /// into a request to be run again.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.ending = match self.ending {
            Ending::RetryWith(_, options) => Ending::RetryWith(Some(delay), options),
            _ => Ending::Retry(Some(delay)),
        };
        self
    }

    /// Has the next attempt differ from this one: a map or a struct with any of Celery's options of
    /// `Task.retry` (`args`, `kwargs`, `queue`, `priority`, `max_retries`, …; see the contract). It
    /// turns a failure into a request to be run again. What has no JSON form changes nothing.
    #[must_use]
    pub fn with_options(mut self, options: &impl Serialize) -> Self {
        let after = match self.ending {
            Ending::Retry(after) | Ending::RetryWith(after, _) => after,
            _ => None,
        };
        if let Ok(text) = serde_json::to_string(options) {
            self.ending = Ending::RetryWith(after, text);
        }
        self
    }

    /// The task has seen to its end itself: it is acknowledged, and nobody is told of one.
    #[track_caller]
    pub fn ignore() -> Self {
        Self::new(Ending::Ignore, "ignored".to_owned(), "Ignore")
    }

    /// The message goes back to its queue and is delivered again, as the same attempt.
    #[track_caller]
    pub fn requeue<M: Display>(reason: M) -> Self {
        Self::new(Ending::Requeue, reason.to_string(), type_name::<M>())
    }

    /// Another signature, in Celery's JSON form, takes this task's place: its id and whatever was to
    /// follow it.
    ///
    /// # Errors
    /// When the signature has no JSON form.
    #[track_caller]
    pub fn replace(signature: &impl Serialize) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(signature)?;
        Ok(Self::new(Ending::Replace(text), "replaced".to_owned(), "Ignore"))
    }

    /// Names the exception's class. `ValueError` and its like are Python's own.
    #[must_use]
    pub fn exception(mut self, class: impl Into<String>) -> Self {
        self.failure.exception_type = class.into();
        self
    }

    /// Says where a Python caller finds the exception's class.
    #[must_use]
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.failure.exception_module = Some(module.into());
        self
    }

    /// Gives the exception other arguments than its message: a tuple or a list of what serialises.
    /// What is no list becomes the only argument; what has no JSON form leaves the message.
    #[must_use]
    pub fn arguments(mut self, arguments: &impl Serialize) -> Self {
        if let Ok(text) = serde_json::to_string(arguments) {
            self.failure.arguments = if text.starts_with('[') { text } else { format!("[{text}]") };
        }
        self
    }

    /// The exception that the caller sees.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Whether the task asks to be run again.
    pub fn is_retry(&self) -> bool {
        matches!(self.ending, Ending::Retry(_) | Ending::RetryWith(..))
    }

    /// Whether the task failed for good.
    pub fn is_rejected(&self) -> bool {
        self.ending == Ending::Reject
    }

    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "the guest's exports"))]
    pub(crate) fn into_parts(self) -> (Ending, Failure) {
        (self.ending, *self.failure)
    }

    #[track_caller]
    fn new(ending: Ending, message: String, type_name: &str) -> Self {
        Self {
            ending,
            failure: Box::new(Failure {
                exception_type: exception_type(type_name),
                exception_module: None,
                arguments: serde_json::to_string(&[&message]).unwrap_or_else(|_| "[]".to_owned()),
                message,
                location: authors(Location::caller()),
            }),
        }
    }
}

impl<E: std::error::Error> From<E> for TaskError {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(Ending::Fail, message, type_name::<E>())
    }
}

impl Failure {
    /// The failure as Python would print it.
    pub fn traceback(&self, task: &str) -> String {
        let mut text = String::from("Traceback (most recent call last):\n");
        if let Some(location) = self.location {
            let (file, line) = (location.file(), location.line());
            let _ = writeln!(text, "  File \"{file}\", line {line}, in {task}");
        }
        text.push_str(&self.exception_type);
        if !self.message.is_empty() {
            text.push_str(": ");
            text.push_str(&self.message);
        }
        text
    }
}

/// The short name of a type: `ParseIntError`; `IoError` for `std::io::Error`, whose own name says
/// nothing; `TaskError` for what is only a text.
fn exception_type(name: &str) -> String {
    let name = name.split('<').next().unwrap_or(name);
    let mut parts = name.rsplit("::");
    match parts.next().unwrap_or(name) {
        "Arguments" | "Box" | "Cow" | "String" | "str" => "TaskError".to_owned(),
        "Error" => {
            let owner = parts.find(|part| *part != "error").unwrap_or("Task");
            let words = owner.split('_').map(|word| {
                let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
                first.to_ascii_uppercase() + rest
            });
            words.collect::<String>() + "Error"
        }
        part if part.contains([' ', '&', '(', '[']) => "TaskError".to_owned(),
        part => part.to_owned(),
    }
}

/// A place in the author's source. What this crate itself finds wrong has none, and neither has a
/// constructor that is passed to `map_err`: there the caller is the standard library.
fn authors(location: &'static Location<'static>) -> Option<&'static Location<'static>> {
    let ours = file!().trim_end_matches("error.rs");
    let file = location.file();
    (!file.starts_with(ours) && !file.starts_with("/rustc/")).then_some(location)
}
