//! Calls to other tasks, which leave if and only if this attempt succeeds.

use std::time::Duration;

use serde::Serialize;

use crate::{
    HostError,
    host::{self, CallOptions},
    log::Fields,
};

/// A call to another task: what it is called with, and Celery's options as far as a task may choose
/// them.
#[derive(Clone, Debug)]
#[must_use = "a call leaves when `send` is called"]
pub struct Call {
    task: String,
    args: Result<String, String>,
    kwargs: Fields,
    options: CallOptions,
    headers: Fields,
}

impl Call {
    pub(crate) fn new(task: String) -> Self {
        Self {
            task,
            args: Ok("[]".to_owned()),
            kwargs: Fields::default(),
            options: CallOptions::default(),
            headers: Fields::default(),
        }
    }

    /// The arguments by position: a tuple or a list; `()` is none.
    pub fn args(mut self, args: impl Serialize) -> Self {
        self.args = match serde_json::to_string(&args) {
            Ok(text) if text.starts_with('[') => Ok(text),
            Ok(text) if text == "null" => Ok("[]".to_owned()),
            Ok(_) => Err("the arguments are no list".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self
    }

    /// An argument by name.
    pub fn kwarg(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.kwargs = self.kwargs.with(name, value);
        self
    }

    /// The queue; without it the one that the host's routing names.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.options.queue = Some(queue.into());
        self
    }

    /// The earliest start, counted from the moment this attempt succeeds.
    pub fn countdown(mut self, delay: Duration) -> Self {
        self.options.countdown = Some(delay);
        self
    }

    /// From when on the call is no longer wanted, counted from the same moment.
    pub fn expires(mut self, delay: Duration) -> Self {
        self.options.expires = Some(delay);
        self
    }

    /// 0 to 9, in the broker's own meaning.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options.priority = Some(priority);
        self
    }

    /// Nobody wants the result.
    pub fn ignore_result(mut self) -> Self {
        self.options.ignore_result = true;
        self
    }

    /// A header of the message, such as `idempotency-key`.
    pub fn header(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.headers = self.headers.with(name, value);
        self
    }

    /// Puts the call in the outbox and returns the id it will have.
    ///
    /// # Errors
    /// When the host cannot take it: see [`HostError`].
    pub fn send(self) -> Result<String, HostError> {
        let args = self.args.map_err(HostError::Invalid)?;
        let kwargs = match self.kwargs.finish() {
            none if none.is_empty() => "{}".to_owned(),
            kwargs => kwargs,
        };
        let headers = Some(self.headers.finish()).filter(|headers| !headers.is_empty());
        host::put(&self.task, &args, &kwargs, CallOptions { headers, ..self.options })
    }
}
