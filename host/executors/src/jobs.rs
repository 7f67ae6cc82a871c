//! What is in one executor: the attempts, the modules, and the bytes on their way to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lovage_core::frames::{self, FrameError, HostReply, ModuleNumber, ToExecutor};
use lovage_core::{Death, Digest, JobNumber, Json, Limits, Outcome, Report, TaskId, TenantId};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, oneshot};

use crate::accounting::Suspect;
use crate::options::Options;
use crate::request::Request;

/// Host calls of one attempt that may be unanswered at once. A guest has one thread; the rest is
/// room for interfaces that let it wait for several things.
const CALLS_AT_ONCE_MAX: u32 = 16;

/// No attempt is waited for longer than this, whatever its limits say.
const WAIT_MAX: Duration = Duration::from_hours(366 * 24);

/// The report of an attempt that we ended, or never started.
pub(crate) fn killed(death: Death, why: &str) -> Report {
    Report::of(Outcome::Killed { death, failure: death.failure(&Json::string(why), None) })
}

/// Why an attempt was not given to any executor.
pub(crate) struct Refusal {
    death: Death,
    why: String,
}

impl Refusal {
    pub(crate) fn new(death: Death, why: impl Into<String>) -> Self {
        Self { death, why: why.into() }
    }

    /// The host could not start it.
    pub(crate) fn not_started(why: impl Into<String>) -> Self {
        Self::new(Death::NotStarted, why)
    }

    /// The same for whoever waits.
    pub(crate) fn report(&self) -> Report {
        killed(self.death, &self.why)
    }
}

/// An attempt in an executor, from its `Run` to its `Done`.
pub(crate) struct Slot {
    /// Who waits for its report; `None` when they were told before its `Done`.
    pub(crate) caller: Option<oneshot::Sender<Report>>,
    /// The call's id; `None` when a module is asked for its manifest.
    pub(crate) task: Option<TaskId>,
    /// How often the call took another's place.
    pub(crate) nesting: u32,
    /// What it may use.
    pub(crate) limits: Limits,
    module: ModuleNumber,
    /// When the executor counts as hung over it.
    due: Instant,
    /// Host calls that are unanswered.
    calls: u32,
    /// Whether the executor was told to end it: it gets no more host calls.
    ending: bool,
}

/// Wakes the task that writes to an executor, and those that wait for it to have written.
#[derive(Default)]
pub(crate) struct Wakes {
    /// There is something to write.
    pub(crate) queued: Notify,
    /// A full queue has been taken to be written.
    pub(crate) drained: Notify,
}

/// Whether a host call may be passed on.
pub(crate) enum Admission {
    /// It may.
    Pass,
    /// Its attempt is being ended; it was answered so.
    Ending,
    /// No executor that keeps to the rules makes this call.
    Broken(&'static str),
}

/// A module as an executor has it.
struct Loaded {
    number: ModuleNumber,
    /// Whether it is loaded, as far as the executor has not said otherwise.
    ready: bool,
    /// Attempts that run in it.
    in_flight: usize,
    used: u64,
}

/// One executor process that is ready.
pub(crate) struct Live {
    /// The process.
    pub(crate) process: u32,
    /// When it became ready.
    pub(crate) since: Instant,
    /// Frames that wait to be written.
    pub(crate) outgoing: Vec<u8>,
    /// Wakes whoever writes them.
    pub(crate) wakes: Arc<Wakes>,
    /// The module that was run last.
    pub(crate) last_module: Option<Digest>,
    jobs: FxHashMap<JobNumber, Slot>,
    /// Whose attempts are in it, or were in it last.
    pub(crate) tenant: Option<TenantId>,
    modules: FxHashMap<Digest, Loaded>,
    /// Modules that are loaded.
    loaded: usize,
    /// Counts up with every attempt: tells which module was used when.
    tick: u64,
    /// The modules by their numbers.
    digests: Vec<Digest>,
}

impl Live {
    /// A process that has just said that it is ready.
    pub(crate) fn new(process: u32, wakes: Arc<Wakes>) -> Self {
        Self {
            process,
            since: Instant::now(),
            outgoing: Vec::new(),
            wakes,
            last_module: None,
            jobs: FxHashMap::default(),
            tenant: None,
            modules: FxHashMap::default(),
            loaded: 0,
            tick: 0,
            digests: Vec::new(),
        }
    }

