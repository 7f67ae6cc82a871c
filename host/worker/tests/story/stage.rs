//! A worker among ports that write down what they are asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_celery::{Accept, CloseSettings};
use lovage_core::ports::{Broker, Clock, Ledger, PortError, ResultBackend, Sandbox};
use lovage_core::{
    Claimed, Death, Delivery, Digest, Disposal, Failure, Job, JobNumber, Json, Limits, Manifest,
    Message, Module, Outcome, Publication, Receipt, Report, ResultRecord, TaskId, Timestamp,
};
use lovage_worker::{
    Drained, Failpoint, InOrder, LocalMeter, Modules, OperationSettings, Operations, Options,
    Ports, RateSettings, Services, Shutdown, Worker,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) const SLOTS: usize = 4;
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A worker at work, and everything it said to the outside.
pub(crate) struct Stage {
    world: Arc<World>,
    shutdown: Shutdown,
    worker: JoinHandle<Result<Drained, PortError>>,
}

#[derive(Default)]
pub(crate) struct World {
    story: Mutex<Vec<String>>,
    pub(crate) told: Notify,
    queue: Mutex<VecDeque<Delivery>>,
    receipts: Mutex<u64>,
    outcomes: Mutex<VecDeque<Outcome>>,
    /// How many further stores are refused, and whether that passes.
    refusals: Mutex<(usize, bool)>,
    renewals_fail: Mutex<bool>,
    lost: Mutex<Vec<Receipt>>,
    stuck: Mutex<HashMap<JobNumber, Arc<Notify>>>,
    pub(crate) claimed: Mutex<VecDeque<Claimed>>,
    pub(crate) grants_lost: Mutex<bool>,
    /// How often the ledger's session was renewed.
    pub(crate) renewals: Mutex<u64>,
    /// Whose claims the ledger refuses for good.
    pub(crate) refused: Mutex<Refused>,
}

/// Whose claims a ledger refuses for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Refused {
    #[default]
    Nobody,
    /// Those of the call `refused` of task `demo.add`.
    One,
    Everybody,
}

