//! `rpc://`: results as messages to whoever called.

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::ShortString;
use lovage_celery::ResultFormat;
use lovage_core::ports::{PortError, ResultBackend};
use lovage_core::{ResultRecord, TaskId};

use super::broker::AmqpBroker;
use super::outlet::Outgoing;

/// Celery's `rpc://`: every state of a task is sent to the queue that its call named for replies. The
/// caller made that queue and is its only reader; nothing can be looked up later, and what nobody
/// waits for any more is dropped.
#[derive(Clone)]
pub struct AmqpReplies {
    broker: AmqpBroker,
    /// 2 keeps replies over a restart of the server (`result_persistent`), 1 does not.
    delivery_mode: u8,
    format: ResultFormat,
}

impl AmqpBroker {
    /// Results that go to their callers over this broker, with values of this serializer; as in Celery
    /// they are never compressed.
    pub fn replies(&self, is_persistent: bool, format: ResultFormat) -> AmqpReplies {
        let delivery_mode = if is_persistent { 2 } else { 1 };
        AmqpReplies { broker: self.clone(), delivery_mode, format: format.uncompressed() }
    }
}

#[async_trait]
impl ResultBackend for AmqpReplies {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        let wanted: Vec<_> = batch
            .iter()
            .filter_map(|record| Some((record.reply_to.as_deref()?, record)))
            .filter(|(reply_to, _)| !reply_to.is_empty())
            .map(|(reply_to, record)| (reply_to, record, self.format.document(record)))
            .collect();
        let outgoing = wanted.iter().map(|(reply_to, record, document)| Outgoing {
            exchange: "",
            routing_key: reply_to,
            properties: self.properties(record),
            body: document,
            mandatory: false,
        });
        let sent = self.broker.inner.outlet.publish(&outgoing.collect::<Vec<_>>()).await;
        let answer = |record: &ResultRecord| match &sent {
            Err(error) if record.reply_to.is_some() => {
                Err(PortError::transient("sending a result", error.to_string()))
            }
            _ => Ok(()),
        };
        batch.iter().map(answer).collect()
    }

    async fn load(&self, _task: &TaskId) -> Result<Option<String>, PortError> {
        let why = "results of rpc:// are sent to their callers and kept nowhere";
        Err(PortError::permanent("loading a result", why))
    }
}

impl AmqpReplies {
    fn properties(&self, record: &ResultRecord) -> BasicProperties {
        let label = record.correlation_id.as_deref().unwrap_or(record.task_id.as_str());
        let (content_type, content_encoding) = self.format.serializer.content();
        let properties = BasicProperties::default()
            .with_content_type(content_type.into())
            .with_content_encoding(content_encoding.into())
            .with_delivery_mode(self.delivery_mode)
            .with_priority(0);
        match ShortString::try_new(label) {
            Ok(label) => properties.with_correlation_id(label),
            Err(_) => properties,
        }
    }
}
