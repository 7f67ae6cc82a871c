//! Jobs, verdicts and a broker for tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_celery::{Accept, decode};
use lovage_core::ports::{Broker, PortError};
use lovage_core::{
    Delivery, Digest, Disposal, Failure, Job, Limits, Manifest, Message, Module, Publication,
    QueueSource, Receipt, RetryPolicy, Settlement, TaskSpec, Tenant, TenantId, Timestamp, Verdict,
};

/// A call of `demo.add` that was retried so often.
pub(crate) fn job(retries: u32) -> Job {
    let envelope = format!(
        r#"{{"body": "W1tdLCB7fSwge31d", "content-type": "application/json", "content-encoding":
        "utf-8", "properties": {{"body_encoding": "base64"}}, "headers": {{"task": "demo.add",
        "id": "1", "retries": {retries}}}}}"#
    );
    let delivery = Delivery {
        queue: "celery".into(),
        receipt: Receipt(1),
        message: Message::Envelope(Bytes::from(envelope)),
        redelivered: false,
        deliveries: 1,
    };
    let module = Module {
        digest: Digest::from_bytes([7; 32]),
        manifest: Manifest::parse(r#"{"v": 1, "module": "demo", "tasks": []}"#).unwrap(),
        compiled: "/nowhere".into(),
    };
    Job {
        invocation: decode(delivery, &Accept::default()).unwrap(),
        tenant: Arc::new(Tenant::new(TenantId::default())),
        module: Arc::new(module),
        task: Arc::new(TaskSpec::named("demo.add".into())),
        limits: Limits::default(),
        retry: RetryPolicy::default(),
        key: "1".into(),
        key_is_explicit: false,
    }
}

/// The verdict that such a call is run again.
pub(crate) fn retried(retries: u32, now: Timestamp, at: Timestamp) -> Verdict {
    let Job { invocation, task, .. } = job(retries);
    let failure = Failure::new("builtins", "ValueError", "no");
    Verdict {
        invocation,
        task: Some(task),
        digest: None,
        key_is_explicit: false,
        settlement: Settlement::Retry { failure, at, options: None },
        at: now,
    }
}

/// A broker without messages; it takes from every queue but `refused`.
pub(crate) struct Nowhere;

#[async_trait]
impl Broker for Nowhere {
    async fn receive(&self, _: usize, wait: Duration) -> Result<Vec<Delivery>, PortError> {
        tokio::time::sleep(wait).await;
        Ok(Vec::new())
    }

    async fn publish(&self, _: &[Publication]) -> Result<(), PortError> {
        Ok(())
    }

    async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>> {
        batch.iter().map(|_| Ok(())).collect()
    }

    async fn renew(&self) -> Result<Vec<Receipt>, PortError> {
        Ok(Vec::new())
    }

    async fn sweep(&self) -> Result<Duration, PortError> {
        Ok(Duration::from_secs(5))
    }

    async fn take_from(&self, queues: &[QueueSource]) -> Result<(), PortError> {
        if queues.iter().any(|source| source.queue.as_str() == "refused") {
            return Err(PortError::permanent("taking from a queue", "access refused"));
        }
        Ok(())
    }

    async fn leave(&self) -> Result<(), PortError> {
        Ok(())
    }
}
