//! What a task may ask and tell its host.

use std::cell::OnceCell;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Attempt, Call, HostError, OnDoubt, Step, TaskError, TimeLeft, host, step};

/// The attempt that a task is run for, and the host it may call.
///
/// A task that wants it takes `ctx: &Ctx` first. It costs nothing until it is asked.
#[derive(Debug, Default)]
pub struct Ctx {
    attempt: OnceCell<Attempt>,
}

impl Ctx {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Everything the host says about this attempt. It is asked once.
    pub fn attempt(&self) -> &Attempt {
        self.attempt.get_or_init(host::attempt)
    }

    /// The task's id: the same over all its attempts.
    pub fn task_id(&self) -> &str {
        &self.attempt().task_id
    }

    /// How often the task was retried before this attempt; 0 at the first.
    pub fn retries(&self) -> u32 {
        self.attempt().retries
    }

    /// The key under which this task happens once. Hand it to whoever carries out an effect.
    pub fn idempotency_key(&self) -> &str {
        &self.attempt().idempotency_key
    }

    /// A header of the message; `None` when it is not there or not a `T`.
    pub fn header<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let headers: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
            serde_json::from_str(&self.attempt().headers).ok()?;
        serde_json::from_str(headers.get(name)?.get()).ok()
    }

    /// How much time this attempt has left.
    pub fn time_left(&self) -> TimeLeft {
        host::time_left()
    }

    /// Whether the task was revoked while it ran.
    pub fn revoked(&self) -> bool {
        host::revoked()
    }

    /// For loops that can stop early: `ctx.check()?` now and then.
    ///
    /// # Errors
    /// `SoftTimeLimitExceeded` when the soft limit is over, `TaskRevokedError` when it was revoked.
    #[track_caller]
    pub fn check(&self) -> Result<(), TaskError> {
        if self.revoked() {
            let revoked = TaskError::reject("the task was revoked while it ran");
            return Err(revoked.exception("TaskRevokedError").module("celery.exceptions"));
        }
        if self.time_left().soft.is_some_and(|left| left.is_zero()) {
            return Err(HostError::SoftTimeLimit.into());
        }
        Ok(())
    }

    /// Does something once over all attempts: the first commits what `effect` returned, later ones
    /// are handed that and do not run it.
    ///
    /// `name` is 1 to 64 of `[A-Za-z0-9_.:-]` and begun once an attempt; `input` is what the effect
    /// depends on, and a step found again with another input is refused; `doubt` says what happens
    /// when an attempt ended between the beginning and the commit. When `effect` fails the step
    /// stays in doubt, for it may have taken place: an author who knows that it did not says so with
    /// [`Step::abandon`].
    ///
    /// # Errors
    /// What `effect` answers, or that the host cannot honour the step. Nothing ran then.
    #[track_caller]
    pub fn step<T, E>(
        &self,
        name: &str,
        doubt: OnDoubt,
        input: &(impl Serialize + ?Sized),
        effect: impl FnOnce(&Step) -> Result<T, E>,
    ) -> Result<T, TaskError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<TaskError>,
    {
        step::run(name, doubt, &serde_json::to_string(input)?, effect)
    }

    /// Sends a call that leaves when this attempt succeeds, and not otherwise; returns the id it
    /// will have. `args` is a tuple or a list; `()` is no arguments.
    ///
    /// # Errors
    /// When the host cannot take it: see [`HostError`].
    pub fn send(&self, task: &str, args: impl Serialize) -> Result<String, HostError> {
        self.call(task).args(args).send()
    }

    /// A call to another task whose options are yet to be chosen; [`Call::send`] sends it.
    pub fn call(&self, task: impl Into<String>) -> Call {
        Call::new(task.into())
    }

    /// Sends any signature of Celery's (a task, chain, group, chord, …) in its JSON form, if this
    /// attempt succeeds; returns the tuple of its result, `[[id, parent], children]`.
    ///
    /// # Errors
    /// When it is no signature, or the host cannot take it: see [`HostError`].
    pub fn send_signature(
        &self,
        signature: &(impl Serialize + ?Sized),
    ) -> Result<serde_json::Value, HostError> {
        result_of(&host::send(&text_of(signature)?)?)
    }

    /// Sends a signature as one more member of the chord that this task is a member of; the body
    /// waits for it, too.
    ///
    /// # Errors
    /// When this task is in no chord, or as [`send_signature`](Self::send_signature).
    pub fn add_to_chord(
        &self,
        signature: &(impl Serialize + ?Sized),
    ) -> Result<serde_json::Value, HostError> {
        result_of(&host::add_to_chord(&text_of(signature)?)?)
    }

    /// Everything that Celery's `Task.request` has, by Celery's names. It is asked for outside of the
    /// sandbox: who needs no more than [`attempt`](Self::attempt) does not ask.
    ///
    /// # Errors
    /// When the host cannot say.
    pub fn request(&self) -> Result<serde_json::Value, HostError> {
        result_of(&host::request()?)
    }

    /// Shows a state such as `PROGRESS` and `meta` to whoever asks for the result. The last one
    /// wins.
    ///
    /// # Errors
    /// When the state is one of Celery's own, or the host has no result store.
    pub fn progress(&self, state: &str, meta: &(impl Serialize + ?Sized)) -> Result<(), HostError> {
        let meta =
            serde_json::to_string(meta).map_err(|error| HostError::Invalid(error.to_string()))?;
        host::progress(state, &meta)
    }
}

fn text_of(value: &(impl Serialize + ?Sized)) -> Result<String, HostError> {
    serde_json::to_string(value).map_err(|error| HostError::Invalid(error.to_string()))
}

fn result_of(text: &str) -> Result<serde_json::Value, HostError> {
    serde_json::from_str(text).map_err(|error| HostError::Other(error.to_string()))
}
