//! The imports of `lovage:task`, in this crate's words.

use std::time::Duration;

use super::{Attempt, Begun, CallOptions, HostError, TimeLeft};
use crate::{
    OnDoubt,
    bindings::lovage::task::{context, log, outbox, progress, steps, types},
    log::Level,
};

pub(crate) use steps::Step as StepHandle;

pub(crate) fn attempt() -> Attempt {
    let attempt = context::current();
    Attempt {
        task_id: attempt.task_id,
        root_id: attempt.root_id,
        parent_id: attempt.parent_id,
        group_id: attempt.group_id,
        retries: attempt.retries,
        max_retries: attempt.max_retries,
        idempotency_key: attempt.idempotency_key,
        queue: attempt.queue,
        eta: attempt.eta,
        expires: attempt.expires,
        redelivered: attempt.redelivered,
        headers: attempt.headers,
    }
}

pub(crate) fn time_left() -> TimeLeft {
    let left = context::time_left();
    TimeLeft {
        soft: left.soft_ms.map(Duration::from_millis),
        hard: Duration::from_millis(left.hard_ms),
    }
}

pub(crate) fn revoked() -> bool {
    context::revoked()
}

pub(crate) fn begin_step(name: &str, input: &str, doubt: OnDoubt) -> Result<Begun, HostError> {
    let doubt = match doubt {
        OnDoubt::Ask => steps::OnDoubt::Ask,
        OnDoubt::Fail => steps::OnDoubt::Fail,
        OnDoubt::Retry => steps::OnDoubt::Retry,
    };
    Ok(match steps::begin(name, input, doubt)? {
        steps::Begun::Run(step) => Begun::Run(step),
        steps::Begun::Replay(value) => Begun::Replay(value),
        steps::Begun::Ambiguous(step) => Begun::Ambiguous(step),
    })
}

pub(crate) fn step_key(step: &StepHandle) -> String {
    step.key()
}

pub(crate) fn commit_step(step: &StepHandle, value: &str) -> Result<(), HostError> {
    Ok(step.commit(value)?)
}

pub(crate) fn abandon_step(step: &StepHandle) -> Result<(), HostError> {
    Ok(step.abandon()?)
}

pub(crate) fn put(
    task: &str,
    args: &str,
    kwargs: &str,
    options: CallOptions,
) -> Result<String, HostError> {
    let options = outbox::Options {
        queue: options.queue,
        countdown_ms: options.countdown.map(milliseconds),
        expires_ms: options.expires.map(milliseconds),
        priority: options.priority,
        ignore_result: options.ignore_result,
        headers: options.headers,
    };
    Ok(outbox::put(task, args, kwargs, &options)?)
}

pub(crate) fn send(signature: &str) -> Result<String, HostError> {
    Ok(outbox::send(signature)?)
}

pub(crate) fn add_to_chord(signature: &str) -> Result<String, HostError> {
    Ok(outbox::add_to_chord(signature)?)
}

pub(crate) fn request() -> Result<String, HostError> {
    Ok(context::request()?)
}

pub(crate) fn progress(state: &str, meta: &str) -> Result<(), HostError> {
    Ok(progress::update(state, meta)?)
}

pub(crate) fn log(level: Level, message: &str, fields: &str) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message, fields);
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<types::HostError> for HostError {
    fn from(error: types::HostError) -> Self {
        match error {
            types::HostError::SoftTimeLimit => Self::SoftTimeLimit,
            types::HostError::Unavailable(text) => Self::Unavailable(text),
            types::HostError::Invalid(text) => Self::Invalid(text),
            types::HostError::Limit(text) => Self::Limit(text),
            types::HostError::Other(text) => Self::Other(text),
        }
    }
}
