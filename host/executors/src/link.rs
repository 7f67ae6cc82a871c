//! The two ends of one executor's socket: one task writes what is queued, one reads and acts.

use std::sync::Arc;

use lovage_core::frames::{self, Done, FrameError, FromExecutor, ModuleNumber};
use lovage_core::{Death, JobNumber, Report, TaskId, outbox_caller};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::accounting::Cause;
use crate::jobs::{Admission, Wakes, killed};
use crate::pool::Shared;

/// What one read takes at most, in bytes, unless a larger frame has begun; and what a buffer keeps.
const READ_BYTES: usize = 128 << 10;

/// What any host call is charged at least, in bytes, for the task that answers it.
const CALL_BYTES_MIN: usize = 1 << 10;

/// Writes everything that is queued in one write, then waits for more. Ends when the socket does.
pub(crate) async fn write(
    shared: &Shared,
    seat: usize,
    wakes: &Wakes,
    mut socket: OwnedWriteHalf,
) -> Cause {
    let mut buffer = Vec::new();
    loop {
        if let Some(live) = shared.pool().live(seat) {
            std::mem::swap(&mut live.outgoing, &mut buffer);
        }
        if buffer.is_empty() {
            wakes.queued.notified().await;
            continue;
        }
        if buffer.len() >= shared.options.queue_bytes_max {
            wakes.drained.notify_waiters();
            shared.room.notify_waiters();
        }
        if let Err(error) = socket.write_all(&buffer).await {
            return Cause::Closed(error.to_string());
        }
        buffer.clear();
        buffer.shrink_to(READ_BYTES);
    }
}

/// Reads frames, many at a time, and acts on each. Ends when the socket does, or at the first frame
/// that breaks the rules.
pub(crate) async fn read(shared: &Arc<Shared>, seat: usize, mut socket: OwnedReadHalf) -> Cause {
    let mut reader = Reader::new(shared, seat);
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        match socket.read_buf(&mut buffer).await {
            Ok(0) => return Cause::Closed("end of stream".into()),
            Ok(_) => {}
            Err(error) => return Cause::Closed(error.to_string()),
        }
        match reader.act_on(&buffer).await {
            Ok(used) => drop(buffer.drain(..used)),
            Err(broken) => return Cause::BrokeRules(broken),
        }
        make_room(&mut buffer);
    }
}

/// Room for the rest of a frame that has begun, or for the usual read.
fn make_room(buffer: &mut Vec<u8>) {
    let frame = match buffer.first_chunk::<4>() {
        Some(length) => u32::from_le_bytes(*length) as usize + 4,
        None => 0,
    };
    // The length was checked when the frame was looked at.
    let wanted = frame.max(READ_BYTES);
    buffer.shrink_to(wanted);
    buffer.reserve(wanted.saturating_sub(buffer.len()).max(4));
}

struct Reader<'a> {
    shared: &'a Arc<Shared>,
    seat: usize,
    /// The host calls that are being answered; they end with the executor.
    calls: JoinSet<()>,
    /// Bytes of host calls that may still come.
    call_bytes: Arc<Semaphore>,
}

impl<'a> Reader<'a> {
    fn new(shared: &'a Arc<Shared>, seat: usize) -> Self {
        let bytes = call_bytes_max(shared);
        Self { shared, seat, calls: JoinSet::new(), call_bytes: Arc::new(Semaphore::new(bytes)) }
    }

    /// Acts on all whole frames and says how many bytes they were; or which rule they break.
    async fn act_on(&mut self, buffer: &[u8]) -> Result<usize, String> {
        let broken = |error: FrameError| error.to_string();
        let mut rest = buffer;
        while let Some((frame, size)) = frames::first(rest).map_err(broken)? {
            match frames::decode(frame).map_err(broken)? {
                FromExecutor::Done(done) => self.done(*done)?,
                FromExecutor::Call { job, call, .. } => {
                    let admission =
                        self.shared.pool().live(self.seat).map(|live| live.admit_call(job, call));
                    match admission {
                        Some(Admission::Pass) => self.answer(frame).await,
                        Some(Admission::Broken(rule)) => return Err(rule.into()),
                        Some(Admission::Ending) | None => {}
                    }
                }
                FromExecutor::Loaded { module, error } => self.loaded(module, error)?,
                FromExecutor::Ready { .. } => return Err("it was ready twice".into()),
            }
            rest = rest.get(size..).unwrap_or_default();
        }
        Ok(buffer.len() - rest.len())
    }