    /// Attempts in it.
    pub(crate) fn in_flight(&self) -> usize {
        self.jobs.len()
    }

    /// Queues an attempt, and before it its module if that is not loaded.
    ///
    /// # Errors
    /// When it cannot be sent at all.
    pub(crate) fn send(
        &mut self,
        request: &Request<'_>,
        options: &Options,
    ) -> Result<oneshot::Receiver<Report>, Refusal> {
        if self.jobs.contains_key(&request.number) {
            return Err(Refusal::not_started("an attempt of this number is running"));
        }
        let digest = request.module.digest;
        let module = self.load(digest, &request.module.compiled, options.modules_max)?;
        request
            .append(&mut self.outgoing, module)
            .map_err(|error| Refusal::new(Death::ArgumentsTooLarge, error.to_string()))?;
        self.last_module = Some(digest);
        if self.jobs.is_empty() && self.tenant.as_ref() != request.tenant() {
            self.tenant = request.tenant().cloned();
        }
        self.tick += 1;
        if let Some(loaded) = self.modules.get_mut(&digest) {
            (loaded.in_flight, loaded.used) = (loaded.in_flight + 1, self.tick);
        }
        let (caller, report) = oneshot::channel();
        let slot = Slot {
            caller: Some(caller),
            task: request.task_id().cloned(),
            nesting: request.nesting(),
            limits: request.limits,
            module,
            due: Instant::now() + request.limits.time.saturating_add(options.grace).min(WAIT_MAX),
            calls: 0,
            ending: false,
        };
        self.jobs.insert(request.number, slot);
        self.wakes.queued.notify_one();
        Ok(report)
    }

    /// The module's number; queues the order to load it if it is not loaded, and first the order to
    /// forget another if there are `most`.
    fn load(
        &mut self,
        digest: Digest,
        compiled: &Path,
        most: usize,
    ) -> Result<ModuleNumber, Refusal> {
        let known = self.modules.get(&digest).map(|it| (it.number, it.ready));
        if let Some((module, true)) = known {
            return Ok(module);
        }
        let next = || u32::try_from(self.digests.len()).ok().map(ModuleNumber);
        let Some(module) = known.map(|(module, _)| module).or_else(next) else {
            return Err(Refusal::not_started("the executor has no number left for another module"));
        };
        // An executor starts in `/`, so the path has to lead there from anywhere.
        let path = std::path::absolute(compiled)
            .map_err(|error| Refusal::not_started(error.to_string()))?;
        let Some(path) = path.to_str() else {
            return Err(Refusal::not_started("the path of the compiled module is no UTF-8"));
        };
        if self.loaded >= most.max(1) {
            self.unload_one();
        }
        frames::append(&mut self.outgoing, &ToExecutor::Load { module, path })
            .map_err(|error| Refusal::not_started(error.to_string()))?;
        if let Some(known) = self.modules.get_mut(&digest) {
            known.ready = true;
        } else {
            self.digests.push(digest);
            let loaded = Loaded { number: module, ready: true, in_flight: 0, used: 0 };
            self.modules.insert(digest, loaded);
        }
        self.loaded += 1;
        Ok(module)
    }

    /// Queues the order to forget the module that was not used for the longest time, if there is one
    /// that does not run.
    fn unload_one(&mut self) {
        let idle = self.modules.values_mut().filter(|it| it.ready && it.in_flight == 0);
        let Some(oldest) = idle.min_by_key(|it| it.used) else { return };
        oldest.ready = false;
        self.loaded -= 1;
        // A frame of this size always fits.
        let frame = ToExecutor::Unload { module: oldest.number };
        let _ = frames::append(&mut self.outgoing, &frame);
    }

    /// Modules that are loaded.
    pub(crate) fn loaded(&self) -> usize {
        self.loaded
    }

