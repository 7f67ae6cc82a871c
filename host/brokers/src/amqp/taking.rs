//! How deliveries are taken: for whoever asks for all, and for whoever asks in shares.

use std::time::{Duration, Instant};

use lovage_core::ports::{Demand, PortError};
use lovage_core::{Delivery, Message, QueueName};
use tokio::time::Instant as Moment;
use tracing::warn;

use super::broker::Inner;
use super::parts::Incoming;
use super::session::{Came, Part, Session, Unanswered};

impl Inner {
    /// Takes deliveries of these parts, at most `most`, and waits so long for the first. A session
    /// that is over is begun anew.
    pub(super) async fn collect(
        &self,
        parts: &[Part<'_>],
        most: usize,
        bytes: u64,
        wait: Duration,
    ) -> Result<Vec<Delivery>, PortError> {
        let mut session = self.session.lock().await;
        let mut end = Moment::now() + wait;
        loop {
            let open = if let Some(open) = session.take().filter(|open| !open.is_over()) {
                session.insert(open)
            } else {
                let open = session.insert(self.begin().await?);
                // Nothing can come while it connects.
                end = Moment::now() + wait;
                open
            };
            self.follow(open).await?;
            if self.live().more_is_due {
                self.wake_due().await?;
            }
            let stored = self.live().hand_out(parts, most, bytes);
            if !stored.is_empty() {
                return Ok(stored);
            }
            let coming = std::future::poll_fn(|context| open.poll(parts, most, bytes, context));
            let came = tokio::select! {
                biased;
                came = tokio::time::timeout_at(end, coming) => came,
                // There are other queues or slots, or the store had something.
                () = self.changed.notified() => continue,
            };
            match came {
                Err(_) => return Ok(Vec::new()),
                Ok(Came::Deliveries(came)) => return Ok(self.take_in(open.number, came)),
                Ok(Came::Cancelled(queue)) => {
                    warn!(queue.name = %queue, "Queue `{queue}` is gone; making it again");
                    self.topology.declare(&self.intake, std::slice::from_ref(&queue)).await?;
                    open.consume_again(&queue).await?;
                }
                Ok(Came::Over(error)) => {
                    self.live().held.end(open.number);
                    *session = None;
                    let why: Box<dyn std::error::Error + Send + Sync> = match error {
                        Some(error) => error.into(),
                        None => "the channel is closed".into(),
                    };
                    return Err(PortError::transient("taking deliveries failed", why));
                }
            }
        }
    }

    /// Returns when there may be something of these parts, or when that is to be seen by taking.
    pub(super) async fn wait_for(&self, demand: &Demand<'_>) {
        let parts = parts_of(demand);
        let mut session = self.session.lock().await;
        let Some(open) = session.as_mut().filter(|open| !open.is_over()) else { return };
        if self.live().has_for(&parts) {
            return;
        }
        let any = std::future::poll_fn(|context| open.poll_any(&parts, context));
        tokio::select! {
            () = any => {}
            () = self.changed.notified() => {}
        }
    }

    /// A session on the queues of now.
    async fn begin(&self) -> Result<Session, PortError> {
        let queues = self.live().queues.clone();
        self.topology.declare(&self.intake, &queues).await?;
        self.remember(queues.iter().map(QueueName::as_str)).await;
        let channel = self.intake.channel("opening a channel to consume on").await?;
        let (number, ahead) = {
            let mut live = self.live();
            live.channel = Some(channel.clone());
            live.renewed = Instant::now();
            (live.held.begin(), live.ahead())
        };
        let session = Session::begin(channel, number, &queues, ahead).await?;
        self.news.notify_one();
        Ok(session)
    }

    /// Lets a session follow when there are other queues or slots, or when what runs for long was
    /// handed to the store: it keeps its slot, and the server must not know of it as free.
    async fn follow(&self, open: &mut Session) -> Result<(), PortError> {
        let (queues, ahead, unanswered) = {
            let live = self.live();
            let ahead = live.ahead();
            if open.is_aligned(&live.queues, ahead) {
                return Ok(());
            }
            let unanswered = Unanswered {
                all: live.held.open_until(u64::MAX),
                old: live.held.open_until(open.old()),
                free: usize::from(live.slots).saturating_sub(live.held.count()),
            };
            (live.queues.clone(), ahead, unanswered)
        };
        open.align(&queues, ahead, unanswered).await?;
        self.live().held.pass_over(open.number, &open.take_given_back());
        Ok(())
    }

    fn take_in(
        &self,
        channel: u64,
        came: Vec<(QueueName, lapin::message::Delivery)>,
    ) -> Vec<Delivery> {
        let mut live = self.live();
        let mut deliveries = Vec::with_capacity(came.len());
        for (queue, delivery) in came {
            let tag = delivery.delivery_tag;
            let message = Incoming::new(delivery);
            let (parts, count) = (message.parts(), message.deliveries);
            // What came on a channel that was given up meanwhile has gone back already.
            let Some(receipt) = live.held.take(channel, queue.clone(), tag, message) else {
                continue;
            };
            deliveries.push(Delivery {
                queue,
                receipt,
                message: Message::Parts(Box::new(parts)),
                redelivered: count > 1,
                deliveries: count,
            });
        }
        deliveries
    }
}

/// What a demand wants, in its order.
pub(super) fn parts_of<'a>(demand: &Demand<'a>) -> Vec<Part<'a>> {
    let part = |share: &'a lovage_core::ports::Share| Part {
        queues: Some(&share.queues),
        most: share.most,
    };
    demand.shares.iter().map(part).collect()
}
