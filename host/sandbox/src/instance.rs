//! One attempt: a fresh store, a fresh instance, one call, one report.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lovage_core::frames::{
    Attempt, CallFrame, Done, End, Entry, FailureFrame, FrameError, FromExecutor, ModuleNumber,
    OutboxFrame, Run, ToExecutor, append, decode,
};
use lovage_core::ports::HostServices;
use lovage_core::{Death, Json, Limits, OutboxCall, OutboxItem, Usage};
use wasmtime::Store;
use wasmtime::component::{Instance, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use crate::command;
use crate::deadline::Clockwork;
use crate::guest::{Guest, NextAttempt};
use crate::imports::{Failure, handler};
use crate::limits::MemoryMeter;
use crate::module::{EntryPoint, Loaded};
use crate::queue::Slot;
use crate::shelf::{Kept, Shelf};
use crate::streams::Streams;
use crate::trap::{Died, Ended, argument, classify};

/// Fuel after which a guest yields: about a millisecond.
const SLICE: u64 = 10_000_000;

/// Handles of resources that a guest may hold.
const HANDLES_MAX: usize = 1_000;

/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// What a run needs beside the frame that asks for it.
pub(crate) struct Setting {
    pub(crate) number: ModuleNumber,
    pub(crate) module: Arc<Loaded>,
    pub(crate) shelf: Rc<RefCell<Shelf>>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) services: Arc<dyn HostServices>,
}

impl Setting {
    /// Whether another attempt could be in the same instance: a program has one run, a catalog one
    /// question.
    fn can_share(&self, run: &Run<'_>) -> bool {
        matches!((self.module.entry, &run.entry), (EntryPoint::Tasks { .. }, Entry::Task(_)))
    }
}

/// How a guest's code came to its end, in the contract's words or in ours.
pub(crate) enum Conclusion {
    Returned(String),
    Failed(handler::Error),
    Doubt(String),
    Died(Died),
}

/// Runs the attempt that `frame` asks for and hands its `Done` to `report`.
pub(crate) async fn attempt(
    frame: Arc<[u8]>,
    setting: Setting,
    report: impl FnOnce(&FromExecutor<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    let ToExecutor::Run(run) = decode(&frame)? else {
        // Whoever calls this has read the frame before.
        return Ok(());
    };
    let started = Instant::now();
    let (mut store, mut instance, before) = place(&run, &frame, &setting, started);
    let mut clock = Clockwork::new(Arc::clone(&setting.slot), run.limits, started);
    let conclusion = if let Some(died) = refused(&run) {
        Conclusion::Died(died)
    } else {
        let ended = clock.watch(call(&mut store, &mut instance, &setting.module, &run.entry)).await;
        conclude(&mut store, &setting.module, ended)
    };
    let usage = Usage {
        fuel: run.limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default()),
        cpu: clock.cpu,
        wall: clock.started.elapsed(),
        memory_bytes: store.data().memory.peak,
        host_calls: setting.slot.host_calls(),
    };
    tell(&run, &store, &conclusion, usage, report)?;
    let is_whole = matches!(conclusion, Conclusion::Returned(_) | Conclusion::Failed(_));
    let is_whole = is_whole && setting.can_share(&run);
    if let (Some(share), Some(instance), true) = (run.share, instance, is_whole) {
        let kept = Kept { store, instance, attempts: before + 1 };
        setting.shelf.borrow_mut().put(setting.number, share, kept);
    }
    Ok(())
}

/// A store for an attempt: that of an instance that was kept, or a new one without an instance. And
/// how many attempts were in it before.
fn place(
    run: &Run<'_>,
    frame: &Arc<[u8]>,
    setting: &Setting,
    started: Instant,
) -> (Store<Guest>, Option<Instance>, u32) {
    let limits = run.limits;
    let shared = run.share.filter(|_| setting.can_share(run));
    let kept = shared.and_then(|share| {
        setting.shelf.borrow_mut().take(setting.number, share, limits.memory_bytes)
    });
    let Some(Kept { mut store, instance, attempts }) = kept else {
        return (store(run, frame, setting, started), None, 0);
    };
    store.data_mut().renew(NextAttempt {
        job: run.job,
        limits,
        slot: Arc::clone(&setting.slot),
        services: Arc::clone(&setting.services),
        frame: Arc::clone(frame),
        started,
    });
    store.set_hostcall_fuel(limits.host_call_bytes as usize);
    // As in `store`, this cannot fail.
    let _ = store.set_fuel(limits.fuel);
    (store, Some(instance), attempts)
}

/// What is wrong with a job before anything of it runs.
fn refused(run: &Run<'_>) -> Option<Died> {
    let Entry::Task(attempt) = &run.entry else { return None };
    let bytes = attempt.args.len() + attempt.kwargs.len();
    let most = run.limits.argument_bytes;
    (bytes > most as usize).then(|| {
        let message = format!("the arguments have {bytes} bytes, {most} are allowed");
        Died::of(Death::ArgumentsTooLarge, message)
    })
}

