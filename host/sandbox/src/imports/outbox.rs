//! `outbox`: calls to other tasks, which leave if and only if this attempt succeeds.

use std::time::Duration;

use lovage_celery::frozen_result;
use lovage_core::{Json, OutboxCall, OutboxItem, TaskId, outbox_caller, outbox_task_id};

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

    async fn send(&mut self, signature: String) -> wasmtime::Result<Result<String, HostError>> {
        self.count_call()?;
        // It is read, frozen and written again.
        self.breathe(signature.len() * 4).await;
        Ok(self.offered().and_then(|()| self.put_signature(signature, OutboxItem::Signature)))
    }

    async fn add_to_chord(
        &mut self,
        signature: String,
    ) -> wasmtime::Result<Result<String, HostError>> {
        self.count_call()?;
        self.breathe(signature.len() * 4).await;
        let in_chord = self.with_attempt(|attempt| attempt.is_some_and(|attempt| attempt.in_chord));
        let member = || {
            if in_chord { Ok(()) } else { Err(invalid("this task is not a member of any chord")) }
        };
        let offered = self.offered().and_then(|()| member());
        Ok(offered.and_then(|()| self.put_signature(signature, OutboxItem::Member)))
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
        let bytes = args.len() + kwargs.len() + options.headers.as_ref().map_or(0, String::len);
        let (caller, number) = self.place_in_outbox(bytes)?;
        let call = call(outbox_task_id(&caller, number), task, args, kwargs, options)?;
        let id = call.id.to_string();
        self.outbox_bytes += bytes;
        self.outbox.push(OutboxItem::Call(call));
        Ok(id)
    }

    fn put_signature(
        &mut self,
        signature: String,
        item: fn(Json) -> OutboxItem,
    ) -> Result<String, HostError> {
        let bytes = signature.len();
        let (caller, number) = self.place_in_outbox(bytes)?;
        let signature =
            Json::parse(signature).map_err(|error| invalid(format!("signature: {error}")))?;
        let result = frozen_result(&signature, &caller, number).map_err(invalid)?;
        self.outbox_bytes += bytes;
        self.outbox.push(item(signature));
        Ok(result.into())
    }

    /// Whose outbox it is, and the number of the next item, if there is room for it.
    fn place_in_outbox(&self, bytes: usize) -> Result<(TaskId, u32), HostError> {
        let number = u32::try_from(self.outbox.len()).unwrap_or(u32::MAX);
        if number >= self.limits.outbox_calls {
            return Err(HostError::Limit(format!("{number} calls in the outbox")));
        }
        if bytes > self.limits.argument_bytes as usize
            || self.outbox_bytes + bytes > self.limits.host_call_bytes as usize
        {
            return Err(HostError::Limit("bytes of arguments in the outbox".into()));
        }
        let caller = self.with_attempt(|attempt| {
            attempt.map(|attempt| outbox_caller(&TaskId::from(attempt.id), attempt.nesting))
        });
        let caller = caller.ok_or_else(|| HostError::Unavailable("a task to call from".into()))?;
        Ok((caller, number))
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
