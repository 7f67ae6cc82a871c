//! The executor's end of the socket: what is to be written, and who waits for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use async_trait::async_trait;
use lovage_core::JobNumber;
use lovage_core::frames::{FrameError, FromExecutor, HostCall, HostReply, append};
use lovage_core::ports::HostServices;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// KiB of requests of all guests together that the worker has not answered: it reads nothing more from
/// an executor that has it keep too many bytes, so the waiting is better done here.
const REQUEST_KIB_MAX: u32 = 32 << 10;

/// Frames that wait to be written, and calls that wait for their reply.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    request_kib: Semaphore,
}

impl Default for Link {
    fn default() -> Self {
        let request_kib = Semaphore::new(REQUEST_KIB_MAX as usize);
        Self { state: Mutex::default(), request_kib }
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Frames in order, to be written in one go.
    pub(crate) output: Vec<u8>,
    /// How much of it was written already.
    pub(crate) written: usize,
    calls: HashMap<(JobNumber, u32), oneshot::Sender<HostReply>>,
    last_call: u32,
    /// Who writes.
    server: Option<Waker>,
}

impl State {
    /// Whom to wake when there is something to write that was not said in a turn.
    pub(crate) fn serve_with(&mut self, server: &Waker) {
        if !self.server.as_ref().is_some_and(|known| known.will_wake(server)) {
            self.server = Some(server.clone());
        }
    }
}

impl Link {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Room for a request to another machine, when there is some; other calls need none.
    async fn room(&self, call: &HostCall<'_>) -> Option<SemaphorePermit<'_>> {
        let HostCall::Http(request) = call else { return None };
        let kib = u32::try_from(request.body.len() >> 10).unwrap_or(u32::MAX);
        // It is never closed.
        self.request_kib.acquire_many(kib.saturating_add(1).min(REQUEST_KIB_MAX)).await.ok()
    }

    fn call(
        &self,
        job: JobNumber,
        request: HostCall<'_>,
    ) -> Result<(u32, oneshot::Receiver<HostReply>), FrameError> {
        // A request is sent when its body has come, which is in nobody's turn.
        let is_apart = matches!(request, HostCall::Http(_));
        let mut state = self.state();
        state.last_call = state.last_call.wrapping_add(1);
        let call = state.last_call;
        append(&mut state.output, &FromExecutor::Call { job, call, request })?;
        let (waiting, reply) = oneshot::channel();
        state.calls.insert((job, call), waiting);
        if let (true, Some(server)) = (is_apart, &state.server) {
            server.wake_by_ref();
        }
        Ok((call, reply))
    }
}

/// What guests ask the worker, by frames.
#[derive(Debug, Clone)]
pub(crate) struct ByFrames(pub(crate) Arc<Link>);

#[async_trait]
impl HostServices for ByFrames {
    async fn call(&self, number: JobNumber, call: HostCall<'_>) -> HostReply {
        let _room = self.0.room(&call).await;
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
