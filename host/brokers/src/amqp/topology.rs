//! Exchanges, queues and bindings, as Celery declares them.
//!
//! Both sides of Celery declare what they use, and so does this one: whoever comes first makes it.
//! RabbitMQ refuses a declaration that differs from what is there. Then what is there is used as it
//! is, and the log says so: producers made it, and their messages are in it.

use std::sync::{Arc, PoisonError, RwLock};

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Error, ErrorKind, ExchangeKind};
use lovage_core::ports::PortError;
use lovage_core::{QueueName, QueueSource};
use tracing::warn;

use super::delays::{DELAYED, LEVELS, level, level_name, passed};
use super::link::{AmqpLink, is_otherwise, port_error};

/// A queue with its exchange, as Celery's `task_queues` has them.
#[derive(Debug, Clone, PartialEq)]
pub struct AmqpQueue {
    name: QueueName,
    exchange: String,
    pub(super) exchange_type: String,
    pub(super) routing_key: String,
    arguments: FieldTable,
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

    #[cfg(test)]
    pub(super) fn arguments(&self) -> &FieldTable {
        &self.arguments
    }

    fn is_direct(&self) -> bool {
        self.exchange_type == "direct"
    }
}

/// What a broker's queues are like.
#[derive(Debug)]
pub(super) struct Topology {
    /// Those that are taken from, and those that are otherwise than a queue is by default.
    configured: RwLock<Vec<AmqpQueue>>,
    /// What a queue is like that nobody configured; its name aside.
    pattern: AmqpQueue,
}

impl Topology {
    pub(super) fn new(configured: Vec<AmqpQueue>, pattern: AmqpQueue) -> Arc<Self> {
        Arc::new(Self { configured: RwLock::new(configured), pattern })
    }

    /// The queue of that name, as configured or as any other.
    pub(super) fn queue(&self, name: &QueueName) -> Result<AmqpQueue, PortError> {
        let configured = self.configured.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = configured.iter().find(|queue| queue.name == *name) {
            return Ok(queue.clone());
        }
        let named = AmqpQueue::named(name)
            .map_err(|error| PortError::permanent(format!("declaring queue {name}"), error))?;
        Ok(AmqpQueue { arguments: self.pattern.arguments.clone(), ..named })
    }

    /// Learns how a queue is bound that was named while the worker runs; what is configured stays so.
    pub(super) fn learn(&self, source: &QueueSource) -> Result<(), PortError> {
        let QueueSource { queue, exchange, exchange_type, routing_key } = source;
        let known = self.queue(queue)?;
        let mut configured = self.configured.write().unwrap_or_else(PoisonError::into_inner);
        let is_as_named = *source == QueueSource::named(queue.clone());
        if is_as_named || configured.iter().any(|known| known.name == *queue) {
            return Ok(());
        }
        configured.push(AmqpQueue {
            exchange: exchange.clone(),
            exchange_type: exchange_type.clone(),
            routing_key: routing_key.clone(),
            ..known
        });
        Ok(())
    }

    /// Makes what is missing of these queues, on channels of its own.
    pub(super) async fn declare(
        &self,
        link: &AmqpLink,
        queues: &[QueueName],
    ) -> Result<(), PortError> {
        let mut setup = Setup { link, channel: link.channel("declaring queues").await? };
        let mut wanted = Vec::new();
        for name in queues {
            let queue = self.queue(name)?;
            setup.declare(&queue).await?;
            wanted.push(queue);
        }
        let topics: Vec<_> = wanted.iter().filter(|queue| !queue.is_direct()).collect();
        if wanted.iter().any(AmqpQueue::is_quorum) {
            setup.make_delays().await?;
        }
        if !topics.is_empty() && setup.exists(DELAYED).await? {
            for queue in topics {
                setup.join_delays(queue).await?;
            }
        }
        setup.channel.close(200, "done".into()).await.ok();
        Ok(())
    }
}

/// A channel that is opened anew when the server closes it to refuse something.
struct Setup<'a> {
    link: &'a AmqpLink,
    channel: Channel,
}