fn store(run: &Run<'_>, frame: &Arc<[u8]>, setting: &Setting, started: Instant) -> Store<Guest> {
    let is_command = matches!(setting.module.entry, EntryPoint::Command { .. });
    let streams = Streams::new(&run.limits, is_command);
    let mut wasi = WasiCtx::builder();
    wasi.stdout(streams.output()).stderr(streams.error()).max_random_size(RANDOM_BYTES_MAX);
    if let (true, Entry::Task(attempt)) = (is_command, &run.entry) {
        wasi.args(&["command", attempt.task]);
        wasi.stdin(MemoryInputPipe::new(Bytes::from(command::input(attempt))));
    }
    let guest = Guest {
        job: run.job,
        limits: run.limits,
        slot: Arc::clone(&setting.slot),
        memory: MemoryMeter::new(run.limits.memory_bytes),
        table: ResourceTable::new(),
        wasi: wasi.build(),
        streams,
        outbox: Vec::new(),
        outbox_bytes: 0,
        steps: HashSet::new(),
        open_steps: Vec::new(),
        http: None,
        services: matches!(run.entry, Entry::Task(_)).then(|| Arc::clone(&setting.services)),
        frame: Arc::clone(frame),
        started,
        work: 0,
    };
    let mut store = Store::new(setting.module.instance.engine(), guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(run.limits.host_call_bytes as usize);
    store.set_max_component_handles(HANDLES_MAX);
    // Fuel is configured in every engine that is made here, so these cannot fail.
    let _ = store.set_fuel(run.limits.fuel);
    let _ = store.fuel_async_yield_interval(Some(SLICE));
    store
}

/// Instantiates and calls. Everything in it is the guest's own doing, and is watched.
async fn call(
    store: &mut Store<Guest>,
    kept: &mut Option<Instance>,
    module: &Loaded,
    entry: &Entry<'_>,
) -> wasmtime::Result<Result<String, handler::Error>> {
    let instance = if let Some(instance) = *kept {
        instance
    } else {
        let instance = module.instance.instantiate_async(&mut *store).await?;
        store.data_mut().memory.is_born();
        *kept = Some(instance);
        instance
    };
    match (module.entry, entry) {
        (EntryPoint::Tasks { describe, .. }, Entry::Describe) => {
            let describe = instance.get_typed_func::<(), (String,)>(&mut *store, &describe)?;
            Ok(Ok(describe.call_async(&mut *store, ()).await?.0))
        }
        (EntryPoint::Tasks { run, .. }, Entry::Task(attempt)) => {
            let Attempt { task, args, kwargs, .. } = **attempt;
            let run = instance
                .get_typed_func::<(&str, &str, &str), (Result<String, handler::Error>,)>(
                    &mut *store,
                    &run,
                )?;
            Ok(run.call_async(&mut *store, (task, args, kwargs)).await?.0)
        }
        (EntryPoint::Command { .. }, Entry::Describe) => Ok(Ok(command::MANIFEST.into())),
        (EntryPoint::Command { run }, Entry::Task(_)) => {
            let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, &run)?;
            let (status,) = run.call_async(&mut *store, ()).await?;
            Err(wasmtime_wasi::I32Exit(i32::from(status.is_err())).into())
        }
    }
}

type Called = Result<wasmtime::Result<Result<String, handler::Error>>, Death>;

fn conclude(store: &mut Store<Guest>, module: &Loaded, ended: Called) -> Conclusion {
    let is_command = matches!(module.entry, EntryPoint::Command { .. });
    let guest = store.data_mut();
    let denied = guest.memory.denied;
    match ended {
        Ok(Ok(Ok(text))) => fitting(text, &guest.limits),
        // What a guest says when it got no memory is its way to say that.
        Ok(Ok(Err(handler::Error::Failed(_) | handler::Error::Rejected(_)))) if denied => {
            Conclusion::Died(Died::of(Death::OutOfMemory, "the memory limit is reached"))
        }
        Ok(Ok(Err(error))) => Conclusion::Failed(error),
        Ok(Err(error)) => {
            let ended = guest.streams.with(|written| classify(&error, denied, &written.tail));
            match ended {
                Ended::Doubt(step) => Conclusion::Doubt(step),
                Ended::Died(died) => Conclusion::Died(died),
                Ended::Exit(status) if is_command => {
                    guest.streams.with(|written| command::conclude(status, written))
                }
                Ended::Exit(status) => {
                    let message = format!("it ended itself with exit status {status}");
                    Conclusion::Died(Died::of(Death::Exited, message))
                }
            }
        }
        Err(death) => Conclusion::Died(of_the_clock(death, &guest.limits)),
    }
}

