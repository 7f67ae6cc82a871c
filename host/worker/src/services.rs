//! What the host does for guests while they run.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_celery::{is_result_of, request_text};
use lovage_core::frames::{HostCall, HostReply, OnDoubt};
use lovage_core::http::HttpError;
use lovage_core::ports::{Clock, Egress, HostServices, Ledger, PortError, ResultBackend};
use lovage_core::{Grant, Job, JobNumber, Json, ResultRecord, TaskId, TaskState, TenantId};
use tracing::debug;

use crate::effect_sink::EffectSink;
use crate::failpoint::{Failpoint, Passage};
use crate::lease::LeaseWatch;
use crate::outbound::{HttpSettings, Outbound};
use crate::running::{Attempt, Guard, Running};
use crate::steps;

/// Answers host calls on behalf of one worker.
pub struct Services {
    results: Arc<dyn ResultBackend>,
    ledger: Option<Arc<dyn Ledger>>,
    clock: Arc<dyn Clock>,
    pub(crate) running: Running,
    pub(crate) lease: LeaseWatch,
    outbound: Option<Outbound>,
    failpoint: Failpoint,
    sink: EffectSink,
    hostname: String,
}

/// States that Celery keeps for itself; a task may not set them by hand.
const RESERVED_STATES: [&str; 9] = [
    "PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED",
    "IGNORED",
];

/// Bytes that the name of a custom state may have; the column of the SQL backends has that width.
const STATE_BYTES_MAX: usize = 50;

impl Services {
    /// Services that keep custom states in `results` and steps in `ledger`; without one, a guest is
    /// told that there are no steps.
    pub fn new(
        results: Arc<dyn ResultBackend>,
        ledger: Option<Arc<dyn Ledger>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (running, lease, failpoint, sink) = Default::default();
        let hostname = "celery@localhost".into();
        Self { results, ledger, clock, running, lease, outbound: None, failpoint, sink, hostname }
    }

    /// The same for a worker of this node name, which guests may ask for.
    #[must_use]
    pub fn named(self, hostname: &str) -> Self {
        Self { hostname: hostname.into(), ..self }
    }

    /// The same, with a way to other machines; without, nothing that a guest wants sent is sent.
    #[must_use]
    pub fn sending(self, egress: Arc<dyn Egress>, settings: HttpSettings) -> Self {
        Self { outbound: Some(Outbound::new(egress, settings)), ..self }
    }

    /// The same, for a test: it dies at a failpoint, and counts in a sink what leaves.
    #[must_use]
    pub fn on_trial(self, failpoint: Failpoint, sink: EffectSink) -> Self {
        Self { failpoint, sink, ..self }
    }

    /// Registers an attempt for as long as the guard lives.
    pub(crate) fn enter(&self, job: &Arc<Job>, grant: Option<Grant>) -> Guard<'_> {
        self.sink.run(&job.invocation.id, || self.clock.now());
        self.running.enter(job, grant)
    }

    /// The result document of a tenant's call; for tasks that look at others'. Another tenant's is not
    /// there.
    pub(crate) async fn result(
        &self,
        task: &TaskId,
        tenant: &TenantId,
    ) -> Result<Option<String>, PortError> {
        let document = self.results.load(task).await?;
        Ok(document.filter(|document| is_result_of(document, tenant)))
    }

    /// Tells callers something of a call while it runs. That it could not be told harms nobody.
    pub(crate) async fn tell(&self, record: ResultRecord) {
        if let Some(Err(error)) = self.results.store(&[record]).await.pop() {
            debug!(error = &error as &dyn std::error::Error, "Cannot tell that a task begins");
        }
    }

    /// Has expired results deleted.
    pub(crate) async fn clean_up(&self) -> Result<(), PortError> {
        self.results.expire(self.clock.now()).await
    }

    async fn begin_step(
        &self,
        attempt: &Attempt,
        name: &str,
        input: &str,
        doubt: OnDoubt,
    ) -> HostReply {
        let reply = steps::begin(self.ledger.as_deref(), attempt, name, input, doubt).await;
        if let HostReply::StepRun(key) = &reply {
            self.failpoint.pass(Passage::StepBegun);
            self.sink.effect(key, &attempt.job.invocation.id, || self.clock.now());
            self.failpoint.pass(Passage::EffectSent);
        }
        reply
    }

    async fn commit_step(&self, attempt: &Attempt, name: &str, value: &str) -> HostReply {
        let reply = steps::commit(self.ledger.as_deref(), attempt, name, value).await;
        if reply == HostReply::Done {
            self.failpoint.pass(Passage::StepCommitted);
        }
        reply
    }

    async fn progress(&self, attempt: &Attempt, state: &str, meta: &str) -> HostReply {
        if RESERVED_STATES.contains(&state) || state.is_empty() || state.len() > STATE_BYTES_MAX {
            return HostReply::Invalid(format!("{state:?} is not a state that a task may set"));
        }
        let meta = match Json::parse(meta) {
            Ok(meta) => meta,
            Err(error) => return HostReply::Invalid(format!("the meta value is {error}")),
        };
        let record = ResultRecord {
            task_id: attempt.job.invocation.id.clone(),
            state: TaskState::Custom { name: state.into(), meta },
            at: self.clock.now(),
            group: attempt.job.invocation.group.clone(),
            parent_id: attempt.job.invocation.parent_id.clone(),
            children: Vec::new(),
            reply_to: None,
            correlation_id: None,
            extended: None,
            tenant: Some(attempt.job.tenant.id.clone()).filter(|tenant| !tenant.is_default()),
            life: attempt.job.tenant.retention(),
        };
        match self.results.store(&[record]).await.pop() {
            Some(Ok(())) => HostReply::Done,
            Some(Err(error)) => HostReply::Other(error.to_string()),
            None => HostReply::Other("the result backend gave no answer".into()),
        }
    }
}

#[async_trait]
impl HostServices for Services {
    async fn call(&self, number: JobNumber, call: HostCall<'_>) -> HostReply {
        let Some(attempt) = self.running.get(number) else {
            return HostReply::Unavailable("this attempt is not running any more".into());
        };
        match call {
            HostCall::Progress { state, meta } => self.progress(&attempt, state, meta).await,
            HostCall::Request => {
                HostReply::Request(request_text(&attempt.job.invocation, &self.hostname))
            }
            HostCall::StepBegin { name, input, doubt } => {
                self.begin_step(&attempt, name, input, doubt).await
            }
            HostCall::StepCommit { name, value } => self.commit_step(&attempt, name, value).await,
            HostCall::StepAbandon { name } => {
                steps::abandon(self.ledger.as_deref(), &attempt, name).await
            }
            HostCall::Http(call) => match &self.outbound {
                Some(outbound) => outbound.answer(&attempt, &self.lease, *call).await,
                None => HostReply::HttpError(HttpError::NotGranted(call.authority.into())),
            },
        }
    }
}
