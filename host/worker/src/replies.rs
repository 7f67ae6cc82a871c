//! `rpc://`: results as messages to whoever called.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_celery::ResultFormat;
use lovage_core::ports::{Broker, PortError, ResultBackend};
use lovage_core::{Json, Parts, Publication, ResultRecord, TaskId};

/// Celery's `rpc://` over any broker: every state of a task is sent to the queue that its call named
/// for replies. The caller made that queue and is its only reader; nothing can be looked up later.
pub struct Replies {
    broker: Arc<dyn Broker>,
    format: ResultFormat,
    is_persistent: bool,
}

impl Replies {
    /// Results that go to their callers over this broker, with values of this serializer; whether they
    /// survive a restart of the broker is `result_persistent`.
    pub fn new(broker: Arc<dyn Broker>, format: ResultFormat, is_persistent: bool) -> Self {
        // As in Celery, messages with results are never compressed.
        Self { broker, format: format.uncompressed(), is_persistent }
    }

    /// The message; `None` when nobody waits for it.
    fn publication(&self, record: &ResultRecord) -> Option<Publication> {
        let reply_to = record.reply_to.as_deref().filter(|queue| !queue.is_empty())?;
        let label = record.correlation_id.as_deref().unwrap_or(record.task_id.as_str());
        let (content_type, content_encoding) = self.format.serializer.content();
        let mode = if self.is_persistent { 2 } else { 1 };
        let label = Json::string(label);
        Some(Publication {
            exchange: String::new(),
            routing_key: reply_to.into(),
            priority: 0,
            not_before: None,
            parts: Parts {
                content_type: content_type.into(),
                content_encoding: content_encoding.into(),
                headers: "{}".into(),
                properties: format!("{{\"correlation_id\": {label}, \"delivery_mode\": {mode}}}"),
                body: self.format.document(record).into(),
            },
        })
    }
}

#[async_trait]
impl ResultBackend for Replies {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        let messages: Vec<_> = batch.iter().map(|record| self.publication(record)).collect();
        let wanted: Vec<_> = messages.iter().flatten().cloned().collect();
        let sent = if wanted.is_empty() { Ok(()) } else { self.broker.publish(&wanted).await };
        let answer = |message: &Option<Publication>| match &sent {
            Err(error) if message.is_some() => {
                Err(PortError::transient("sending a result", error.to_string()))
            }
            _ => Ok(()),
        };
        messages.iter().map(answer).collect()
    }

    async fn load(&self, _task: &TaskId) -> Result<Option<String>, PortError> {
        let why = "results of rpc:// are sent to their callers and kept nowhere";
        Err(PortError::permanent("loading a result", why))
    }
}