/// A result as it is, unless it is larger than allowed. The worker looks whether it is JSON.
pub(crate) fn fitting(text: String, limits: &Limits) -> Conclusion {
    if text.len() <= limits.result_bytes as usize {
        return Conclusion::Returned(text);
    }
    let message =
        format!("the result has {} bytes, {} are allowed", text.len(), limits.result_bytes);
    Conclusion::Died(Died::of(Death::OutputTooLarge, message))
}

fn of_the_clock(death: Death, limits: &Limits) -> Died {
    let message = match death {
        Death::OutOfCpuTime => format!("the CPU time limit of {:?} is over", limits.cpu_time),
        Death::TooManyHostCalls => format!("more than {} host calls", limits.host_calls),
        Death::Revoked => "revoked".into(),
        // The argument that billiard's own exception has: the limit in seconds.
        Death::TimedOut => limits.time.as_secs_f64().to_string(),
        other => other.as_str().into(),
    };
    Died::of(death, message)
}

/// Makes the frame, from what is where it is: nothing is copied but into the buffer.
fn tell(
    run: &Run<'_>,
    store: &Store<Guest>,
    conclusion: &Conclusion,
    usage: Usage,
    report: impl FnOnce(&FromExecutor<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    let guest = store.data();
    let said;
    let end = match conclusion {
        Conclusion::Returned(text) => End::Succeed(text),
        Conclusion::Failed(handler::Error::Failed(failure)) => End::Fail(frame(failure)),
        Conclusion::Failed(handler::Error::Rejected(failure)) => End::Reject(frame(failure)),
        Conclusion::Failed(handler::Error::Retry(retry)) => {
            let after = retry.after_ms.map(std::time::Duration::from_millis);
            End::Retry(frame(&retry.reason), after, retry.options.as_deref())
        }
        Conclusion::Failed(handler::Error::Ignored) => End::Ignore,
        Conclusion::Failed(handler::Error::Requeued(failure)) => End::Requeue(frame(failure)),
        Conclusion::Failed(handler::Error::Replaced(signature)) => End::Replace(signature),
        Conclusion::Doubt(step) => End::Ambiguous(step),
        Conclusion::Died(died) => {
            said = match died.death {
                Death::TimedOut => {
                    Json::parse(died.message.as_str()).unwrap_or_else(|_| Json::null())
                }
                _ => argument(&died.message),
            };
            End::Killed(died.death, said.as_str(), died.traceback.as_deref())
        }
    };
    let leaves = matches!(end, End::Succeed(_) | End::Ignore | End::Replace(_));
    let outbox =
        if leaves { guest.outbox.iter().filter_map(item_frame).collect() } else { Vec::new() };
    guest.streams.with(|written| {
        written.finish();
        let lines = written.logs.lines.iter();
        let logs = lines.map(|(level, text, fields)| (*level, text.as_str(), fields.as_str()));
        let logs_dropped = written.logs.dropped;
        let done = Done { job: run.job, end, usage, outbox, logs: logs.collect(), logs_dropped };
        report(&FromExecutor::Done(Box::new(done)))
    })
}

fn frame(failure: &Failure) -> FailureFrame<'_> {
    FailureFrame {
        exception_type: &failure.exception_type,
        exception_module: failure.exception_module.as_deref(),
        arguments: &failure.arguments,
        traceback: failure.traceback.as_deref(),
    }
}

/// A guest makes no bodies of chords: only the worker's own tasks do.
fn item_frame(item: &OutboxItem) -> Option<OutboxFrame<'_>> {
    Some(match item {
        OutboxItem::Body { .. } => return None,
        OutboxItem::Call(call) => OutboxFrame::Call(call_frame(call)),
        OutboxItem::Signature(signature) => OutboxFrame::Signature(signature.as_str()),
        OutboxItem::Member(signature) => OutboxFrame::Member(signature.as_str()),
    })
}

fn call_frame(call: &OutboxCall) -> CallFrame<'_> {
    CallFrame {
        task: call.task.as_str(),
        args: call.args.as_str(),
        kwargs: call.kwargs.as_str(),
        queue: call.queue.as_ref().map(lovage_core::QueueName::as_str),
        countdown: call.countdown,
        expires: call.expires,
        priority: call.priority,
        ignore_result: call.ignore_result,
        headers: call.headers.as_ref().map(Json::as_str),
    }
}

/// Says of a job that nothing of it was run, through no fault of its own.
pub(crate) fn not_started(
    buffer: &mut Vec<u8>,
    run: &Run<'_>,
    why: &str,
) -> Result<(), FrameError> {
    let said = argument(why);
    let done = Done {
        job: run.job,
        end: End::Killed(Death::NotStarted, said.as_str(), None),
        usage: Usage::default(),
        outbox: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
    };
    append(buffer, &FromExecutor::Done(Box::new(done)))
}
