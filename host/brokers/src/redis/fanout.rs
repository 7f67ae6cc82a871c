//! What workers tell each other beside the queues, on kombu's channels.
//!
//! kombu's fanout and topic exchanges are channels: `/<database>.celeryev/<routing key>` for events,
//! `/<database>.celery.pidbox` for commands. An answer goes to the asker's own list, which is found by
//! its binding; when the asker is gone, so is the binding, and nothing is left behind.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_celery::{Route, encode_envelope};
use lovage_core::ports::{Fanout, PortError};
use lovage_core::{Message, Notice, Parts, Question, Recipients};
use lovage_redis::{Address, Cmd, Link, LinkOptions, Pipeline, Subscription, Value};
use tokio::time::Instant;

use super::keys::Keyspace;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a [`RedisFanout`] is told.
#[derive(Debug, Clone)]
pub struct RedisFanoutOptions {
    /// The server and the database of the queues.
    pub address: Address,
    /// How lists are named.
    pub keys: Keyspace,
    /// The exchange of events, Celery's `event_exchange`.
    pub event_exchange: String,
    /// The name before the exchanges of commands and answers, Celery's `control_exchange`.
    pub control_exchange: String,
}

impl RedisFanoutOptions {
    /// Everything as Celery has it by default.
    pub fn new(address: Address) -> Self {
        let (event_exchange, control_exchange) = ("celeryev".into(), "celery".into());
        Self { address, keys: Keyspace::default(), event_exchange, control_exchange }
    }
}

/// Events, commands and answers over Redis.
#[derive(Debug)]
pub struct RedisFanout {
    options: RedisFanoutOptions,
    commands: Subscription,
    /// Sends, and answers at once.
    outlet: Link,
    /// Waits for answers.
    answers: Link,
}

impl RedisFanout {
    /// A fanout; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(options: RedisFanoutOptions) -> Result<Self, PortError> {
        let address = &options.address;
        let link = |role| Link::new(address, LinkOptions::new(role, PATIENCE));
        let channel = options.channel(&options.commands());
        let commands = Subscription::new(address, channel)?;
        let (outlet, answers) = (link("fanout")?, link("answers")?);
        Ok(Self { options, commands, outlet, answers })
    }

    async fn answer(
        &self,
        exchange: &str,
        routing_key: &str,
        parts: &Parts,
    ) -> Result<(), PortError> {
        let Keyspace { prefix, separator, .. } = &self.options.keys;
        let mut members = Cmd::new();
        members.arg("SMEMBERS").arg(self.options.keys.bindings(exchange));
        let bound = self.outlet.run("looking for the asker", &members).await?;
        let (Value::Array(bound) | Value::Set(bound)) = bound else { return Ok(()) };
        for binding in bound {
            let Value::BulkString(binding) = binding else { continue };
            let Ok(binding) = String::from_utf8(binding) else { continue };
            let mut fields = binding.split(separator.as_str());
            let (key, queue) = (fields.next(), fields.nth(1));
            if let (true, Some(queue)) = (key == Some(routing_key), queue) {
                let mut push = Cmd::new();
                push.arg("LPUSH").arg(format!("{prefix}{queue}"));
                push.arg(envelope(parts, exchange, routing_key));
                self.outlet.run("answering a command", &push).await?;
            }
        }
        Ok(())
    }

    /// Collects what comes into a mailbox until the wait is over.
    async fn collect(&self, list: &str, question: &Question) -> Result<Vec<Message>, PortError> {
        let (end, mut messages) = (Instant::now() + question.wait, Vec::new());
        let most = question.answers_max.unwrap_or(usize::MAX);
        while messages.len() < most {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut pop = Cmd::new();
            // Well inside the link's patience; and never 0, which would be for ever.
            let left = left.min(PATIENCE / 2).max(Duration::from_millis(10));
            pop.arg("BRPOP").arg(list).arg(left.as_secs_f64());
            if let Value::Array(found) = self.answers.run("waiting for answers", &pop).await?
                && let Some(Value::BulkString(envelope)) = found.into_iter().nth(1)
            {
                messages.push(Message::Envelope(envelope.into()));
            }
        }
        Ok(messages)
    }
}

#[async_trait]
impl Fanout for RedisFanout {
    async fn tell(&self, notices: &[Notice]) -> Result<(), PortError> {
        let mut publish = Pipeline::new();
        for Notice { to, parts } in notices {
            match to {
                Recipients::Listeners { routing_key } => {
                    let exchange = &self.options.event_exchange;
                    let channel = format!("{}/{routing_key}", self.options.channel(exchange));
                    let envelope = envelope(parts, exchange, routing_key);
                    publish.cmd("PUBLISH").arg(channel).arg(envelope).ignore();
                }
                Recipients::Asker { exchange, routing_key } => {
                    self.answer(exchange, routing_key, parts).await?;
                }
            }
        }
        if !publish.is_empty() {
            self.outlet.run_all("sending events", &publish).await?;
        }
        Ok(())
    }

    async fn listen(&self) -> Result<(), PortError> {
        self.commands.listen().await
    }

    async fn command(&self) -> Result<Message, PortError> {
        Ok(Message::Envelope(Bytes::from(self.commands.next().await?)))
    }

    fn answers_exchange(&self) -> String {
        format!("reply.{}", self.options.commands())
    }

    async fn ask(&self, question: Question) -> Result<Vec<Message>, PortError> {
        let exchange = self.options.commands();
        let mut publish = Cmd::new();
        publish.arg("PUBLISH").arg(self.options.channel(&exchange));
        publish.arg(envelope(&question.parts, &exchange, ""));
        let Some(mailbox) = &question.mailbox else {
            self.outlet.run("sending a command", &publish).await?;
            return Ok(Vec::new());
        };
        let Keyspace { prefix, separator, .. } = &self.options.keys;
        let replies = self.answers_exchange();
        let bindings = self.options.keys.bindings(&replies);
        let list = format!("{mailbox}.{replies}");
        let binding = format!("{mailbox}{separator}{separator}{list}");
        let list = format!("{prefix}{list}");
        let mut bind = Cmd::new();
        bind.arg("SADD").arg(&bindings).arg(&binding);
        self.outlet.run("binding a mailbox", &bind).await?;
        let answers = async {
            self.outlet.run("sending a command", &publish).await?;
            self.collect(&list, &question).await
        };
        let answers = answers.await;
        let mut unbind = Pipeline::new();
        unbind.cmd("SREM").arg(&bindings).arg(&binding).ignore();
        unbind.cmd("DEL").arg(&list).ignore();
        self.outlet.run_all("leaving a mailbox", &unbind).await?;
        answers
    }
}

impl RedisFanoutOptions {
    /// The exchange of commands.
    fn commands(&self) -> String {
        format!("{}.pidbox", self.control_exchange)
    }

    /// The channel of an exchange.
    fn channel(&self, exchange: &str) -> String {
        format!("{}/{}.{exchange}", self.keys.prefix, self.address.database())
    }
}

fn envelope(parts: &Parts, exchange: &str, routing_key: &str) -> String {
    let tag = uuid::Uuid::new_v4().to_string();
    encode_envelope(parts, Route { exchange, routing_key, priority: 0, delivery_tag: &tag })
}
