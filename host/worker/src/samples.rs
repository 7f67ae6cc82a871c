//! Jobs and verdicts for tests.

use std::sync::Arc;

use bytes::Bytes;
use lovage_celery::{Accept, decode};
use lovage_core::{
    Delivery, Digest, Failure, Job, Limits, Manifest, Message, Module, Receipt, RetryPolicy,
    Settlement, TaskSpec, Tenant, TenantId, Timestamp, Verdict,
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