    /// A module was not loaded: everyone who waits for it is told, and the next attempt asks again.
    /// `false` when it was never asked for.
    pub(crate) fn not_loaded(&mut self, module: ModuleNumber, why: &str, grace: Duration) -> bool {
        let Some(digest) = self.digests.get(module.0 as usize) else { return false };
        if let Some(loaded) = self.modules.get_mut(digest).filter(|it| it.ready) {
            loaded.ready = false;
            self.loaded -= 1;
        }
        let due = Instant::now() + grace;
        for slot in self.jobs.values_mut().filter(|slot| slot.module == module) {
            slot.ending = true;
            slot.due = slot.due.min(due);
            if let Some(caller) = slot.caller.take() {
                let why = format!("the module could not be loaded: {why}");
                // Whoever no longer waits needs no answer.
                let _ = caller.send(killed(Death::NotStarted, &why));
            }
        }
        true
    }

    /// Whether this module was ever asked for.
    pub(crate) fn knows(&self, module: ModuleNumber) -> bool {
        (module.0 as usize) < self.digests.len()
    }

    /// Takes out the attempt that has ended.
    pub(crate) fn finish(&mut self, job: JobNumber) -> Option<Slot> {
        let slot = self.jobs.remove(&job)?;
        let digest = self.digests.get(slot.module.0 as usize);
        if let Some(loaded) = digest.and_then(|digest| self.modules.get_mut(digest)) {
            loaded.in_flight = loaded.in_flight.saturating_sub(1);
        }
        Some(slot)
    }

    /// Queues the order to end an attempt, once. `false` when it is not here.
    pub(crate) fn end(&mut self, job: JobNumber, death: Death, grace: Duration) -> bool {
        let Some(slot) = self.jobs.get_mut(&job) else { return false };
        if !slot.ending {
            slot.ending = true;
            slot.due = slot.due.min(Instant::now() + grace);
            // A frame of this size always fits.
            let _ = frames::append(&mut self.outgoing, &ToExecutor::Cancel { job, death });
            self.wakes.queued.notify_one();
        }
        true
    }

    /// Admits a host call of an attempt.
    pub(crate) fn admit_call(&mut self, job: JobNumber, call: u32) -> Admission {
        let Some(slot) = self.jobs.get_mut(&job) else {
            return Admission::Broken("a host call of an attempt that it does not have");
        };
        if slot.calls >= CALLS_AT_ONCE_MAX {
            return Admission::Broken("more host calls at once than an attempt may make");
        }
        if !slot.ending {
            slot.calls += 1;
            return Admission::Pass;
        }
        let reply = HostReply::Unavailable("the attempt is being ended".into());
        let _ = frames::append(&mut self.outgoing, &ToExecutor::Reply { job, call, reply });
        self.wakes.queued.notify_one();
        Admission::Ending
    }

    /// Queues the answer to a host call, unless its attempt has ended meanwhile.
    pub(crate) fn reply(&mut self, job: JobNumber, call: u32, reply: HostReply) {
        let Some(slot) = self.jobs.get_mut(&job) else { return };
        slot.calls = slot.calls.saturating_sub(1);
        let frame = ToExecutor::Reply { job, call, reply };
        if let Err(FrameError::TooLarge(_)) = frames::append(&mut self.outgoing, &frame) {
            let reply = HostReply::Limit("the answer is larger than a frame may be".into());
            let _ = frames::append(&mut self.outgoing, &ToExecutor::Reply { job, call, reply });
        }
        self.wakes.queued.notify_one();
    }

    /// The attempt that should have ended longest ago.
    pub(crate) fn overdue(&self, now: Instant) -> Option<JobNumber> {
        let overdue = self.jobs.iter().filter(|(_, slot)| slot.due <= now);
        overdue.min_by_key(|(_, slot)| slot.due).map(|(job, _)| *job)
    }

    /// Whether this attempt is here.
    pub(crate) fn has(&self, job: JobNumber) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Everything that was in it, oldest first, and who waits for it.
    pub(crate) fn into_suspects(self) -> Vec<(Suspect, Option<oneshot::Sender<Report>>)> {
        let digests = self.digests;
        let mut suspects: Vec<_> = self
            .jobs
            .into_iter()
            .filter_map(|(job, slot)| {
                let module = *digests.get(slot.module.0 as usize)?;
                Some((Suspect { job, task: slot.task, module }, slot.caller))
            })
            .collect();
        suspects.sort_unstable_by_key(|(suspect, _)| suspect.job);
        suspects
    }
}
