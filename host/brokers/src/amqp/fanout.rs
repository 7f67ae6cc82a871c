//! What workers tell each other beside the queues, on Celery's exchanges.
//!
//! Events go to a topic exchange, commands come from a fanout exchange into a queue of the worker's own,
//! and an answer goes to the asker's. Nothing of it is confirmed or kept. It has a connection of its
//! own: queues that are locked to a connection go with it, and a server that stops reading what is
//! published keeps nobody else waiting.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer, ExchangeKind};
use lovage_core::ports::{Fanout, PortError};
use lovage_core::{Message, Notice, Parts, Question, Recipients};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::AmqpAddress;
use super::link::{AmqpLink, AmqpLinkOptions, is_otherwise, port_error};
use super::parts::{Incoming, properties_of};

/// How long a queue that nobody listens to is kept, in milliseconds, as Celery has it.
const QUEUE_MS: i32 = 10_000;

/// How long a command or an answer waits for its reader, in milliseconds, as Celery has it.
const MESSAGE_MS: i32 = 300_000;

/// What an [`AmqpFanout`] is told.
#[derive(Debug, Clone)]
pub struct AmqpFanoutOptions {
    /// The servers and the virtual host.
    pub address: AmqpAddress,
    /// This worker's name, which its queue of commands has: only one worker may have it.
    pub hostname: String,
    /// The exchange of events, Celery's `event_exchange`.
    pub event_exchange: String,
    /// The name before the exchanges of commands and answers, Celery's `control_exchange`.
    pub control_exchange: String,
}

/// Events, commands and answers over RabbitMQ.
#[derive(Debug)]
pub struct AmqpFanout {
    options: AmqpFanoutOptions,
    link: AmqpLink,
    outlet: Mutex<Option<Outlet>>,
    commands: Mutex<Option<Consumer>>,
}

#[derive(Debug, Clone)]
struct Outlet {
    connection: Arc<Connection>,
    channel: Channel,
}

impl AmqpFanout {
    /// A fanout; it connects at the first call.
    pub fn new(options: AmqpFanoutOptions) -> Self {
        let link = AmqpLink::new(options.address.clone(), AmqpLinkOptions::new("lovage fanout"));
        Self { options, link, outlet: Mutex::default(), commands: Mutex::default() }
    }

    fn commands_exchange(&self) -> String {
        format!("{}.pidbox", self.options.control_exchange)
    }

    /// The channel that is published on, opened now if there is none that works.
    async fn outlet(&self) -> Result<Outlet, PortError> {
        let mut open = self.outlet.lock().await;
        if let Some(open) = &*open
            && open.channel.status().connected()
        {
            return Ok(open.clone());
        }
        let what = "opening a channel for events";
        let connection = self.link.connection(what).await?;
        let mut channel = self.link.channel(what).await?;
        for (exchange, kind, durable) in [
            (self.options.event_exchange.clone(), ExchangeKind::Topic, true),
            (self.answers_exchange(), ExchangeKind::Direct, false),
            (self.commands_exchange(), ExchangeKind::Fanout, false),
        ] {
            channel = self.exchange(channel, &exchange, kind, durable).await?;
        }
        Ok(open.insert(Outlet { connection, channel }).clone())
    }

    /// Makes an exchange; one that is there otherwise is used as it is, on a new channel.
    async fn exchange(
        &self,
        channel: Channel,
        name: &str,
        kind: ExchangeKind,
        durable: bool,
    ) -> Result<Channel, PortError> {
        let what = format!("declaring exchange {name}");
        let options = ExchangeDeclareOptions { durable, ..Default::default() };
        match channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await {
            Ok(()) => Ok(channel),
            Err(error) if is_otherwise(&error) => self.link.channel(&what).await,
            Err(error) => Err(port_error(&what, error)),
        }
    }

