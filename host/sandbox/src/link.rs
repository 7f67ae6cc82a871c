//! The executor's end of the socket: what is to be written, and who waits for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lovage_core::JobNumber;
use lovage_core::frames::{FrameError, FromExecutor, HostCall, HostReply, append};
use lovage_core::ports::HostServices;
use tokio::sync::oneshot;

/// Frames that wait to be written, and calls that wait for their reply.
#[derive(Debug, Default)]
pub(crate) struct Link(Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Frames in order, to be written in one go.
    pub(crate) output: Vec<u8>,
    /// How much of it was written already.
    pub(crate) written: usize,
    calls: HashMap<(JobNumber, u32), oneshot::Sender<HostReply>>,
    last_call: u32,
}

impl Link {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame to what is to be written.
    pub(crate) fn say(&self, frame: &FromExecutor<'_>) -> Result<(), FrameError> {
        append(&mut self.state().output, frame)
    }

    /// Bytes that the worker has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        let state = self.state();
        state.output.len() - state.written
    }

    /// Hands a reply to whoever waits for it; nobody may, when the attempt has ended.
    pub(crate) fn reply(&self, job: JobNumber, call: u32, reply: HostReply) {
        if let Some(waiting) = self.state().calls.remove(&(job, call)) {
            let _ = waiting.send(reply);
        }
    }

    fn call(
        &self,
        job: JobNumber,
        request: HostCall<'_>,
    ) -> Result<(u32, oneshot::Receiver<HostReply>), FrameError> {
        let mut state = self.state();
        state.last_call = state.last_call.wrapping_add(1);
        let call = state.last_call;
        append(&mut state.output, &FromExecutor::Call { job, call, request })?;
        let (waiting, reply) = oneshot::channel();
        state.calls.insert((job, call), waiting);
        Ok((call, reply))
    }
}

/// What guests ask the worker, by frames.
#[derive(Debug, Clone)]
pub(crate) struct ByFrames(pub(crate) Arc<Link>);

#[async_trait]
impl HostServices for ByFrames {
    async fn call(&self, number: JobNumber, call: HostCall<'_>) -> HostReply {
        let (call, reply) = match self.0.call(number, call) {
            Ok(called) => called,
            Err(error) => return HostReply::Limit(error.to_string()),
        };
        let _forget = Forget(&self.0, number, call);
        reply.await.unwrap_or_else(|_| HostReply::Other("the worker is gone".into()))
    }
}

/// Gives up waiting when the attempt is dropped.
struct Forget<'a>(&'a Link, JobNumber, u32);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.state().calls.remove(&(self.1, self.2));
    }
}
