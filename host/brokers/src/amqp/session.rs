//! Taking deliveries: one channel, and a consumer on each queue.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use lovage_core::QueueName;
use lovage_core::ports::PortError;

use super::link::port_error;

/// How long what was on its way to an ended consumer is waited for.
const REST: Duration = Duration::from_secs(1);

/// A channel that deliveries come on. What was delivered on it and not answered goes back to its
/// queues when it closes, whoever closes it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) channel: Channel,
    /// Which of the broker's channels so far it is.
    pub(super) number: u64,
    sources: Vec<Source>,
    slots: u16,
    /// Consumers so far: each has a name of its own.
    begun: u32,
    turn: usize,
}

/// A queue that is consumed from.
#[derive(Debug)]
struct Source {
    queue: QueueName,
    consumer: Consumer,
    /// What came and was not asked for yet.
    stash: VecDeque<Delivery>,
}

/// Some of what is wanted.
pub(super) struct Part<'a> {
    /// From these queues; `None` for all there are.
    pub(super) queues: Option<&'a [QueueName]>,
    /// Deliveries at most.
    pub(super) most: usize,
}

impl Part<'_> {
    fn has(&self, queue: &QueueName) -> bool {
        self.queues.is_none_or(|queues| queues.contains(queue))
    }
}

/// What one look has found so far.
struct Haul {
    came: Vec<(QueueName, Delivery)>,
    /// Bytes that there is room for still.
    room: u64,
}

/// What waiting for deliveries came to.
#[derive(Debug)]
pub(super) enum Came {
    /// These, each with its queue.
    Deliveries(Vec<(QueueName, Delivery)>),
    /// The server ended the consumer of this queue, and only that: the queue was deleted, or moved.
    Cancelled(QueueName),
    /// The channel is gone.
    Over(Option<lapin::Error>),
}

impl Session {
    /// Begins to consume.
    ///
    /// RabbitMQ delivers ahead, to each consumer as many messages as it was told; what is ahead is
    /// kept from everybody else. So it is told `slots` in all, and every queue has an equal share.
    pub(super) async fn begin(
        channel: Channel,
        number: u64,
        queues: &[QueueName],
        slots: u16,
    ) -> Result<Self, PortError> {
        let (sources, begun, turn) = (Vec::with_capacity(queues.len()), 0, 0);
        let mut session = Self { channel, number, sources, slots: 0, begun, turn };
        session.align(queues, slots).await?;
        Ok(session)
    }

    /// Whether these queues are consumed from, with room for so many deliveries ahead.
    pub(super) fn is_aligned(&self, queues: &[QueueName], slots: u16) -> bool {
        self.slots >= slots && self.sources.iter().map(|source| &source.queue).eq(queues)
    }

    /// Consumes from these queues from now on. What came from one that is left, and was not asked
    /// for, goes back.
    pub(super) async fn align(
        &mut self,
        queues: &[QueueName],
        slots: u16,
    ) -> Result<(), PortError> {
        self.slots = slots.max(self.slots);
        let mut ended = std::mem::take(&mut self.sources);
        for source in &mut ended {
            self.end(source).await?;
        }
        for queue in queues {
            let consumer = self.consume(queue, queues.len()).await?;
            let place = ended.iter().position(|source| source.queue == *queue);
            let stash = place.map(|place| ended.swap_remove(place).stash).unwrap_or_default();
            self.sources.push(Source { queue: queue.clone(), consumer, stash });
        }
        for delivery in ended.into_iter().flat_map(|source| source.stash) {
            let options = BasicNackOptions { multiple: false, requeue: true };
            let back = self.channel.basic_nack(delivery.delivery_tag, options);
            back.await.map_err(|error| port_error("leaving a queue", error))?;
        }
        Ok(())
    }

    /// Ends a consumer, and puts what had come until then in its stash.
    async fn end(&self, source: &mut Source) -> Result<(), PortError> {
        let tag = source.consumer.tag();
        let cancelled = self.channel.basic_cancel(tag, BasicCancelOptions::default()).await;
        cancelled.map_err(|error| port_error("leaving a queue", error))?;
        let rest = async {
            while let Some(Ok(delivery)) = source.consumer.next().await {
                source.stash.push_back(delivery);
            }
        };
        // What does not come in time goes back with the channel.
        let _ = tokio::time::timeout(REST, rest).await;
        Ok(())
    }

