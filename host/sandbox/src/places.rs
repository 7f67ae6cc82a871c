//! The attempts that are in this executor, each in a place of its own.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use lovage_core::frames::{FrameError, ModuleNumber, Run};
use lovage_core::ports::HostServices;
use lovage_core::{Death, JobNumber};
use wasmtime::component::Linker;

use crate::guest::Guest;
use crate::instance::{Setting, attempt, not_started};
use crate::link::{ByFrames, Link};
use crate::module::Loaded;
use crate::queue::{Queue, Slot};
use crate::shelf::{KEPT_MAX, Shelf};
use crate::{ServeError, engine, imports};

/// Attempts at once that an executor takes on. More do not fit into the maps a process may have.
pub const EXECUTOR_SLOTS_MAX: u32 = 5_000;

/// Attempts at once after which the pool has grown so much that it is renewed when it is idle.
const BURST: usize = 64;

/// How long nothing may run before a pool that has grown is renewed.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// All attempts of an executor, and what they are made of.
pub(crate) struct Places {
    slots: u32,
    memory_bytes_max: u64,
    linker: Option<Linker<Guest>>,
    modules: HashMap<ModuleNumber, (PathBuf, Arc<Loaded>)>,
    all: Vec<Place>,
    free: Vec<u32>,
    jobs: HashMap<JobNumber, u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    /// The most attempts at once since the pool was made.
    peak: usize,
    idle_since: Option<Instant>,
    shelf: Rc<RefCell<Shelf>>,
    link: Arc<Link>,
    services: Arc<dyn HostServices>,
}

struct Place {
    slot: Arc<Slot>,
    waker: Waker,
    /// The attempt that is here. It reports its own end.
    attempt: Option<Pin<Box<dyn Future<Output = ()>>>>,
    job: JobNumber,
    time: Duration,
    /// Set after its first turn: most attempts have none to come.
    deadline: Option<Instant>,
}

impl Places {
    pub(crate) fn new(
        slots: u32,
        memory_bytes_max: u64,
        queue: &Arc<Queue>,
        link: &Arc<Link>,
    ) -> wasmtime::Result<Self> {
        wasmtime::ensure!(
            (1..=EXECUTOR_SLOTS_MAX).contains(&slots),
            "1 to {EXECUTOR_SLOTS_MAX} slots are possible"
        );
        let place = |index| {
            let slot = Slot::new(index, Arc::clone(queue));
            let waker = Waker::from(Arc::clone(&slot));
            Place {
                slot,
                waker,
                attempt: None,
                job: JobNumber(0),
                time: Duration::ZERO,
                deadline: None,
            }
        };
        Ok(Self {
            slots,
            memory_bytes_max,
            linker: Some(linker(slots, memory_bytes_max)?),
            modules: HashMap::new(),
            all: (0..slots).map(place).collect(),
            free: (0..slots).rev().collect(),
            jobs: HashMap::new(),
            deadlines: BTreeSet::new(),
            peak: 0,
            idle_since: None,
            shelf: Rc::default(),
            link: Arc::clone(link),
            services: Arc::new(ByFrames(Arc::clone(link))),
        })
    }

    /// Loads a module under a number; what had the number before is forgotten.
    pub(crate) fn load(&mut self, module: ModuleNumber, path: &Path) -> wasmtime::Result<()> {
        let Some(linker) = &self.linker else { wasmtime::bail!("there is no engine") };
        let loaded = Loaded::load(linker, path)?;
        self.shelf.borrow_mut().forget(module);
        self.modules.insert(module, (path.into(), Arc::new(loaded)));
        Ok(())
    }

    /// Forgets a module. Its code stays for as long as attempts run in it.
    pub(crate) fn unload(&mut self, module: ModuleNumber) {
        self.modules.remove(&module);
    }

    /// Gives an attempt its place; it has its first turn soon.
    pub(crate) fn begin(&mut self, frame: &[u8], run: &Run<'_>) -> Result<(), ServeError> {
        if self.jobs.contains_key(&run.job) {
            return Err(ServeError::Protocol("it used a job's number twice"));
        }
        let Some((_, module)) = self.modules.get(&run.module) else {
            not_started(&mut self.link.state().output, run, "its module is not loaded")?;
            return Ok(());
        };
        let place =
            self.free.pop().and_then(|index| Some((index, self.all.get_mut(index as usize)?)));
        let Some((index, place)) = place else {
            not_started(&mut self.link.state().output, run, "every slot is taken")?;
            return Ok(());
        };
        let setting = Setting {
            number: run.module,
            module: Arc::clone(module),
            shelf: Rc::clone(&self.shelf),
            slot: Arc::clone(&place.slot),
            services: Arc::clone(&self.services),
        };
        place.job = run.job;
        place.time = run.limits.time;
        place.attempt = Some(Box::pin(reported(frame.into(), setting, Arc::clone(&self.link))));
        place.slot.begin();
        self.jobs.insert(run.job, index);
        self.peak = self.peak.max(self.jobs.len());
        self.idle_since = None;
        Ok(())
    }

