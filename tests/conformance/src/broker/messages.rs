//! Messages that tests tell apart by their names, and what is done with many of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lovage_core::ports::Broker;
use lovage_core::{Delivery, Disposal, Kept, KeptKind, Message, Parts, Publication, Timestamp};

use super::QUEUE;
use crate::{BrokerRig, PATIENCE};

/// An envelope whose `id` is `name`, as kombu writes one.
pub fn envelope(name: &str) -> Bytes {
    Bytes::from(format!(
        concat!(
            r#"{{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "#,
            r#""content-type": "application/json", "#,
            r#""headers": {{"lang": "py", "task": "demo.add", "id": "{}", "retries": 0}}, "#,
            r#""properties": {{"correlation_id": "1", "delivery_mode": 2, "delivery_info": "#,
            r#"{{"exchange": "", "routing_key": "celery"}}, "priority": 0, "#,
            r#""body_encoding": "base64", "delivery_tag": "tag"}}}}"#
        ),
        name
    ))
}

/// The names under which [`envelope`] made these messages.
pub fn names(deliveries: &[Delivery]) -> Vec<String> {
    let id = |one: &Delivery| {
        let text = String::from_utf8_lossy(bytes_of(one)).into_owned();
        let start = text.split_once(r#""id": ""#)?.1;
        Some(start.split_once('"')?.0.to_owned())
    };
    deliveries.iter().map(|one| id(one).unwrap_or_default()).collect()
}

/// Receives until there are this many deliveries.
pub async fn receive_exactly(session: &dyn Broker, count: usize) -> Vec<Delivery> {
    let mut all: Vec<Delivery> = Vec::new();
    let start = Instant::now();
    while all.len() < count {
        assert!(start.elapsed() < PATIENCE, "only {} of {count} came", all.len());
        all.extend(session.receive(count - all.len(), PATIENCE).await.expect("received"));
    }
    all
}

/// Acknowledges deliveries.
pub async fn acknowledge(session: &dyn Broker, deliveries: &[Delivery]) {
    close_all(session, deliveries, &Disposal::Acknowledge).await;
}

/// Sweeps and receives until there are this many deliveries, as a worker does.
pub async fn swept(session: &dyn Broker, count: usize) -> Vec<Delivery> {
    let mut all: Vec<Delivery> = Vec::new();
    let start = Instant::now();
    while all.len() < count {
        assert!(start.elapsed() < PATIENCE, "only {} of {count} came", all.len());
        let rest = session.sweep().await.expect("swept");
        assert!(rest <= Duration::from_secs(5), "{rest:?} is too long to sleep");
        let wait = rest.clamp(Duration::from_millis(1), PATIENCE);
        all.extend(session.receive(count - all.len(), wait).await.expect("received"));
    }
    all
}

/// A record of a kept message, for this reason.
pub fn kept(reason: &str) -> Kept {
    Kept {
        kind: KeptKind::Dead,
        reason: reason.to_owned(),
        detail: "more, for \"people\" \u{1f33f}".to_owned(),
        task_id: Some("1".into()),
        task: None,
        queue: QUEUE.into(),
        digest: None,
        traceback: None,
        retries: 2,
        deliveries: 3,
        at: Timestamp::from_micros(1_790_000_000_000_000),
        ledger_key: None,
    }
}

/// A publication to the default exchange, named by its number.
pub fn publication(number: usize, not_before: Option<Timestamp>) -> Publication {
    Publication {
        exchange: String::new(),
        routing_key: QUEUE.to_owned(),
        priority: 0,
        not_before,
        parts: Parts {
            content_type: "application/json".to_owned(),
            content_encoding: "utf-8".to_owned(),
            headers: format!(r#"{{"task": "demo.add", "id": "message {number}"}}"#),
            properties: format!(r#"{{"correlation_id": "{number}"}}"#),
            body: Bytes::from(format!("[[{number}, 2], {{}}, {{}}]")),
        },
    }
}

/// Now, by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "a broker's moments are real ones")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_micros(i64::try_from(since.as_micros()).expect("before the year 294,000"))
}

/// The bytes of a delivery that is an envelope; the body of any other.
pub fn bytes_of(delivery: &Delivery) -> &[u8] {
    match &delivery.message {
        Message::Envelope(bytes) => bytes,
        Message::Parts(parts) => &parts.body,
    }
}

/// Where a delivery's headers are.
pub(super) fn head_of(delivery: &Delivery) -> &[u8] {
    match &delivery.message {
        Message::Envelope(bytes) => bytes,
        Message::Parts(parts) => parts.headers.as_bytes(),
    }
}

pub(super) async fn send(rig: &impl BrokerRig, names: &[&str]) {
    for name in names {
        rig.send(QUEUE, 0, envelope(name)).await;
    }
}

pub(super) async fn release(session: &dyn Broker, deliveries: &[Delivery]) {
    close_all(session, deliveries, &Disposal::Release(None)).await;
}

pub(super) async fn close_all(session: &dyn Broker, deliveries: &[Delivery], disposal: &Disposal) {
    let batch: Vec<_> = deliveries.iter().map(|one| (one.receipt, disposal.clone())).collect();
    let answers = session.close(&batch).await;
    assert!(answers.len() == batch.len() && answers.iter().all(Result::is_ok), "{answers:?}");
}

pub(super) fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(super) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}