    /// Consumes again from a queue whose consumer was ended.
    pub(super) async fn consume_again(&mut self, queue: &QueueName) -> Result<(), PortError> {
        let consumer = self.consume(queue, self.sources.len()).await?;
        if let Some(source) = self.sources.iter_mut().find(|source| source.queue == *queue) {
            source.consumer = consumer;
        }
        Ok(())
    }

    async fn consume(&mut self, queue: &QueueName, queues: usize) -> Result<Consumer, PortError> {
        let what = || format!("consuming from queue {queue}");
        let share = (self.slots / u16::try_from(queues).unwrap_or(u16::MAX).max(1)).max(1);
        // Per consumer, which every kind of queue and every version of the server understands.
        let limit = self.channel.basic_qos(share, BasicQosOptions::default());
        limit.await.map_err(|error| port_error(&what(), error))?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        self.begun += 1;
        let tag = format!("lovage-{}-{}", self.number, self.begun);
        let name = queue.as_str().into();
        let consumer = self.channel.basic_consume(name, tag.as_str().into(), options, arguments);
        consumer.await.map_err(|error| port_error(&what(), error))
    }

    /// Whether it will never deliver anything again.
    pub(super) fn is_over(&self) -> bool {
        !self.channel.status().connected()
    }

    /// What was delivered for these parts, in their order, at most `most` and not much more than so
    /// many bytes; within a part the queues take turns.
    pub(super) fn poll(
        &mut self,
        parts: &[Part<'_>],
        most: usize,
        bytes: u64,
        context: &mut Context<'_>,
    ) -> Poll<Came> {
        let mut haul = Haul { came: Vec::new(), room: bytes };
        for part in parts {
            let enough = most.min(haul.came.len().saturating_add(part.most));
            // Events are told again at the next look, when there is nothing else to hand over.
            if let Some(event) = self.poll_part(part, enough, &mut haul, context)
                && haul.came.is_empty()
            {
                return Poll::Ready(event);
            }
        }
        if haul.came.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Came::Deliveries(haul.came))
    }

    fn poll_part(
        &mut self,
        part: &Part<'_>,
        enough: usize,
        haul: &mut Haul,
        context: &mut Context<'_>,
    ) -> Option<Came> {
        let count = self.sources.len().max(1);
        let mut idle = 0;
        while haul.came.len() < enough && idle < count && haul.room > 0 {
            let place = self.turn % count;
            self.turn = (self.turn + 1) % count;
            let source = self.sources.get_mut(place)?;
            if !part.has(&source.queue) {
                idle += 1;
                continue;
            }
            match source.poll(context) {
                Poll::Ready(Some(Ok(delivery))) => {
                    haul.room = haul.room.saturating_sub(delivery.data.len() as u64);
                    haul.came.push((source.queue.clone(), delivery));
                    idle = 0;
                }
                Poll::Pending => idle += 1,
                Poll::Ready(_) if !haul.came.is_empty() => idle += 1,
                Poll::Ready(Some(Err(error))) => return Some(Came::Over(Some(error))),
                Poll::Ready(None) if self.channel.status().connected() => {
                    return Some(Came::Cancelled(source.queue.clone()));
                }
                Poll::Ready(None) => return Some(Came::Over(None)),
            }
        }
        None
    }

    /// Whether there is something in one of these queues, or something to be said of it.
    pub(super) fn poll_any(&mut self, parts: &[Part<'_>], context: &mut Context<'_>) -> Poll<()> {
        let mut any = Poll::Pending;
        let wanted = |source: &Source| parts.iter().any(|part| part.has(&source.queue));
        for source in self.sources.iter_mut().filter(|source| wanted(source)) {
            match source.poll(context) {
                Poll::Ready(Some(Ok(delivery))) => source.stash.push_front(delivery),
                Poll::Ready(_) => {}
                Poll::Pending => continue,
            }
            any = Poll::Ready(());
        }
        any
    }
}

impl Source {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<lapin::Result<Delivery>>> {
        match self.stash.pop_front() {
            Some(delivery) => Poll::Ready(Some(Ok(delivery))),
            None => Pin::new(&mut self.consumer).poll_next(context),
        }
    }
}
