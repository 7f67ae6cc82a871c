//! `context`: what a guest may know about the attempt it is.

use lovage_core::frames::{self, HostCall, HostReply};

use super::HostError;
use super::contract::lovage::task::context::{Attempt, Host, Remaining};
use crate::guest::Guest;

impl Host for Guest {
    fn current(&mut self) -> wasmtime::Result<Attempt> {
        self.count_call()?;
        Ok(self.with_attempt(|attempt| attempt.map(owned)).unwrap_or_else(nothing))
    }

    async fn request(&mut self) -> wasmtime::Result<Result<String, HostError>> {
        self.count_call()?;
        Ok(match self.call_worker_at_any_time(HostCall::Request).await {
            Ok(HostReply::Request(text)) => {
                self.breathe(text.len()).await;
                Ok(text)
            }
            Ok(_) => Err(HostError::Other("the host gave an answer of another kind".into())),
            Err(error) => Err(error),
        })
    }

    fn time_left(&mut self) -> wasmtime::Result<Remaining> {
        self.count_call()?;
        let (soft, hard) = self.limits_left();
        let milliseconds =
            |left: std::time::Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Ok(Remaining { soft_ms: soft.map(milliseconds), hard_ms: milliseconds(hard) })
    }

    fn revoked(&mut self) -> wasmtime::Result<bool> {
        self.count_call()?;
        Ok(self.slot.death().is_some())
    }
}

fn owned(attempt: &frames::Attempt<'_>) -> Attempt {
    let text = |value: Option<&str>| value.map(String::from);
    Attempt {
        task_id: attempt.id.into(),
        root_id: text(attempt.root_id),
        parent_id: text(attempt.parent_id),
        group_id: text(attempt.group),
        retries: attempt.retries,
        max_retries: attempt.max_retries,
        idempotency_key: attempt.key.into(),
        queue: attempt.queue.into(),
        eta: text(attempt.eta),
        expires: text(attempt.expires),
        redelivered: attempt.redelivered,
        headers: attempt.headers.into(),
    }
}

/// What a catalog is told: it describes a module, and belongs to no task.
fn nothing() -> Attempt {
    Attempt {
        task_id: String::new(),
        root_id: None,
        parent_id: None,
        group_id: None,
        retries: 0,
        max_retries: None,
        idempotency_key: String::new(),
        queue: String::new(),
        eta: None,
        expires: None,
        redelivered: false,
        headers: "{}".into(),
    }
}
