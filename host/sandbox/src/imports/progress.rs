//! `progress`: custom states, as `Task.update_state` sets them.

use lovage_core::Json;
use lovage_core::frames::{HostCall, HostReply};

use super::contract::lovage::task::progress::Host;
use super::{HostError, invalid};
use crate::guest::Guest;

/// The states that Celery and the host set themselves.
const RESERVED: &[&str] = &[
    "FAILURE", "IGNORED", "PENDING", "RECEIVED", "REJECTED", "RETRY", "REVOKED", "STARTED",
    "SUCCESS",
];

/// Bytes of a state's name.
const STATE_BYTES_MAX: usize = 50;

impl Host for Guest {
    async fn update(
        &mut self,
        state: String,
        meta: String,
    ) -> wasmtime::Result<Result<(), HostError>> {
        self.count_call()?;
        self.breathe(meta.len()).await;
        if let Err(error) = check(&state, &meta, self.limits.result_bytes) {
            return Ok(Err(error));
        }
        let call = HostCall::Progress { state: &state, meta: &meta };
        Ok(match self.call_worker(call).await {
            Ok(HostReply::Done) => Ok(()),
            Ok(_) => Err(HostError::Other("the host gave an answer of another kind".into())),
            Err(error) => Err(error),
        })
    }
}

fn check(state: &str, meta: &str, bytes_max: u32) -> Result<(), HostError> {
    if state.is_empty()
        || state.len() > STATE_BYTES_MAX
        || !state.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(invalid("a state has 1 to 50 visible ASCII characters"));
    }
    if RESERVED.contains(&state) {
        return Err(invalid(format!("the state {state} is not for tasks to set")));
    }
    if meta.len() > bytes_max as usize {
        return Err(HostError::Limit(format!("{bytes_max} bytes of meta")));
    }
    Json::parse(meta).map_err(|error| invalid(format!("meta: {error}")))?;
    Ok(())
}
