//! What is due of what waited with the store.
//!
//! It was taken from its queue before, or its moment has come: it would be last on a queue on which a
//! backlog waits. So workers that take from its queue take it from the store, first and into free slots
//! only, and for a moment it is left there for them. After that it is published, for whoever has a slot.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use lovage_celery::parts_of_envelope;
use lovage_core::ports::PortError;
use lovage_core::{Delivery, Message, Parts, QueueName, Waiting};
use tracing::error;

use super::broker::{Inner, Live};
use super::outlet::Outgoing;
use super::parts::{Incoming, priority_of, properties_of};
use super::session::Part;

/// Messages that are lent together.
const LOAN_MAX: usize = 256;

/// As many at least: what there is no slot for may be for somebody else.
const LOAN_MIN: usize = 16;

/// How long a loan is: whoever dies with one has others wait for so long.
const LOAN: Duration = Duration::from_secs(15);

/// How long a message rests that the server refused for good.
const REST: Duration = Duration::from_mins(1);

/// How the names of kept messages begin that are replayed: those go behind what waits.
const REPLAYED: &str = "kept ";

/// How long what is due is left to workers of its queue.
const LEFT: Duration = Duration::from_secs(5);

impl Inner {
    /// Takes what is due, or publishes it; returns how long until the next is.
    pub(super) async fn wake_due(&self) -> Result<Option<Duration>, PortError> {
        loop {
            let most = self.live().loan_max();
            let due = self.custody.due(most, LOAN).await?;
            if due.messages.is_empty() {
                self.live().more_is_due = false;
                self.due_in(due.next);
                return Ok(due.next);
            }
            let messages = self.take_due(due.messages).await?;
            if messages.is_empty() && self.live().more_is_due {
                self.due_in(Some(LEFT));
                return Ok(Some(LEFT));
            }
            if self.publish_due(&messages).await.is_ok() {
                let names: Vec<_> = messages.into_iter().map(|message| message.name).collect();
                if !names.is_empty() {
                    self.custody.forget(&names).await?;
                }
                continue;
            }
            // One by one, so that one that the server will never take keeps no other.
            for message in messages {
                match self.publish_due(std::slice::from_ref(&message)).await {
                    Ok(()) => self.custody.forget(&[message.name]).await?,
                    Err(refused) if !refused.is_transient() => {
                        error!(
                            error = &refused as &dyn std::error::Error,
                            "A message that is due cannot be published; trying again in a minute"
                        );
                        let due = self.clock.now().after(REST);
                        self.custody.put_off(&[Waiting { due, ..message }]).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Takes what there is a free slot for, from the queues that are taken from, and leaves for a
    /// moment what there is none for; returns the rest.
    ///
    /// The store is told first: what a worker holds of it is extended with its lease, and somebody
    /// else's when the worker is dead.
    async fn take_due(&self, messages: Vec<Waiting>) -> Result<Vec<Waiting>, PortError> {
        let now = self.clock.now();
        let (mut ours, mut left, mut others) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut live = self.live();
            let room = live.room();
            for message in messages {
                let is_ours = live.takes_from(&message);
                if is_ours && ours.len() < room {
                    ours.push(message);
                } else if is_ours && now < message.due.after(LEFT) {
                    left.push(message);
                } else {
                    others.push(message);
                }
            }
            live.more_is_due = !left.is_empty();
        }
        let until = now.after(self.options.lease * 2);
        let held = ours.iter().map(|message| Waiting { due: until, ..message.clone() });
        let told: Vec<_> = held.chain(left).collect();
        if !told.is_empty() {
            self.custody.put_off(&told).await?;
        }
        if ours.is_empty() {
            return Ok(others);
        }
        let mut live = self.live();
        for message in ours {
            live.take_stored(message);
        }
        drop(live);
        self.changed.notify_one();
        Ok(others)
    }

    async fn publish_due(&self, messages: &[Waiting]) -> Result<(), PortError> {
        let parts: Vec<_> = messages.iter().map(|message| read(&message.message)).collect();
        let outgoing = messages.iter().zip(&parts).map(|(message, parts)| Outgoing {
            exchange: &message.exchange,
            routing_key: &message.routing_key,
            properties: properties_of(parts, priority_of(parts), false),
            body: &parts.body,
            mandatory: true,
        });
        self.outlet.publish(&outgoing.collect::<Vec<_>>()).await
    }
}

impl Live {
    /// How many messages are lent at once: where deliveries are asked for, not many more than there
    /// are slots for.
    fn loan_max(&self) -> usize {
        if self.channel.is_none() { LOAN_MAX } else { self.room().clamp(LOAN_MIN, LOAN_MAX) }
    }

    /// Slots that nothing is in work in; none where nobody asks for deliveries.
    fn room(&self) -> usize {
        let slots = if self.channel.is_some() { usize::from(self.slots) } else { 0 };
        slots.saturating_sub(self.held.count())
    }

    fn takes_from(&self, message: &Waiting) -> bool {
        let is_on = |queue: &QueueName| queue.as_str() == message.routing_key;
        let is_direct = self.channel.is_some() && message.exchange.is_empty();
        let is_replayed = message.name.starts_with(REPLAYED);
        is_direct && !is_replayed && self.queues.iter().any(is_on)
    }

    fn take_stored(&mut self, message: Waiting) {
        let Waiting { name, routing_key, message, .. } = message;
        let Some(message) = Incoming::stored(&read(&message), &routing_key) else { return };
        let queue = QueueName::from(routing_key);
        let (parts, deliveries) = (message.parts(), message.deliveries);
        let receipt = self.held.take_stored(queue.clone(), name, message);
        self.returned.push_back(Delivery {
            queue,
            receipt,
            message: Message::Parts(Box::new(parts)),
            redelivered: deliveries > 1,
            deliveries,
        });
    }

    /// Deliveries that the server may have ahead of their answers.
    pub(super) fn ahead(&self) -> u16 {
        self.slots.saturating_sub(u16::try_from(self.held.entrusted()).unwrap_or(u16::MAX))
    }

    /// Whether anything came from the store for these parts.
    pub(super) fn has_for(&self, parts: &[Part<'_>]) -> bool {
        self.returned.iter().any(|delivery| parts.iter().any(|part| part.has(&delivery.queue)))
    }

    /// What came from the store for these parts, at most so many and not much more than so many bytes.
    pub(super) fn hand_out(
        &mut self,
        parts: &[Part<'_>],
        most: usize,
        bytes: u64,
    ) -> Vec<Delivery> {
        let mut came = Vec::new();
        if self.returned.is_empty() {
            return came;
        }
        let mut room = bytes;
        for part in parts {
            let enough = most.min(came.len().saturating_add(part.most));
            let mut rest = VecDeque::new();
            for delivery in self.returned.drain(..) {
                if came.len() < enough && room > 0 && part.has(&delivery.queue) {
                    room = room.saturating_sub(delivery.message.size() as u64);
                    came.push(delivery);
                } else {
                    rest.push_back(delivery);
                }
            }
            self.returned = rest;
        }
        came
    }
}

/// A message as the store kept it. One that is no envelope was never put there by this adapter.
fn read(message: &Bytes) -> Parts {
    parts_of_envelope(message).unwrap_or_else(|_| Parts {
        content_type: String::new(),
        content_encoding: String::new(),
        headers: String::new(),
        properties: String::new(),
        body: message.clone(),
    })
}