impl Setup<'_> {
    /// Declares exchange, queue and binding; what is there otherwise stays as it is.
    async fn declare(&mut self, queue: &AmqpQueue) -> Result<(), PortError> {
        let what = format!("declaring queue {}", queue.name);
        if !queue.exchange.is_empty() {
            let kind = kind(&queue.exchange_type);
            let made = declare_exchange(&self.channel, &queue.exchange, kind, false).await;
            self.unless_otherwise(&what, "its exchange", made).await?;
        }
        let made = declare_queue(&self.channel, queue, false).await;
        if !self.unless_otherwise(&what, "it", made).await? {
            let there = declare_queue(&self.channel, queue, true).await;
            there.map_err(|error| port_error(&what, error))?;
        }
        if !queue.exchange.is_empty() {
            self.bind_queue(queue, &queue.exchange, &queue.routing_key).await?;
        }
        Ok(())
    }

    /// Whether something was declared. What is refused because it is there otherwise, or because
    /// this user may declare nothing, is told once and used as it is.
    async fn unless_otherwise(
        &mut self,
        what: &str,
        which: &str,
        made: Result<(), Error>,
    ) -> Result<bool, PortError> {
        let Err(error) = made else { return Ok(true) };
        if !is_otherwise(&error) && !is_forbidden(&error) {
            return Err(port_error(what, error));
        }
        warn!(%error, "While {what}: {which} is not as configured here, and is used as it is");
        self.channel = self.link.channel(what).await?;
        Ok(false)
    }

    async fn exists(&mut self, exchange: &str) -> Result<bool, PortError> {
        let what = "looking for delayed delivery";
        match declare_exchange(&self.channel, exchange, ExchangeKind::Topic, true).await {
            Ok(()) => Ok(true),
            Err(error) if super::link::is_not_found(&error) || is_forbidden(&error) => {
                self.channel = self.link.channel(what).await?;
                Ok(false)
            }
            Err(error) => Err(port_error(what, error)),
        }
    }

    /// Makes Celery's delayed delivery. A message comes in at the highest level; the dotted bits of
    /// its routing key say in which levels it rests on its way down.
    async fn make_delays(&mut self) -> Result<(), PortError> {
        let what = "declaring delayed delivery";
        for number in (0..LEVELS).rev() {
            let queue = level(number).map_err(|error| PortError::permanent(what, error))?;
            self.declare(&queue).await?;
        }
        let made = declare_exchange(&self.channel, DELAYED, ExchangeKind::Topic, false).await;
        self.unless_otherwise(what, DELAYED, made).await?;
        for level in (0..LEVELS).rev() {
            let next = level.checked_sub(1).map_or_else(|| DELAYED.to_owned(), level_name);
            let key = format!("{}0.#", passed(level));
            self.bind_exchange(&next, &level_name(level), &key).await?;
        }
        Ok(())
    }

    /// Lets a queue have what was delayed on its way to it.
    async fn join_delays(&mut self, queue: &AmqpQueue) -> Result<(), PortError> {
        let key = format!("#.{}", queue.routing_key);
        if ShortString::try_new(key.as_str()).is_err() {
            return Ok(());
        }
        self.bind_exchange(&queue.exchange, DELAYED, &key).await?;
        self.bind_queue(queue, &queue.exchange, &key).await
    }

    async fn bind_queue(
        &self,
        queue: &AmqpQueue,
        exchange: &str,
        key: &str,
    ) -> Result<(), PortError> {
        let name = queue.name.as_str().into();
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(
            name,
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.map_err(|error| port_error(&format!("binding queue {}", queue.name), error))
    }

    async fn bind_exchange(&self, to: &str, from: &str, key: &str) -> Result<(), PortError> {
        let options = ExchangeBindOptions::default();
        let bound = self.channel.exchange_bind(
            to.into(),
            from.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.map_err(|error| port_error(&format!("binding exchange {to}"), error))
    }
}

async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    passive: bool,
) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

pub(super) async fn declare_queue(
    channel: &Channel,
    queue: &AmqpQueue,
    passive: bool,
) -> Result<(), Error> {
    let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
    let arguments = queue.arguments.clone();
    channel.queue_declare(queue.name.as_str().into(), options, arguments).await.map(|_| ())
}

fn is_forbidden(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)))
}

fn kind(name: &str) -> ExchangeKind {
    match name {
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "topic" => ExchangeKind::Topic,
        "headers" => ExchangeKind::Headers,
        other => ExchangeKind::Custom(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::AMQPValue;

    use super::{AmqpQueue, AmqpQueueError, Topology};

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
    fn a_queue_that_nobody_configured_has_the_arguments_of_all() {
        let mut pattern = AmqpQueue::named(&"celery".into()).unwrap();
        pattern.set_default("x-queue-type", "quorum");
        let topology = Topology::new(vec![AmqpQueue::parse("plain").unwrap()], pattern);
        assert!(!topology.queue(&"plain".into()).unwrap().is_quorum());
        let made = topology.queue(&"made".into()).unwrap();
        assert!(made.is_quorum() && made.exchange == "made" && made.routing_key == "made");
    }
}
