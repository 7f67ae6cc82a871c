//! Celery's own tasks: what `lovage_celery::builtin` decides is done here.
//!
//! They are claimed, retried and settled as all others are. They run in no sandbox, because there is
//! nothing of anybody's in them; a map runs its task in one sandbox after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lovage_celery::{Builtin, Unlock, builtin, fixed, is_builtin};
use lovage_core::ports::Resolved;
use lovage_core::{
    BudgetRequest, Death, Digest, Failure, Invocation, Job, Json, Manifest, Module, Outcome,
    Report, RetryRequest, TaskName, TaskSpec, TenantId, Usage, outbox_caller,
};

use crate::admit::requested;
use crate::pipeline::Pipeline;

/// The module that Celery's own tasks stand in. It has no code.
#[derive(Debug)]
pub(crate) struct Builtins {
    module: Arc<Module>,
}

impl Default for Builtins {
    fn default() -> Self {
        let manifest = Manifest {
            v: 1,
            abi: String::new(),
            module: "celery".into(),
            language: String::new(),
            tasks: Vec::new(),
        };
        let digest = Digest::from_bytes([0; 32]);
        Self { module: Arc::new(Module { digest, manifest, compiled: PathBuf::new() }) }
    }
}

impl Builtins {
    /// What the name of one of Celery's own tasks is resolved to.
    pub(crate) fn resolve(&self, name: &TaskName) -> Option<Resolved> {
        let task = is_builtin(name.as_str()).then(|| Arc::new(spec(name)))?;
        Some(Resolved { module: Arc::clone(&self.module), task })
    }

    /// Whether a job is one of Celery's own tasks.
    pub(crate) fn has(&self, job: &Job) -> bool {
        Arc::ptr_eq(&self.module, &job.module)
    }
}

/// A task that may be retried for ever when it asks, as `celery.chord_unlock` does, and whose retries
/// are no load that a budget has to bound.
fn spec(name: &TaskName) -> TaskSpec {
    let budget = BudgetRequest { ratio: Some(1.0), floor_per_s: Some(1_000.0) };
    let retry = RetryRequest {
        max: Some(None),
        on_failure: Some(false),
        budget: Some(budget),
        ..RetryRequest::default()
    };
    TaskSpec { retry: Some(retry), ..TaskSpec::named(name.clone()) }
}

impl Pipeline {
    /// What a call's task is resolved to: a module's, or one of Celery's own. One that nobody knows may
    /// be of a module that was pushed a moment ago.
    pub(crate) async fn resolve(
        &self,
        tenant: &TenantId,
        invocation: &Invocation,
    ) -> Option<Resolved> {
        let Invocation { task, id, .. } = invocation;
        let known = || {
            let module = self.registry.resolve(tenant, task, id);
            module.or_else(|| self.builtins.resolve(task))
        };
        if let Some(resolved) = known() {
            return Some(resolved);
        }
        self.registry.refresh().await;
        known()
    }

    /// Runs one of Celery's own tasks.
    pub(crate) async fn run_builtin(&self, job: &Arc<Job>) -> Report {
        let started = Instant::now();
        let mut report = match builtin(&job.invocation) {
            Builtin::Over(report) => *report,
            Builtin::Map { task, calls } => self.map(job, &task, calls).await,
            Builtin::Unlock(unlock) => self.unlock(&unlock, &job.tenant.id).await,
            Builtin::CleanUp => self.clean_up().await,
        };
        report.usage.wall = started.elapsed();
        report
    }

    /// One call after the other, under the time limit of all together. Whatever one comes to but
    /// success is the end of the map. Steps are refused: those of two items could not be told apart.
    async fn map(&self, job: &Arc<Job>, name: &TaskName, calls: Vec<Json>) -> Report {
        let whole = &job.invocation;
        let Some(Resolved { module, task }) =
            self.registry.resolve(&job.tenant.id, name, &whole.id)
        else {
            let failure = Failure::new("celery.exceptions", "NotRegistered", name.as_str());
            return Report::of(Outcome::Reject(failure));
        };
        let started = Instant::now();
        let operator = self.operations.limits(name, &self.limits);
        let limits = requested(operator, task.limits).within(whole.time_limit);
        let (mut results, mut all) = (Vec::new(), Report::of(Outcome::Succeed(Json::null())));
        for (index, args) in (1_u32..).zip(calls) {
            let mut invocation = whole.clone();
            invocation.task = name.clone();
            (invocation.args, invocation.kwargs) = (args, Json::empty_object());
            // Its own part of the ids that an outbox has.
            invocation.replaced_task_nesting =
                whole.replaced_task_nesting.saturating_add(index.saturating_mul(MAP_NESTING));
            let caller = outbox_caller(&whole.id, invocation.replaced_task_nesting);
            let mut limits = limits;
            limits.time = limits.time.saturating_sub(started.elapsed());
            limits.soft_time = limits.soft_time.map(|soft| soft.saturating_sub(started.elapsed()));
            let resolved = Resolved { module: Arc::clone(&module), task: Arc::clone(&task) };
            if let Some(failure) = self.schemas.failure(&invocation, &resolved) {
                return Report { outcome: Outcome::Reject(failure), outbox: Vec::new(), ..all };
            }
            let Resolved { module, task } = resolved;
            let inner = Job { invocation, module, task, limits, ..Job::clone(job) };
            let report = self.attempt(&Arc::new(inner), None).await;
            add(&mut all.usage, report.usage);
            all.logs.extend(report.logs);
            all.logs_dropped += report.logs_dropped;
            all.outbox.extend(fixed(report.outbox, &caller));
            match report.outcome {
                Outcome::Succeed(result) => results.push(result),
                outcome => return Report { outcome, outbox: Vec::new(), ..all },
            }
            if results.iter().map(|it| it.as_str().len()).sum::<usize>()
                > limits.result_bytes as usize
            {
                let text = "the results of a map are larger than a result may be";
                let failure = Failure::new("builtins", "ValueError", text);
                return Report { outcome: Outcome::Reject(failure), outbox: Vec::new(), ..all };
            }
        }
        Report { outcome: Outcome::Succeed(Json::array(&results)), ..all }
    }

    /// Asks for all members' results until one has not ended. One that is not the tenant's never ends.
    async fn unlock(&self, unlock: &Unlock, tenant: &TenantId) -> Report {
        let mut documents = Vec::with_capacity(unlock.members.len());
        for member in &unlock.members {
            let Ok(document) = self.services.result(member, tenant).await else { break };
            let is_there = document.is_some();
            documents.push(document);
            if !is_there {
                break;
            }
        }
        unlock.decide(&documents)
    }

    async fn clean_up(&self) -> Report {
        match self.services.clean_up().await {
            Ok(()) => Report::of(Outcome::Succeed(Json::null())),
            Err(error) => {
                let failure = Failure::new("builtins", "RuntimeError", &error.to_string());
                Report::of(Outcome::Killed { death: Death::NotStarted, failure })
            }
        }
    }
}

/// How far apart the ids of two items' outboxes are: more than a task is ever replaced.
const MAP_NESTING: u32 = 1 << 12;

fn add(all: &mut Usage, one: Usage) {
    all.fuel = all.fuel.saturating_add(one.fuel);
    all.cpu += one.cpu;
    all.memory_bytes = all.memory_bytes.max(one.memory_bytes);
    all.host_calls = all.host_calls.saturating_add(one.host_calls);
}
