//! What a queue is like, as Celery's `task_queues` say it.

use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lovage_core::QueueName;

/// A queue with its exchange, as Celery's `task_queues` has them.
#[derive(Debug, Clone, PartialEq)]
pub struct AmqpQueue {
    pub(super) name: QueueName,
    pub(super) exchange: String,
    pub(super) exchange_type: String,
    pub(super) routing_key: String,
    pub(super) arguments: FieldTable,
}

/// Why a text names no queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmqpQueueError {
    /// There is no name in it, or one that is too long for the protocol.
    #[error("it names no queue, or one of more than 255 bytes")]
    Name,
    /// Something behind the name is no setting.
    #[error("`{0}` is none of exchange=…, type=…, key=… and x-…=…")]
    Setting(String),
}

impl AmqpQueue {
    /// A queue as Celery makes one that was not configured: durable, on a direct exchange of the same
    /// name, with a routing key of the same name.
    ///
    /// # Errors
    /// When the name is empty, or too long for the protocol.
    pub fn named(name: &QueueName) -> Result<Self, AmqpQueueError> {
        let text = name.as_str().to_owned();
        if text.is_empty() || text.len() > 255 {
            return Err(AmqpQueueError::Name);
        }
        let exchange_type = "direct".to_owned();
        let arguments = FieldTable::default();
        let (exchange, routing_key) = (text.clone(), text);
        Ok(Self { name: name.clone(), exchange, exchange_type, routing_key, arguments })
    }

    /// Reads `name [exchange=…] [type=…] [key=…] [x-argument=value …]`: what is not said is as
    /// [`named`](Self::named) has it. Values of arguments are integers, `true`, `false` or text.
    ///
    /// # Errors
    /// When something in it is not understood.
    pub fn parse(text: &str) -> Result<Self, AmqpQueueError> {
        let mut words = text.split_ascii_whitespace();
        let mut queue = Self::named(&words.next().unwrap_or_default().into())?;
        for word in words {
            let setting = || AmqpQueueError::Setting(word.to_owned());
            let (name, value) = word.split_once('=').ok_or_else(setting)?;
            if value.len() > 255 {
                return Err(setting());
            }
            match name {
                "exchange" => value.clone_into(&mut queue.exchange),
                "type" => value.clone_into(&mut queue.exchange_type),
                "key" => value.clone_into(&mut queue.routing_key),
                _ if name.starts_with("x-") => queue.set(name, value),
                _ => return Err(setting()),
            }
        }
        Ok(queue)
    }

    /// Sets an argument, unless it is set already.
    pub fn set_default(&mut self, name: &str, value: &str) {
        if !self.arguments.contains_key(name) {
            self.set(name, value);
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        let Ok(name) = ShortString::try_new(name) else { return };
        let value = match (value, value.parse::<i64>()) {
            (_, Ok(number)) => {
                i32::try_from(number).map_or(AMQPValue::LongLongInt(number), AMQPValue::LongInt)
            }
            ("true", _) => AMQPValue::Boolean(true),
            ("false", _) => AMQPValue::Boolean(false),
            _ => AMQPValue::LongString(LongString::from(value.as_bytes())),
        };
        self.arguments.insert(name, value);
    }

    /// The queue's name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Whether it is a quorum queue, as far as its declaration says.
    pub fn is_quorum(&self) -> bool {
        let kind = self.arguments.inner().get("x-queue-type");
        matches!(kind, Some(AMQPValue::LongString(kind)) if kind.as_bytes() == b"quorum")
    }

    /// Where it has its dead letters go, if anywhere.
    pub(super) fn dead_letters(&self) -> Option<DeadLetters> {
        let text = |name| match self.arguments.inner().get(name) {
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            _ => None,
        };
        let exchange = text("x-dead-letter-exchange")?;
        Some(DeadLetters { exchange, routing_key: text("x-dead-letter-routing-key") })
    }

    pub(super) fn is_direct(&self) -> bool {
        self.exchange_type == "direct"
    }
}

/// Where a queue's dead letters go: with the key that they came with, if it names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadLetters {
    pub(super) exchange: String,
    pub(super) routing_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use lapin::types::AMQPValue;

    use super::{AmqpQueue, AmqpQueueError};

    #[test]
    fn a_queue_is_as_celery_makes_it_unless_it_is_said_otherwise() {
        let plain = AmqpQueue::parse("celery").unwrap();
        assert_eq!(plain, AmqpQueue::named(&"celery".into()).unwrap());
        assert!(plain.is_direct() && !plain.is_quorum());
        let text = "video exchange=media type=topic key=video.# x-max-priority=10 \
                    x-queue-type=quorum x-single-active-consumer=true x-expires=9999999999";
        let video = AmqpQueue::parse(text).unwrap();
        assert_eq!((&*video.exchange, &*video.routing_key), ("media", "video.#"));
        assert!(video.is_quorum() && !video.is_direct());
        let argument = |name: &str| video.arguments.inner().get(name).cloned();
        assert_eq!(argument("x-max-priority"), Some(AMQPValue::LongInt(10)));
        assert_eq!(argument("x-single-active-consumer"), Some(AMQPValue::Boolean(true)));
        assert_eq!(argument("x-expires"), Some(AMQPValue::LongLongInt(9_999_999_999)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(AmqpQueue::parse(" "), Err(AmqpQueueError::Name));
        assert_eq!(AmqpQueue::parse(&"n".repeat(256)), Err(AmqpQueueError::Name));
        for word in ["durable=no", "quorum"] {
            let error = AmqpQueueError::Setting(word.to_owned());
            assert_eq!(AmqpQueue::parse(&format!("q {word}")), Err(error));
        }
    }

    #[test]
    fn a_queue_says_where_its_dead_letters_go() {
        let letters = |text| AmqpQueue::parse(text).unwrap().dead_letters();
        assert_eq!(letters("mail"), None);
        let found = letters("mail x-dead-letter-exchange=dead").unwrap();
        assert_eq!((&*found.exchange, found.routing_key), ("dead", None));
        let found = letters("m x-dead-letter-exchange=dead x-dead-letter-routing-key=k").unwrap();
        assert_eq!(found.routing_key.as_deref(), Some("k"));
    }
}