impl Stage {
    /// A worker whose attempts end like this, in order. Task `demo.stuck` never ends by itself.
    pub(crate) fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        Self::set(outcomes, None)
    }

    /// The same with a ledger whose claims are answered like this, in order, and then as fresh.
    pub(crate) fn with_ledger(
        outcomes: impl IntoIterator<Item = Outcome>,
        claimed: impl IntoIterator<Item = Claimed>,
    ) -> Self {
        Self::set(outcomes, Some(claimed.into_iter().collect()))
    }

    fn set(
        outcomes: impl IntoIterator<Item = Outcome>,
        claimed: Option<VecDeque<Claimed>>,
    ) -> Self {
        let world = Arc::new(World::default());
        world.outcomes.lock().unwrap().extend(outcomes);
        let ledger = claimed.map(|claimed| {
            *world.claimed.lock().unwrap() = claimed;
            Arc::clone(&world) as Arc<dyn Ledger>
        });
        let clock: Arc<dyn Clock> = Arc::clone(&world) as _;
        let services =
            Arc::new(Services::new(Arc::clone(&world) as _, ledger.clone(), Arc::clone(&clock)));
        let modules = Modules::default();
        let text = r#"{"v":1,"module":"demo","tasks":[{"name":"demo.add"},{"name":"demo.stuck"},
            {"name":"demo.guarded","breaker":{"min_calls":1}},
            {"name":"demo.typed","params":["a","b"],"input_schema":
            {"properties":{"a":{"type":"integer"},"b":{"type":"string"}}}}]}"#;
        let module = Module {
            digest: Digest::from_bytes([1; 32]),
            manifest: Manifest::parse(text).unwrap(),
            compiled: "/nowhere".into(),
        };
        modules.add(&Arc::new(module)).unwrap();
        let ports = Ports {
            chords: None,
            broker: Arc::clone(&world) as _,
            settle: Arc::new(InOrder::new(
                Arc::clone(&world) as _,
                Arc::clone(&world) as _,
                ledger.clone(),
            )),
            ledger,
            sandbox: Arc::clone(&world) as _,
            services,
            registry: Arc::new(modules),
            tenants: Arc::default(),
            clock,
            observers: Vec::new(),
            operations: Arc::new(Operations::new(OperationSettings {
                slots: SLOTS,
                slots_max: SLOTS,
                queues: vec!["celery".into()],
                rates: RateSettings::default(),
                shared_rates: None,
                meter: Arc::new(LocalMeter::default()),
            })),
        };
        let options = Options {
            cores: 2,
            joins_tenants: false,
            accept: Accept::default(),
            close: CloseSettings::default(),
            limits: Limits::default(),
            lease: LEASE,
            drain: Duration::from_secs(25),
            failpoint: Failpoint::default(),
        };
        let shutdown = Shutdown::default();
        let worker = tokio::spawn(Worker::new(ports, options).run(shutdown.clone()));
        Self { world, shutdown, worker }
    }

    /// Puts a message into the queue and waits until its story is over.
    pub(crate) async fn deliver(&self, message: &str) {
        self.put(message);
        let over = |step: &String| {
            ["acknowledge", "keep", "release"].iter().any(|word| step.starts_with(word))
                || step == "run" && self.world.outcomes.lock().unwrap().is_empty()
        };
        let before = self.world.story.lock().unwrap().iter().filter(|step| over(step)).count();
        // A story that ends with a run has no closing step to wait for: let it come to rest.
        let _ = tokio::time::timeout(Duration::from_mins(1), async {
            self.until(|story| story.iter().filter(|step| over(step)).count() > before).await;
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await; // because a step too many would come now
    }

    /// Puts a message into the queue.
    pub(crate) fn put(&self, message: &str) {
        let mut receipts = self.world.receipts.lock().unwrap();
        *receipts += 1;
        self.world.queue.lock().unwrap().push_back(Delivery {
            queue: "celery".into(),
            receipt: Receipt(*receipts),
            message: Message::Envelope(Bytes::copy_from_slice(message.as_bytes())),
            redelivered: false,
            deliveries: 1,
        });
    }

    pub(crate) fn waiting(&self) -> usize {
        self.world.queue.lock().unwrap().len()
    }

    /// Waits until the story is so.
    pub(crate) async fn until(&self, is_so: impl Fn(&[String]) -> bool) {
        loop {
            let told = self.world.told.notified();
            if is_so(&self.world.story.lock().unwrap()) {
                return;
            }
            told.await;
        }
    }

    /// Waits until the ledger's session was renewed, as it is when the worker begins.
    pub(crate) async fn until_renewed(&self) {
        loop {
            let told = self.world.told.notified();
            if *self.world.renewals.lock().unwrap() > 0 {
                return;
            }
            told.await;
        }
    }

    /// What was told since this was last asked.
    pub(crate) fn story(&self) -> Vec<String> {
        std::mem::take(&mut *self.world.story.lock().unwrap())
    }

    pub(crate) fn fail_results(&self, times: usize, passes: bool) {
        *self.world.refusals.lock().unwrap() = (times, passes);
    }

    pub(crate) fn lose_grants(&self) {
        *self.world.grants_lost.lock().unwrap() = true;
    }

    pub(crate) fn refuse_claims(&self, whose: Refused) {
        *self.world.refused.lock().unwrap() = whose;
    }

    /// How the worker ended by itself, and what it said until then.
    pub(crate) async fn end(self) -> (Result<Drained, PortError>, Vec<String>) {
        let ended = self.worker.await.unwrap();
        (ended, std::mem::take(&mut *self.world.story.lock().unwrap()))
    }

    pub(crate) fn fail_renewals(&self) {
        *self.world.renewals_fail.lock().unwrap() = true;
    }

    pub(crate) fn lose_leases(&self) {
        let receipts = *self.world.receipts.lock().unwrap();
        self.world.lost.lock().unwrap().extend((1..=receipts).map(Receipt));
    }

    pub(crate) async fn stop_warm(self) -> (Drained, Vec<String>) {
        self.shutdown.warm();
        let drained = self.worker.await.unwrap().unwrap();
        (drained, std::mem::take(&mut *self.world.story.lock().unwrap()))
    }

    pub(crate) async fn stop_cold(self) -> (Drained, Vec<String>) {
        self.shutdown.cold();
        let drained = self.worker.await.unwrap().unwrap();
        let mut story = std::mem::take(&mut *self.world.story.lock().unwrap());
        story.retain(|step| !step.starts_with("cancel"));
        (drained, story)
    }
}

impl World {
    pub(crate) fn tell(&self, step: impl Into<String>) {
        self.story.lock().unwrap().push(step.into());
        self.told.notify_waiters();
    }
}

#[async_trait]
impl Broker for World {
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, PortError> {
        let taken: Vec<_> = {
            let mut queue = self.queue.lock().unwrap();
            let count = most.min(queue.len());
            queue.drain(..count).collect()
        };
        if taken.is_empty() {
            tokio::time::sleep(wait).await; // because an empty queue makes a broker wait
        }
        Ok(taken)
    }

    async fn publish(&self, messages: &[Publication]) -> Result<(), PortError> {
        for message in messages {
            let headers: serde_json::Value = serde_json::from_str(&message.parts.headers).unwrap();
            self.tell(format!(
                "publish {} retries={}",
                message.routing_key,
                headers.get("retries").unwrap()
            ));
        }
        Ok(())
    }

    async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>> {
        for (_, disposal) in batch {
            self.tell(match disposal {
                Disposal::Acknowledge => "acknowledge".into(),
                Disposal::Release(Some(_)) => "release later".into(),
                Disposal::Release(None) => "release".into(),
                Disposal::Keep(kept) => format!("keep {:?}", kept.kind),
            });
        }
        batch.iter().map(|_| Ok(())).collect()
    }

    async fn renew(&self) -> Result<Vec<Receipt>, PortError> {
        if *self.renewals_fail.lock().unwrap() {
            return Err(PortError::Transient { what: "no".into(), source: None });
        }
        Ok(std::mem::take(&mut *self.lost.lock().unwrap()))
    }

    async fn sweep(&self) -> Result<Duration, PortError> {
        Ok(Duration::from_secs(5))
    }

    async fn leave(&self) -> Result<(), PortError> {
        self.tell("leave");
        Ok(())
    }
}

#[async_trait]
impl ResultBackend for World {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        let store = |record: &ResultRecord| {
            let mut refusals = self.refusals.lock().unwrap();
            if refusals.0 > 0 {
                refusals.0 -= 1;
                self.tell("result refused");
                let what = "refused".to_owned();
                return Err(if refusals.1 {
                    PortError::Transient { what, source: None }
                } else {
                    PortError::Permanent { what, source: None }
                });
            }
            self.tell(format!("result {}", record.state.name()));
            Ok(())
        };
        batch.iter().map(store).collect()
    }

    async fn load(&self, _task: &TaskId) -> Result<Option<String>, PortError> {
        Ok(None)
    }
}