    fn done(&self, mut done: Done<'_>) -> Result<(), String> {
        let Some(slot) = self.shared.pool().finish(self.seat, done.job) else {
            return Err(format!("the end of attempt {}, which it does not have", done.job.0));
        };
        self.shared.room.notify_one();
        let Some(caller) = slot.caller.filter(|caller| !caller.is_closed()) else { return Ok(()) };
        let limits = &slot.limits;
        if done.outbox.len() > limits.outbox_calls as usize {
            let _ = caller.send(lost_to_rules());
            return Err("more calls in an outbox than its attempt may put there".into());
        }
        let lines = done.logs.len();
        done.logs.truncate(limits.log_lines as usize);
        let dropped = u32::try_from(lines - done.logs.len()).unwrap_or(u32::MAX);
        done.logs_dropped = done.logs_dropped.saturating_add(dropped);
        let report = match &slot.task {
            Some(id) => done.report(&outbox_caller(id, slot.nesting), limits),
            None => done.report(&TaskId::from("describe"), limits),
        };
        let _ = caller.send(report);
        Ok(())
    }

    fn loaded(&self, module: ModuleNumber, error: Option<&str>) -> Result<(), String> {
        let mut pool = self.shared.pool();
        let known = pool.live(self.seat).is_some_and(|live| match error {
            Some(why) => live.not_loaded(module, why, self.shared.options.grace),
            None => live.knows(module),
        });
        if known { Ok(()) } else { Err("it loaded a module that nobody asked for".into()) }
    }

    /// Has a host call answered beside everything else. The frame is copied, because the buffer it
    /// lies in is read into again meanwhile.
    async fn answer(&mut self, frame: &[u8]) {
        while self.calls.try_join_next().is_some() {}
        let bytes = frame.len().max(CALL_BYTES_MIN).min(call_bytes_max(self.shared));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.call_bytes).acquire_many_owned(bytes).await else {
            return;
        };
        let (shared, seat) = (Arc::clone(self.shared), self.seat);
        self.calls.spawn(answer(shared, seat, frame.to_vec(), permit));
    }
}

fn call_bytes_max(shared: &Shared) -> usize {
    shared.options.call_bytes_max.clamp(CALL_BYTES_MIN, Semaphore::MAX_PERMITS)
}

/// Answers one host call, and holds its bytes until the answer is queued.
async fn answer(shared: Arc<Shared>, seat: usize, frame: Vec<u8>, permit: OwnedSemaphorePermit) {
    let Ok(FromExecutor::Call { job, call, request }) = frames::decode(&frame) else { return };
    let reply = shared.services.call(job, request).await;
    loop {
        let Some(wakes) = wakes_of(&shared, seat, job) else { return };
        let drained = wakes.drained.notified();
        tokio::pin!(drained);
        drained.as_mut().enable();
        if let Some(live) = shared
            .pool()
            .live(seat)
            .filter(|live| live.outgoing.len() < shared.options.queue_bytes_max.max(1))
        {
            live.reply(job, call, reply);
            break;
        }
        drained.await;
    }
    drop(permit);
}

/// The wakes of the executor that still has this attempt: not those of the process after it.
fn wakes_of(shared: &Shared, seat: usize, job: JobNumber) -> Option<Arc<Wakes>> {
    let mut pool = shared.pool();
    let live = pool.live(seat).filter(|live| live.has(job))?;
    Some(Arc::clone(&live.wakes))
}

fn lost_to_rules() -> Report {
    killed(Death::ExecutorLost, "the executor process broke the rules when it ended this task")
}
