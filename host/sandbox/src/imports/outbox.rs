//! `outbox`: calls to other tasks, which leave if and only if this attempt succeeds.

use std::time::Duration;

use lovage_core::{Json, OutboxCall, TaskId, outbox_task_id};

use super::contract::lovage::task::outbox::{Host, Options};
use super::{HostError, invalid};
use crate::guest::Guest;

/// Bytes of one call's extra headers.
const HEADER_BYTES_MAX: usize = 64 << 10;

impl Host for Guest {
    async fn put(
        &mut self,
        task: String,
        args: String,
        kwargs: String,
        options: Options,
    ) -> wasmtime::Result<Result<String, HostError>> {
        self.count_call()?;
        self.breathe(args.len() + kwargs.len()).await;
        if let Err(error) = self.offered() {
            return Ok(Err(error));
        }
        Ok(self.put_call(task, args, kwargs, options))
    }
}

impl Guest {
    fn put_call(
        &mut self,
        task: String,
        args: String,
        kwargs: String,
        options: Options,
    ) -> Result<String, HostError> {
        let number = u32::try_from(self.outbox.len()).unwrap_or(u32::MAX);
        if number >= self.limits.outbox_calls {
            return Err(HostError::Limit(format!("{number} calls in the outbox")));
        }
        let bytes = args.len() + kwargs.len() + options.headers.as_ref().map_or(0, String::len);
        if bytes > self.limits.argument_bytes as usize
            || self.outbox_bytes + bytes > self.limits.host_call_bytes as usize
        {
            return Err(HostError::Limit("bytes of arguments in the outbox".into()));
        }
        let caller = self.with_attempt(|attempt| attempt.map(|attempt| TaskId::from(attempt.id)));
        let caller = caller.ok_or_else(|| HostError::Unavailable("a task to call from".into()))?;
        let call = call(outbox_task_id(&caller, number), task, args, kwargs, options)?;
        let id = call.id.to_string();
        self.outbox_bytes += bytes;
        self.outbox.push(call);
        Ok(id)
    }
}

fn call(
    id: TaskId,
    task: String,
    args: String,
    kwargs: String,
    options: Options,
) -> Result<OutboxCall, HostError> {
    let name =
        |text: &str| !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    if !name(&task) {
        return Err(invalid("a task's name has 1 to 255 bytes and no control characters"));
    }
    if options.queue.as_deref().is_some_and(|queue| !name(queue)) {
        return Err(invalid("a queue's name has 1 to 255 bytes and no control characters"));
    }
    if options.priority.is_some_and(|priority| priority > 9) {
        return Err(invalid("a priority is 0 to 9"));
    }
    if options.headers.as_ref().is_some_and(|headers| headers.len() > HEADER_BYTES_MAX) {
        return Err(HostError::Limit(format!("{HEADER_BYTES_MAX} bytes of headers")));
    }
    let object = |text: String, what: &str| {
        let json = Json::parse(text).map_err(|error| invalid(format!("{what}: {error}")))?;
        json.is_object().then_some(json).ok_or_else(|| invalid(format!("{what}: no JSON object")))
    };
    let args = Json::parse(args).map_err(|error| invalid(format!("args: {error}")))?;
    if !args.is_array() {
        return Err(invalid("args: no JSON array"));
    }
    Ok(OutboxCall {
        id,
        task: task.into(),
        args,
        kwargs: object(kwargs, "kwargs")?,
        queue: options.queue.map(Into::into),
        countdown: options.countdown_ms.map(Duration::from_millis),
        expires: options.expires_ms.map(Duration::from_millis),
        priority: options.priority,
        ignore_result: options.ignore_result,
        headers: options.headers.map(|headers| object(headers, "headers")).transpose()?,
    })
}
