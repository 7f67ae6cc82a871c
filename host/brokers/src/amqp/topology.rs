//! Exchanges, queues and bindings, as Celery declares them.
//!
//! Both sides of Celery declare what they use, and so does this one: whoever comes first makes it.
//! RabbitMQ refuses a declaration that differs from what is there. Then what is there is used as it
//! is, and the log says so: producers made it, and their messages are in it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Error, ErrorKind, ExchangeKind};
use lovage_core::ports::PortError;
use lovage_core::{QueueName, QueueSource};
use tracing::warn;

use super::delays::{DELAYED, LEVELS, level, level_name, passed};
use super::link::{AmqpLink, is_otherwise, port_error};
use super::queue::{AmqpQueue, DeadLetters};

/// What a broker's queues are like.
#[derive(Debug)]
pub(super) struct Topology {
    /// Those that are taken from, and those that are otherwise than a queue is by default.
    configured: RwLock<Vec<AmqpQueue>>,
    /// What a queue is like that nobody configured; its name aside.
    pattern: AmqpQueue,
    /// Those that are at the server as they are said to be.
    agreed: RwLock<HashSet<QueueName>>,
}

impl Topology {
    pub(super) fn new(configured: Vec<AmqpQueue>, pattern: AmqpQueue) -> Arc<Self> {
        let agreed = RwLock::default();
        Arc::new(Self { configured: RwLock::new(configured), pattern, agreed })
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

    /// Where the server has a queue's dead letters go, if that is known: it is by its declaration, and
    /// the server has agreed to it.
    pub(super) fn dead_letters(&self, name: &QueueName) -> Option<DeadLetters> {
        let agreed = self.agreed.read().unwrap_or_else(PoisonError::into_inner).contains(name);
        agreed.then(|| self.queue(name).ok()?.dead_letters()).flatten()
    }

    /// The queues that were configured.
    pub(super) fn configured(&self) -> Vec<QueueName> {
        let configured = self.configured.read().unwrap_or_else(PoisonError::into_inner);
        configured.iter().map(|queue| queue.name.clone()).collect()
    }

    fn note(&self, name: &QueueName, is_agreed: bool) {
        let mut agreed = self.agreed.write().unwrap_or_else(PoisonError::into_inner);
        if is_agreed {
            agreed.insert(name.clone());
        } else {
            agreed.remove(name);
        }
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
            let is_agreed = setup.declare(&queue).await?;
            self.note(name, is_agreed);
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
    /// Declares exchange, queue and binding; what is there otherwise stays as it is. Returns whether
    /// the queue is as it was declared.
    async fn declare(&mut self, queue: &AmqpQueue) -> Result<bool, PortError> {
        let what = format!("declaring queue {}", queue.name);
        if !queue.exchange.is_empty() {
            let kind = kind(&queue.exchange_type);
            let made = declare_exchange(&self.channel, &queue.exchange, kind, false).await;
            self.unless_otherwise(&what, "its exchange", made).await?;
        }
        let made = declare_queue(&self.channel, queue, false).await;
        let is_agreed = self.unless_otherwise(&what, "it", made).await?;
        if !is_agreed {
            let there = declare_queue(&self.channel, queue, true).await;
            there.map_err(|error| port_error(&what, error))?;
        }
        if !queue.exchange.is_empty() {
            self.bind_queue(queue, &queue.exchange, &queue.routing_key).await?;
        }
        Ok(is_agreed)
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
    use super::super::queue::AmqpQueue;
    use super::Topology;

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
