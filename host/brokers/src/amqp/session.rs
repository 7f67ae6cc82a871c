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

/// Consumers on one queue at most.
const CONSUMERS_MAX: usize = 8;

/// A channel that deliveries come on. What was delivered on it and not answered goes back to its
/// queues when it closes, whoever closes it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) channel: Channel,
    /// Which of the broker's channels so far it is.
    pub(super) number: u64,
    sources: Vec<Source>,
    /// Deliveries that the consumers of now may have unanswered, in all.
    granted: u16,
    /// The last delivery of consumers that were ended: the server does not count these to others.
    old: u64,
    /// The last delivery that came.
    last: u64,
    /// What went back without being handed over.
    given_back: Vec<u64>,
    /// Consumers so far: each has a name of its own.
    begun: u32,
    turn: usize,
}

/// What the server waits for an answer to, of what was handed over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unanswered {
    pub(super) all: usize,
    /// Up to [`Session::old`].
    pub(super) old: usize,
    /// Slots that are left.
    pub(super) free: usize,
}

/// A queue that is consumed from.
#[derive(Debug)]
struct Source {
    queue: QueueName,
    /// None where nothing is to be delivered; several when it was granted more and more.
    consumers: Vec<Consumer>,
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
    pub(super) fn has(&self, queue: &QueueName) -> bool {
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
    /// kept from everybody else. So it is told `ahead` in all, and every queue has an equal share,
    /// though none less than one.
    pub(super) async fn begin(
        channel: Channel,
        number: u64,
        queues: &[QueueName],
        ahead: u16,
    ) -> Result<Self, PortError> {
        let mut session = Self {
            channel,
            number,
            sources: Vec::with_capacity(queues.len()),
            granted: 0,
            old: 0,
            last: 0,
            given_back: Vec::new(),
            begun: 0,
            turn: 0,
        };
        session.renew(queues, ahead, Unanswered::default()).await?;
        Ok(session)
    }

    /// Whether these queues are consumed from, with so many deliveries ahead of their answers.
    pub(super) fn is_aligned(&self, queues: &[QueueName], ahead: u16) -> bool {
        let is_same = self.sources.iter().map(|source| &source.queue).eq(queues);
        is_same && self.old == 0 && self.granted == ahead
    }

    /// What went back since the last time without being handed over.
    pub(super) fn take_given_back(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.given_back)
    }

    /// The last delivery of consumers that were ended.
    pub(super) fn old(&self) -> u64 {
        self.old
    }

    /// Consumes from these queues from now on, with so many deliveries ahead of their answers. What a
    /// consumer may have ahead is said when it begins: so it is granted more by another one beside it,
    /// and less by ending all and beginning anew.
    pub(super) async fn align(
        &mut self,
        queues: &[QueueName],
        ahead: u16,
        unanswered: Unanswered,
    ) -> Result<(), PortError> {
        let count = |stash: &VecDeque<Delivery>| {
            stash.iter().filter(|delivery| delivery.delivery_tag <= self.old).count()
        };
        let stashed: usize = self.sources.iter().map(|source| count(&source.stash)).sum();
        let old = unanswered.old + stashed;
        if old == 0 {
            self.old = 0;
        }
        let told = usize::from(self.granted) + old;
        let is_same = self.sources.iter().map(|source| &source.queue).eq(queues);
        if !is_same || told > usize::from(ahead) {
            return self.renew(queues, ahead, unanswered).await;
        }
        let more = usize::from(ahead) - told;
        // Not for each of the old ones that is over, unless it was the last.
        if more == 0 || (old > 0 && more < usize::from(ahead / 4).max(1)) {
            return Ok(());
        }
        if self.sources.iter().any(|source| source.consumers.len() >= CONSUMERS_MAX) {
            return self.renew(queues, ahead, unanswered).await;
        }
        self.grant(u16::try_from(more).unwrap_or(u16::MAX)).await
    }

