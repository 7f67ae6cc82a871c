//! The calls to the host where there is none: the `testing::Host` that runs on this thread answers.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::{Attempt, Begun, CallOptions, HostError, TimeLeft};
use crate::{
    OnDoubt, http,
    log::Level,
    testing::{Exchange, State, StepState},
};

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// Makes `state` answer on this thread while `body` runs.
pub(crate) fn with_state<R>(state: &Rc<RefCell<State>>, body: impl FnOnce() -> R) -> R {
    /// Puts the previous one back, also when a test's assertion unwinds.
    struct Restore(Option<Rc<RefCell<State>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| *current.borrow_mut() = self.0.take());
        }
    }
    let _restore = Restore(CURRENT.with(|current| current.borrow_mut().replace(Rc::clone(state))));
    body()
}

fn ask<R>(question: impl FnOnce(&mut State) -> R) -> Option<R> {
    let state = CURRENT.with(|current| current.borrow().clone())?;
    let answer = question(&mut state.borrow_mut());
    Some(answer)
}

fn call<R>(question: impl FnOnce(&mut State) -> Result<R, HostError>) -> Result<R, HostError> {
    ask(
        |state| {
            if state.soft_limit_is_over() { Err(HostError::SoftTimeLimit) } else { question(state) }
        },
    )
    .unwrap_or_else(|| Err(HostError::Unavailable("no lovage::testing::Host runs".to_owned())))
}

/// A step that is under way: its name and its key.
#[derive(Clone, Debug)]
pub(crate) struct StepHandle {
    name: String,
    key: String,
}

pub(crate) fn attempt() -> Attempt {
    ask(|state| state.attempt.clone()).unwrap_or_default()
}

pub(crate) fn time_left() -> TimeLeft {
    ask(|state| state.time_left).unwrap_or(TimeLeft { soft: None, hard: Duration::MAX })
}

pub(crate) fn revoked() -> bool {
    ask(|state| state.revoked).unwrap_or(false)
}

pub(crate) fn begin_step(name: &str, input: &str, doubt: OnDoubt) -> Result<Begun, HostError> {
    let well_formed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(well_formed) {
        return Err(HostError::Invalid(format!("the step's name {name:?}")));
    }
    call(|state| {
        if !state.begun.insert(name.to_owned()) {
            return Err(HostError::Invalid(format!("step {name:?} was begun in this attempt")));
        }
        let key = format!("{}:{name}", state.attempt.idempotency_key);
        let handle = StepHandle { name: name.to_owned(), key };
        let known = state.steps.get(name);
        if known.is_some_and(|step| step.input != input) {
            return Err(HostError::Invalid(format!("step {name:?} was begun with another input")));
        }
        match (known.map(|step| step.value.clone()), doubt) {
            (Some(Some(value)), _) => Ok(Begun::Replay(value)),
            (Some(None), OnDoubt::Ask) => Ok(Begun::Ambiguous(handle)),
            (Some(None), OnDoubt::Fail) => {
                Err(HostError::Other(format!("nobody knows how step {name:?} ended")))
            }
            (Some(None), OnDoubt::Retry) | (None, _) => {
                let step = StepState { input: input.to_owned(), value: None };
                state.steps.insert(name.to_owned(), step);
                Ok(Begun::Run(handle))
            }
        }
    })
}

pub(crate) fn step_key(step: &StepHandle) -> String {
    step.key.clone()
}

pub(crate) fn commit_step(step: &StepHandle, value: &str) -> Result<(), HostError> {
    call(|state| {
        match state.steps.get_mut(&step.name) {
            Some(known) => known.value = Some(value.to_owned()),
            None => return Err(HostError::Invalid("the step was abandoned".to_owned())),
        }
        Ok(())
    })
}

pub(crate) fn abandon_step(step: &StepHandle) -> Result<(), HostError> {
    call(|state| {
        state.begun.remove(&step.name);
        state.steps.remove(&step.name);
        Ok(())
    })
}

pub(crate) fn put(
    task: &str,
    args: &str,
    kwargs: &str,
    options: CallOptions,
) -> Result<String, HostError> {
    call(|state| state.put(task, args, kwargs, options))
}

pub(crate) fn send(signature: &str) -> Result<String, HostError> {
    call(|state| state.put_signature(signature, false))
}

pub(crate) fn add_to_chord(signature: &str) -> Result<String, HostError> {
    call(|state| state.put_signature(signature, true))
}

pub(crate) fn request() -> Result<String, HostError> {
    call(|state| Ok(state.request()))
}

pub(crate) fn progress(name: &str, meta: &str) -> Result<(), HostError> {
    const CELERYS_OWN: [&str; 8] =
        ["FAILURE", "IGNORED", "PENDING", "RECEIVED", "REJECTED", "RETRY", "REVOKED", "SUCCESS"];
    if CELERYS_OWN.contains(&name) {
        return Err(HostError::Invalid(format!("the state {name}")));
    }
    call(|state| {
        state.progress.push((name.to_owned(), meta.to_owned()));
        Ok(())
    })
}

pub(crate) fn send_http(
    request: &http::Request,
    body: &[u8],
) -> Result<http::Response, http::Error> {
    let answer = call(|state| Ok(state.answer.clone()));
    let answer = answer.map_err(|error| match error {
        HostError::SoftTimeLimit => {
            http::Error::new(http::ErrorKind::SoftTimeLimit, "the soft time limit is over")
        }
        error => http::Error::new(http::ErrorKind::Denied, error.to_string()),
    })?;
    let told = Exchange {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: body.to_owned(),
    };
    // Asked for outside of the state: the test's function may ask the host, too.
    let answered = match &answer.0 {
        Some(answer) => answer(&told),
        None => Err(http::ErrorKind::Denied),
    };
    ask(|state| state.requests.push(told));
    answered.map_err(|kind| http::Error::new(kind, format!("the test says {kind:?}")))
}

pub(crate) fn log(level: Level, message: &str, fields: &str) {
    ask(|state| state.logs.push((level, message.to_owned(), fields.to_owned())));
}