#[async_trait]
impl Sandbox for World {
    async fn run(&self, number: JobNumber, job: &Job) -> Report {
        self.tell("run");
        if job.task.name.as_str() == "demo.stuck" {
            let ended = Arc::new(Notify::new());
            self.stuck.lock().unwrap().insert(number, Arc::clone(&ended));
            ended.notified().await;
            return Report::of(killed(Death::LeaseLost));
        }
        let outcome = self.outcomes.lock().unwrap().pop_front();
        Report::of(outcome.unwrap_or_else(|| killed(Death::Trapped)))
    }

    async fn run_alone(&self, number: JobNumber, job: &Job) -> Report {
        self.tell("alone");
        self.run(number, job).await
    }

    fn cancel(&self, number: JobNumber, death: Death) {
        if let Some(ended) = self.stuck.lock().unwrap().remove(&number) {
            self.tell(format!("cancel {death:?}"));
            ended.notify_one();
        }
    }

    async fn describe(&self, _module: &Module) -> Result<Json, Report> {
        Err(Report::of(killed(Death::NotStarted)))
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        // The year 2026: what is due and what is over is told by messages alone.
        Timestamp::from_micros(1_790_000_000_000_000)
    }
}

/// A message of protocol 2 with more headers, as JSON.
pub(crate) fn envelope(task: &str, id: &str, headers: &str) -> String {
    let mut all: serde_json::Value = serde_json::from_str(headers).unwrap();
    all["task"] = task.into();
    all["id"] = id.into();
    serde_json::json!({
        "body": "W1syLCAzXSwge30sIHt9XQ==",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": all,
        "properties": {"body_encoding": "base64", "delivery_tag": id},
    })
    .to_string()
}

pub(crate) fn value(json: &str) -> Outcome {
    Outcome::Succeed(Json::parse(json).unwrap())
}

pub(crate) fn failure() -> Failure {
    Failure::new("builtins", "ValueError", "no")
}

pub(crate) fn killed(death: Death) -> Outcome {
    Outcome::Killed { death, failure: death.failure(&Json::string("dead"), None) }
}