    /// Ends an attempt at its next turn. It may have ended already.
    pub(crate) fn cancel(&self, job: JobNumber, death: Death) {
        let place = self.jobs.get(&job).and_then(|index| self.all.get(*index as usize));
        if let Some(place) = place {
            place.slot.kill(death);
        }
    }

    /// Gives an attempt a turn.
    pub(crate) fn poll(&mut self, index: u32) {
        let Some(place) = self.all.get_mut(index as usize) else { return };
        let Place { slot, waker, attempt, .. } = place;
        let ended = slot.poll(|| match attempt {
            Some(attempt) => attempt.as_mut().poll(&mut Context::from_waker(waker)).is_ready(),
            None => false,
        });
        if ended {
            place.attempt = None;
            self.jobs.remove(&place.job);
            self.free.push(index);
            if let Some(deadline) = place.deadline.take() {
                self.deadlines.remove(&(deadline, index));
            }
            if self.jobs.is_empty() && self.peak > BURST {
                self.idle_since = Some(Instant::now());
            }
        } else if place.attempt.is_some() && place.deadline.is_none() {
            let deadline = Instant::now() + place.time;
            place.deadline = Some(deadline);
            self.deadlines.insert((deadline, index));
        }
    }

    /// When there is something to do even if nothing comes.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        let idle = self.idle_since.map(|since| since + IDLE_TIME);
        let kept = self.shelf.borrow().first_deadline();
        let due = self.deadlines.first().map(|(deadline, _)| *deadline).or(idle);
        due.into_iter().chain(kept).min()
    }

    /// Does what is due: gives those whose time is over a turn, in which they see that it is, and
    /// gives back the memory of a burst.
    ///
    /// # Errors
    /// When the pool could not be made anew.
    pub(crate) fn do_what_is_due(&mut self, now: Instant) -> Result<(), ServeError> {
        while let Some((deadline, index)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(place) = self.all.get(index as usize) {
                place.slot.call();
            }
        }
        self.shelf.borrow_mut().expire(now);
        if self.idle_since.is_some_and(|since| since + IDLE_TIME <= now) {
            self.idle_since = None;
            let slots = self.slots;
            self.renew().map_err(|source| ServeError::Engine { slots, source })?;
        }
        Ok(())
    }

    /// Makes the pool anew. Slots keep the pages that their guests touched, which makes the next use
    /// cheap, and nothing else takes them from slots that will not be used again soon.
    fn renew(&mut self) -> wasmtime::Result<()> {
        let modules = std::mem::take(&mut self.modules);
        let modules: Vec<_> =
            modules.into_iter().map(|(number, (path, _))| (number, path)).collect();
        self.shelf.borrow_mut().clear();
        // The old pool goes first: there may not be address space for two.
        self.linker = None;
        self.linker = Some(linker(self.slots, self.memory_bytes_max)?);
        self.peak = 0;
        modules.into_iter().try_for_each(|(number, path)| self.load(number, &path))
    }
}

fn linker(slots: u32, memory_bytes_max: u64) -> wasmtime::Result<Linker<Guest>> {
    imports::linker(&engine::pooling(slots.saturating_add(KEPT_MAX), memory_bytes_max)?)
}

/// An attempt that sends its own report. One that is too large to be sent is a death of its own.
async fn reported(frame: Arc<[u8]>, setting: Setting, link: Arc<Link>) {
    let told = attempt(Arc::clone(&frame), setting, |done| link.say(done)).await;
    if let Err(error) = told {
        let _ = too_large(&frame, &link, &error);
    }
}

fn too_large(frame: &[u8], link: &Link, error: &FrameError) -> Result<(), FrameError> {
    use lovage_core::frames::{Done, End, FromExecutor, ToExecutor, decode};

    let ToExecutor::Run(run) = decode(frame)? else { return Ok(()) };
    let said = crate::trap::argument(&error.to_string());
    link.say(&FromExecutor::Done(Box::new(Done {
        job: run.job,
        end: End::Killed(Death::OutputTooLarge, said.as_str(), None),
        usage: lovage_core::Usage::default(),
        outbox: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
    })))
}