    /// A queue of ours alone that is bound to an exchange, and its consumer.
    async fn consume(&self, queue: &str, exchange: &str, key: &str) -> Result<Consumer, PortError> {
        let what = format!("listening on queue {queue}");
        let failed = |error| port_error(&what, error);
        let channel = self.link.channel(&what).await?;
        let kind = if key.is_empty() { ExchangeKind::Fanout } else { ExchangeKind::Direct };
        let channel = self.exchange(channel, exchange, kind, false).await?;
        let mut arguments = FieldTable::default();
        for (name, value) in [("x-expires", QUEUE_MS), ("x-message-ttl", MESSAGE_MS)] {
            arguments.insert(name.into(), AMQPValue::LongInt(value));
        }
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        channel.queue_declare(queue.into(), options, arguments).await.map_err(failed)?;
        let options = QueueBindOptions::default();
        let nothing = FieldTable::default;
        let bound =
            channel.queue_bind(queue.into(), exchange.into(), key.into(), options, nothing());
        bound.await.map_err(failed)?;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        channel.basic_consume(queue.into(), "".into(), options, nothing()).await.map_err(failed)
    }

    async fn publish(&self, exchange: &str, key: &str, parts: &Parts) -> Result<(), PortError> {
        let what = "sending an event or an answer";
        let Outlet { connection, channel } = self.outlet().await?;
        if connection.status().blocked() {
            // It would wait in our memory for as long as the alarm lasts.
            return Err(PortError::transient(what, "the server takes no messages at the moment"));
        }
        let options = BasicPublishOptions::default();
        let properties = properties_of(parts, 0, true);
        let sent =
            channel.basic_publish(exchange.into(), key.into(), options, &parts.body, properties);
        sent.await.map(|_| ()).map_err(|error| port_error(what, error))
    }

    /// Collects answers until the wait is over.
    async fn collect(mut answers: Consumer, question: &Question) -> Vec<Message> {
        let (end, mut messages) = (Instant::now() + question.wait, Vec::new());
        let most = question.answers_max.unwrap_or(usize::MAX);
        while messages.len() < most {
            match tokio::time::timeout_at(end, answers.next()).await {
                Ok(Some(Ok(delivery))) => messages.push(message(delivery)),
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        messages
    }
}

#[async_trait]
impl Fanout for AmqpFanout {
    async fn tell(&self, notices: &[Notice]) -> Result<(), PortError> {
        for Notice { to, parts } in notices {
            match to {
                Recipients::Listeners { routing_key } => {
                    self.publish(&self.options.event_exchange, routing_key, parts).await?;
                }
                Recipients::Asker { exchange, routing_key } => {
                    self.publish(exchange, routing_key, parts).await?;
                }
            }
        }
        Ok(())
    }

    async fn listen(&self) -> Result<(), PortError> {
        let mut commands = self.commands.lock().await;
        if commands.is_none() {
            let exchange = self.commands_exchange();
            let queue = format!("{}.{exchange}", self.options.hostname);
            *commands = Some(self.consume(&queue, &exchange, "").await?);
        }
        Ok(())
    }

    async fn command(&self) -> Result<Message, PortError> {
        self.listen().await?;
        let mut commands = self.commands.lock().await;
        let next = match &mut *commands {
            Some(consumer) => consumer.next().await,
            None => None,
        };
        if let Some(Ok(delivery)) = next {
            return Ok(message(delivery));
        }
        *commands = None;
        let what = "listening for commands";
        Err(match next {
            Some(Err(error)) => PortError::transient(what, error),
            _ => PortError::transient(what, "the server ended it"),
        })
    }

    fn answers_exchange(&self) -> String {
        format!("reply.{}", self.commands_exchange())
    }

    async fn ask(&self, question: Question) -> Result<Vec<Message>, PortError> {
        let exchange = self.commands_exchange();
        let Some(mailbox) = &question.mailbox else {
            self.publish(&exchange, "", &question.parts).await?;
            return Ok(Vec::new());
        };
        let replies = self.answers_exchange();
        let queue = format!("{mailbox}.{replies}");
        // The queue goes with its consumer.
        let answers = self.consume(&queue, &replies, mailbox).await?;
        self.publish(&exchange, "", &question.parts).await?;
        Ok(Self::collect(answers, &question).await)
    }
}

fn message(delivery: lapin::message::Delivery) -> Message {
    Message::Parts(Box::new(Incoming::new(delivery).parts()))
}
