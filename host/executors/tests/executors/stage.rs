//! What the tests need around the executors: jobs, services, a way to wait for an event.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::frames::{HostCall, HostReply};
use lovage_core::ports::{HostServices, Sandbox};
use lovage_core::{
    Death, Delivery, Digest, Invocation, Job, JobNumber, Json, Limits, Links, Manifest, Message,
    Module, Outcome, Parts, Receipt, Report, RetryMarks, RetryPolicy, TaskSpec, Tenant, TenantId,
    TimeLimit,
};
use lovage_executors::{Executors, Options};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

/// Answers a step's beginning once as many calls as it was made for have come.
pub(crate) struct Services(pub(crate) Barrier);

#[async_trait]
impl HostServices for Services {
    async fn call(&self, number: JobNumber, call: HostCall<'_>) -> HostReply {
        assert!(matches!(call, HostCall::StepBegin { name: "s", .. }), "{call:?}");
        self.0.wait().await;
        HostReply::StepRun(format!("key {}", number.0))
    }
}

/// Options for `processes` executors of this behaviour.
pub(crate) fn options(behaviour: &str, processes: usize) -> Options {
    let program = std::env::current_exe().unwrap();
    Options { processes, ..Options::new(program, ["executor", behaviour]) }
}

/// Executors with these options that are all ready, and services that answer at once.
pub(crate) async fn start(options: Options) -> Arc<Executors> {
    start_with(options, 1).await
}

/// The same with services that answer `together` calls together.
pub(crate) async fn start_with(options: Options, together: usize) -> Arc<Executors> {
    let services = Arc::new(Services(Barrier::new(together)));
    let executors = Arc::new(Executors::start(options, services).await.unwrap());
    until("all are ready", || executors.states().iter().all(|at| at.process.is_some())).await;
    executors
}

/// A number that no other attempt has.
pub(crate) fn number() -> JobNumber {
    static NEXT: AtomicU64 = AtomicU64::new(1_000);
    JobNumber(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a task beside the test.
pub(crate) fn spawn(executors: &Arc<Executors>, job: Job) -> JoinHandle<Report> {
    let executors = Arc::clone(executors);
    tokio::spawn(async move { executors.run(number(), &job).await })
}

/// Runs a task to its end.
pub(crate) async fn run(executors: &Executors, task: &str) -> Outcome {
    executors.run(number(), &job(task)).await.outcome
}

/// Attempts in all executors.
pub(crate) fn in_flight(executors: &Executors) -> usize {
    executors.states().iter().map(|at| at.in_flight).sum()
}

/// What it died of, if it was killed.
pub(crate) fn death(outcome: &Outcome) -> Option<Death> {
    match outcome {
        Outcome::Killed { death, .. } => Some(*death),
        _ => None,
    }
}

/// The value it returned.
pub(crate) fn value(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Succeed(value) => value.as_str(),
        other => panic!("{other:?}"),
    }
}

/// Waits for something to become true.
pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if is_true() {
            return;
        }
        // Looks again, because nobody tells of what happens in another process.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("waited in vain until {what}");
}

/// Whether there is such a process that has not ended.
pub(crate) fn runs(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Whether there is such a process, or what is left of it until it is reaped.
pub(crate) fn exists(process: u32) -> bool {
    std::fs::exists(format!("/proc/{process}")).unwrap()
}

/// Kills a process.
pub(crate) fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}

/// A module at this path.
pub(crate) fn module(digest: u8, compiled: &str) -> Module {
    let manifest = Manifest {
        v: 1,
        abi: String::new(),
        module: "m".into(),
        language: String::new(),
        tasks: Vec::new(),
    };
    Module { digest: Digest::from_bytes([digest; 32]), manifest, compiled: PathBuf::from(compiled) }
}

/// An attempt of this task.
pub(crate) fn job(task: &str) -> Job {
    Job {
        invocation: invocation(task),
        tenant: Arc::new(Tenant::new(TenantId::default())),
        module: Arc::new(module(1, "/m.cwasm")),
        task: Arc::new(TaskSpec::named(task.into())),
        limits: Limits::default(),
        retry: RetryPolicy::default(),
        key: "key".into(),
        key_is_explicit: false,
    }
}

fn invocation(task: &str) -> Invocation {
    let parts = Parts {
        content_type: String::new(),
        content_encoding: String::new(),
        headers: String::new(),
        properties: String::new(),
        body: Vec::new().into(),
    };
    Invocation {
        errback: None,
        task: task.into(),
        id: format!("id-{task}").into(),
        root_id: Some("root".into()),
        parent_id: None,
        group: None,
        group_index: None,
        retries: 2,
        eta: None,
        expires: None,
        time_limit: TimeLimit::default(),
        ignore_result: None,
        shadow: None,
        reply_to: None,
        correlation_id: None,
        priority: None,
        idempotency_key: None,
        retry: RetryMarks::default(),
        replaced_task_nesting: 0,
        args: Json::parse("[1, 2]").unwrap(),
        kwargs: Json::empty_object(),
        links: Links::default(),
        headers: Json::empty_object(),
        delivery: Delivery {
            queue: "celery".into(),
            receipt: Receipt(1),
            message: Message::Parts(Box::new(parts)),
            redelivered: false,
            deliveries: 1,
        },
    }
}
