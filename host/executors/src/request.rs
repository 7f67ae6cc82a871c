//! What a worker asks of an executor: one attempt of a task, or a module's manifest.

use std::time::Duration;

use lovage_core::frames::{self, Attempt, Entry, FrameError, ModuleNumber, Run, Share, ToExecutor};
use lovage_core::{Job, JobNumber, Limits, Module, TaskId, TenantId, Timestamp};

/// The limits under which a module says what it is: no more than a catalog needs, because nobody has
/// agreed to run it yet.
pub(crate) const DESCRIBE_LIMITS: Limits = Limits {
    fuel: 1_000_000_000,
    memory_bytes: 64 << 20,
    time: Duration::from_secs(5),
    soft_time: None,
    cpu_time: Duration::from_secs(5),
    host_call_bytes: 1 << 20,
    host_calls: 100,
    argument_bytes: 0,
    result_bytes: 1 << 20,
    log_bytes: 16 << 10,
    log_lines: 100,
    outbox_calls: 0,
};

/// Something to run.
pub(crate) struct Request<'a> {
    /// Its number.
    pub(crate) number: JobNumber,
    /// The module to run it in.
    pub(crate) module: &'a Module,
    /// What it may use.
    pub(crate) limits: Limits,
    /// The task to run; `None` asks for the manifest.
    pub(crate) job: Option<&'a Job>,
}

impl<'a> Request<'a> {
    /// One attempt.
    pub(crate) fn run(number: JobNumber, job: &'a Job) -> Self {
        Self { number, module: &job.module, limits: job.limits, job: Some(job) }
    }

    /// The question what a module is.
    pub(crate) fn describe(number: JobNumber, module: &'a Module) -> Self {
        Self { number, module, limits: DESCRIBE_LIMITS, job: None }
    }

    /// The id of the call that this is an attempt of.
    pub(crate) fn task_id(&self) -> Option<&'a TaskId> {
        self.job.map(|job| &job.invocation.id)
    }

    /// How often the call took another's place.
    pub(crate) fn nesting(&self) -> u32 {
        self.job.map_or(0, |job| job.invocation.replaced_task_nesting)
    }

    /// Whose it is; `None` when a module is asked for its manifest.
    pub(crate) fn tenant(&self) -> Option<&'a TenantId> {
        self.job.map(|job| &job.tenant.id)
    }

    /// Bytes of its arguments.
    pub(crate) fn argument_bytes(&self) -> usize {
        self.job.map_or(0, |job| {
            job.invocation.args.as_str().len() + job.invocation.kwargs.as_str().len()
        })
    }

    /// Appends its frame.
    ///
    /// # Errors
    /// When it is larger than a frame may be.
    pub(crate) fn append(
        &self,
        buffer: &mut Vec<u8>,
        module: ModuleNumber,
    ) -> Result<(), FrameError> {
        let times = self.job.map(|job| (iso(job.invocation.eta), iso(job.invocation.expires)));
        let (eta, expires) = times.unwrap_or_default();
        let entry = self.job.map_or(Entry::Describe, |job| {
            Entry::Task(Box::new(attempt(job, eta.as_deref(), expires.as_deref())))
        });
        let share = self
            .job
            .filter(|job| job.task.reuse > 1)
            .map(|job| Share { attempts: job.task.reuse, tenant: job.tenant.id.as_str() });
        let run = Run { job: self.number, module, entry, limits: self.limits, share };
        frames::append(buffer, &ToExecutor::Run(run))
    }
}

fn attempt<'a>(job: &'a Job, eta: Option<&'a str>, expires: Option<&'a str>) -> Attempt<'a> {
    let call = &job.invocation;
    Attempt {
        task: call.task.as_str(),
        args: call.args.as_str(),
        kwargs: call.kwargs.as_str(),
        id: call.id.as_str(),
        root_id: call.root_id.as_ref().map(TaskId::as_str),
        parent_id: call.parent_id.as_ref().map(TaskId::as_str),
        group: call.group.as_ref().map(TaskId::as_str),
        nesting: call.replaced_task_nesting,
        in_chord: call.links.chord.is_some(),
        retries: call.retries,
        max_retries: job.retry.max_retries,
        key: &job.key,
        queue: call.queue().as_str(),
        eta,
        expires,
        redelivered: call.delivery.redelivered,
        headers: call.headers.as_str(),
    }
}

/// ISO 8601 in UTC; `None` also for a moment outside the years that the format can write.
fn iso(moment: Option<Timestamp>) -> Option<String> {
    jiff::Timestamp::from_microsecond(moment?.as_micros()).ok().map(|moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use lovage_core::Timestamp;

    use super::iso;

    #[test]
    fn moments_are_written_as_iso_8601_in_utc() {
        let moment = |micros| iso(Some(Timestamp::from_micros(micros)));
        assert_eq!(moment(1_700_000_000_250_000).as_deref(), Some("2023-11-14T22:13:20.25Z"));
        assert_eq!(moment(i64::MAX), None);
        assert_eq!(iso(None), None);
    }
}
