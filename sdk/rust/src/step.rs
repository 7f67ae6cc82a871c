//! Named parts of a task that happen once over all its attempts.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    HostError, TaskError,
    host::{self, Begun, StepHandle},
};

/// What happens when a step was begun before and nobody knows whether its effect took place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnDoubt {
    /// Do it again: right where the receiver de-duplicates on [`Step::key`].
    Retry,
    /// Do not: the host parks the task until a person decides.
    Fail,
    /// Run the effect with [`Step::in_doubt`] true, so that it can look first.
    Ask,
}

/// A step that is under way.
pub struct Step {
    handle: StepHandle,
    in_doubt: bool,
}

impl Step {
    /// The key to hand to whoever carries out the effect: the same over all attempts.
    pub fn key(&self) -> String {
        host::step_key(&self.handle)
    }

    /// Whether an earlier attempt began this step and nobody knows how it ended.
    pub fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Asserts that the effect did not take place, so that a later attempt may begin the step again.
    /// Say it before failing.
    ///
    /// # Errors
    /// When the host cannot record it.
    pub fn abandon(&self) -> Result<(), HostError> {
        host::abandon_step(&self.handle)
    }
}

/// The order is the promise: the record that a step began is durable before its effect, and what
/// came of it is committed before anyone is told.
#[track_caller]
pub(crate) fn run<T, E>(
    name: &str,
    doubt: OnDoubt,
    input: &str,
    effect: impl FnOnce(&Step) -> Result<T, E>,
) -> Result<T, TaskError>
where
    T: Serialize + DeserializeOwned,
    E: Into<TaskError>,
{
    let step = match host::begin_step(name, input, doubt)? {
        Begun::Replay(value) => return Ok(serde_json::from_str(&value)?),
        Begun::Run(handle) => Step { handle, in_doubt: false },
        Begun::Ambiguous(handle) => Step { handle, in_doubt: true },
    };
    let value = effect(&step).map_err(Into::into)?;
    host::commit_step(&step.handle, &serde_json::to_string(&value)?)?;
    Ok(value)
}