    /// Ends what is consumed from, and begins anew. What came and was not asked for goes back, if its
    /// queue is left, or if there are no free slots for it.
    async fn renew(
        &mut self,
        queues: &[QueueName],
        ahead: u16,
        unanswered: Unanswered,
    ) -> Result<(), PortError> {
        let mut ended = std::mem::take(&mut self.sources);
        for source in &mut ended {
            self.end(source).await?;
        }
        let (mut back, mut kept) = (Vec::new(), unanswered.all);
        let free = u16::try_from(unanswered.free).unwrap_or(u16::MAX);
        for (place, queue) in queues.iter().enumerate() {
            let room = usize::from(share(free, place, queues.len()));
            let before = ended.iter().position(|source| source.queue == *queue);
            let mut stash = before.map(|place| ended.swap_remove(place).stash).unwrap_or_default();
            back.extend(stash.split_off(stash.len().min(room)));
            kept += stash.len();
            self.sources.push(Source { queue: queue.clone(), consumers: Vec::new(), stash });
        }
        back.extend(ended.into_iter().flat_map(|source| source.stash));
        for delivery in back {
            let options = BasicNackOptions { multiple: false, requeue: true };
            let back = self.channel.basic_nack(delivery.delivery_tag, options);
            back.await.map_err(|error| port_error("giving deliveries back", error))?;
            self.given_back.push(delivery.delivery_tag);
        }
        (self.granted, self.old) = (0, self.last);
        self.grant(ahead.saturating_sub(u16::try_from(kept).unwrap_or(u16::MAX))).await
    }

    /// Has so many more delivered, by a consumer more on each queue.
    async fn grant(&mut self, more: u16) -> Result<(), PortError> {
        self.granted = self.granted.saturating_add(more);
        let queues: Vec<_> = self.sources.iter().map(|source| source.queue.clone()).collect();
        // One queue's calls must not keep the others from being seen at all.
        let more = if queues.len() > 1 { more.max(1) } else { more };
        for (place, queue) in queues.iter().enumerate() {
            let share = share(more, place, queues.len());
            if share > 0 {
                let consumer = self.consume(queue, share).await?;
                if let Some(source) = self.sources.get_mut(place) {
                    source.consumers.push(consumer);
                }
            }
        }
        Ok(())
    }

    /// Ends a queue's consumers, and puts what had come until then in its stash.
    async fn end(&mut self, source: &mut Source) -> Result<(), PortError> {
        for mut consumer in std::mem::take(&mut source.consumers) {
            let cancelled =
                self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await;
            cancelled.map_err(|error| port_error("leaving a queue", error))?;
            let rest = async {
                while let Some(Ok(delivery)) = consumer.next().await {
                    self.last = self.last.max(delivery.delivery_tag);
                    source.stash.push_back(delivery);
                }
            };
            // What does not come in time goes back with the channel.
            let _ = tokio::time::timeout(REST, rest).await;
        }
        Ok(())
    }

    /// Consumes again from a queue whose consumers were ended.
    pub(super) async fn consume_again(&mut self, queue: &QueueName) -> Result<(), PortError> {
        let found = self.sources.iter().position(|source| source.queue == *queue);
        let Some(place) = found else { return Ok(()) };
        let share = share(self.granted, place, self.sources.len()).max(1);
        let consumer = self.consume(queue, share).await?;
        if let Some(source) = self.sources.get_mut(place) {
            source.consumers = vec![consumer];
        }
        Ok(())
    }

    /// A consumer that so many deliveries may be ahead on.
    async fn consume(&mut self, queue: &QueueName, share: u16) -> Result<Consumer, PortError> {
        let what = || format!("consuming from queue {queue}");
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
                    self.last = self.last.max(delivery.delivery_tag);
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
                Poll::Ready(Some(Ok(delivery))) => {
                    self.last = self.last.max(delivery.delivery_tag);
                    source.stash.push_front(delivery);
                }
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
        if let Some(delivery) = self.stash.pop_front() {
            return Poll::Ready(Some(Ok(delivery)));
        }
        let mut place = 0;
        while let Some(consumer) = self.consumers.get_mut(place) {
            match Pin::new(consumer).poll_next(context) {
                Poll::Pending => place += 1,
                Poll::Ready(None) if self.consumers.len() > 1 => drop(self.consumers.remove(place)),
                ready @ Poll::Ready(_) => return ready,
            }
        }
        Poll::Pending
    }
}

/// How many of so many deliveries one of these queues has; one at least, if there are any.
fn share(all: u16, place: usize, queues: usize) -> u16 {
    let (all, queues) = (usize::from(all), queues.max(1));
    let share = (all / queues + usize::from(place < all % queues)).max(all.min(1));
    u16::try_from(share).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn queues_share_what_may_be_ahead_and_none_has_nothing() {
        let shares = |all, queues| (0..queues).map(move |place| share(all, place, queues));
        assert!(shares(8, 3).eq([3, 3, 2]));
        assert!(shares(2, 4).eq([1, 1, 1, 1]));
        assert!(shares(0, 2).eq([0, 0]));
    }
}
