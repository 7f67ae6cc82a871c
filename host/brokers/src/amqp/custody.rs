//! What is handed to the store, and what comes back from it.

use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_celery::{Route, encode_envelope};
use lovage_core::ports::{KeptMessages, PortError};
use lovage_core::{
    Disposal, Keeping, Kept, KeptEntry, KeptFilter, KeptId, KeptPage, Publication, QueueName,
    Receipt, Timestamp, Waiting,
};
use sha2::{Digest as _, Sha256};

use super::broker::{AmqpBroker, Inner};
use super::held::{Place, Tag, Unsaid};
use super::outlet::Outgoing;
use super::parts::Incoming;
use super::queue::DeadLetters;

/// Returns after which a message is no longer returned but put off for a moment: queues drop what
/// comes back too often (20 times, from RabbitMQ 4 on).
const RETURNS_MAX: u32 = 8;

/// A publication that is to wait.
pub(super) fn waiting(publication: &Publication) -> Waiting {
    let Publication { exchange, routing_key, priority, not_before, parts } = publication;
    let route = Route { exchange, routing_key, priority: *priority, delivery_tag: "" };
    Waiting {
        name: new_name(),
        exchange: exchange.clone(),
        routing_key: routing_key.clone(),
        due: not_before.unwrap_or(Timestamp::from_micros(0)),
        message: encode_envelope(parts, route).into(),
    }
}

fn new_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// How deliveries end: what the store is told first, the server after.
#[derive(Default)]
struct Ends {
    put_off: Vec<Waiting>,
    keep: Vec<Keeping>,
    forget: Vec<String>,
    /// Dead letters that the server does not have, with where their queues have them go.
    bury: Vec<(DeadLetters, Incoming)>,
    /// Of each delivery that was still held, its place in the batch and how it ends.
    held: Vec<(usize, Receipt, End)>,
}

/// How one delivery ends.
struct End {
    /// The answer to the server, if it waits for one.
    tag: Option<Tag>,
    /// What the store has to have done before.
    store: Store,
}

#[derive(Clone, Copy, PartialEq)]
enum Store {
    Nothing,
    PutOff,
    Keep,
    Return,
    Refuse,
    Bury,
}

impl Inner {
    /// Ends deliveries, as [`close`](lovage_core::ports::Broker::close) says.
    pub(super) async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>> {
        let ends = self.ends(batch);
        let put_off = self.put_off(&ends.put_off).await;
        let kept = if ends.keep.is_empty() { Ok(()) } else { self.custody.keep(&ends.keep).await };
        let mut answers: Vec<_> = batch.iter().map(|_| Ok(())).collect();
        let buried = self.bury(&ends.bury).await;
        let (mut unsaid, mut done) = (Unsaid::default(), Vec::new());
        for (place, receipt, end) in &ends.held {
            let stored = match end.store {
                Store::PutOff => &put_off,
                Store::Keep => &kept,
                Store::Bury => &buried,
                Store::Nothing | Store::Return | Store::Refuse => &Ok(()),
            };
            if let (Err(error), Some(answer)) = (stored, answers.get_mut(*place)) {
                *answer = Err(again(error));
            } else {
                let answered = match end.store {
                    Store::Return => &mut unsaid.back,
                    Store::Refuse => &mut unsaid.refused,
                    _ => &mut unsaid.over,
                };
                answered.extend(end.tag);
                done.push(*receipt);
            }
        }
        {
            let mut live = self.live();
            for receipt in done {
                live.held.remove(receipt);
            }
        }
        self.answer(unsaid).await;
        if kept.is_ok() && buried.is_ok() && !ends.forget.is_empty() {
            // What is not forgotten comes again, and is known to the ledger then.
            self.custody.forget(&ends.forget).await.ok();
        }
        answers
    }

    fn ends(&self, batch: &[(Receipt, Disposal)]) -> Ends {
        let now = self.clock.now();
        let mut ends = Ends::default();
        let mut live = self.live();
        for (place, (receipt, disposal)) in batch.iter().enumerate() {
            let Some(holding) = live.held.get_mut(*receipt) else { continue };
            let queue = holding.queue.clone();
            let (tag, name) = match &holding.place {
                Place::Server { tag, .. } => (Some(*tag), None),
                Place::Store(name) => (None, Some(name.clone())),
            };
            let store = match disposal {
                Disposal::Acknowledge => {
                    ends.forget.extend(name);
                    Store::Nothing
                }
                Disposal::Release(at)
                    if at.is_none_or(|at| at <= now)
                        && tag.is_some()
                        && holding.message.returns() < RETURNS_MAX =>
                {
                    Store::Return
                }
                Disposal::Release(at) => {
                    let name = name.unwrap_or_else(new_name);
                    let message = holding.message.envelope(true);
                    ends.put_off.push(to_queue(name, &queue, at.unwrap_or(now), message));
                    Store::PutOff
                }
                Disposal::Keep(_) if tag.is_some() && self.dead_letters(&queue).is_some() => {
                    Store::Refuse
                }
                Disposal::Keep(kept) => {
                    if let Some(letters) = self.dead_letters(&queue) {
                        ends.bury.push((letters, holding.message.clone()));
                        ends.forget.extend(name);
                        ends.held.push((place, *receipt, End { tag, store: Store::Bury }));
                        continue;
                    }
                    let message = holding.message.envelope(false);
                    let maybe_again = holding.tried || holding.message.deliveries > 1;
                    holding.tried = true;
                    ends.keep.push(keeping(queue, message, maybe_again, kept));
                    ends.forget.extend(name);
                    Store::Keep
                }
            };
            ends.held.push((place, *receipt, End { tag, store }));
        }
        ends
    }

    /// Where a queue's dead letters go, if the operator wants them there and not in the store.
    fn dead_letters(&self, queue: &QueueName) -> Option<DeadLetters> {
        self.options.dead_letters_to_exchange.then(|| self.topology.dead_letters(queue)).flatten()
    }

    /// Sends dead letters where the server would have: it does not have these any more.
    async fn bury(&self, letters: &[(DeadLetters, Incoming)]) -> Result<(), PortError> {
        let outgoing = letters.iter().map(|(to, message)| Outgoing {
            exchange: &to.exchange,
            routing_key: to.routing_key.as_deref().unwrap_or(message.routing_key()),
            properties: message.properties().clone(),
            body: message.body(),
            // The server drops a dead letter that no queue is for, too.
            mandatory: false,
        });
        self.outlet.publish(&outgoing.collect::<Vec<_>>()).await
    }

    /// Hands messages over that are to wait.
    pub(super) async fn put_off(&self, batch: &[Waiting]) -> Result<(), PortError> {
        let Some(first) = batch.iter().map(|waiting| waiting.due).min() else { return Ok(()) };
        self.custody.put_off(batch).await?;
        self.due_in(Some(first.until(self.clock.now())));
        Ok(())
    }

    /// Hands to the store what the server has waited for nearly as long as it will, and tells the
    /// store of what it has already that it is still in work.
    pub(super) async fn entrust_long_held(&self) -> Result<(), PortError> {
        let again = self.clock.now().after(self.options.lease * 2);
        let oldest = Instant::now().checked_sub(self.options.consumer_timeout / 2);
        let (mut batch, mut moved) = (Vec::new(), Vec::new());
        {
            let mut live = self.live();
            let old = oldest.map(|oldest| live.held.older_than(oldest)).unwrap_or_default();
            for receipt in live.held.stored().into_iter().chain(old) {
                let Some(holding) = live.held.get_mut(receipt) else { continue };
                let name = match &holding.place {
                    Place::Store(name) => name.clone(),
                    Place::Server { tag, .. } => {
                        let name = new_name();
                        moved.push((receipt, *tag, name.clone()));
                        name
                    }
                };
                let queue = holding.queue.clone();
                batch.push(to_queue(name, &queue, again, holding.message.envelope(true)));
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.put_off(&batch).await?;
        let mut unsaid = Unsaid::default();
        {
            let mut live = self.live();
            let moved = moved
                .into_iter()
                .filter_map(|(receipt, tag, name)| live.held.entrust(receipt, name).then_some(tag));
            unsaid.over.extend(moved);
        }
        self.answer(unsaid).await;
        Ok(())
    }

    /// What the store has of this session is due now.
    pub(super) async fn give_back_stored(&self) -> Result<(), PortError> {
        let now = self.clock.now();
        let mut batch = Vec::new();
        {
            let mut live = self.live();
            for receipt in live.held.stored() {
                let Some(holding) = live.held.get_mut(receipt) else { continue };
                let Place::Store(name) = &holding.place else { continue };
                let queue = holding.queue.clone();
                let message = holding.message.envelope(true);
                batch.push(to_queue(name.clone(), &queue, now, message));
            }
        }
        self.put_off(&batch).await?;
        if batch.is_empty() { Ok(()) } else { self.wake_due().await.map(|_| ()) }
    }
}

fn to_queue(name: String, queue: &QueueName, due: Timestamp, message: Bytes) -> Waiting {
    let (exchange, routing_key) = (String::new(), queue.as_str().to_owned());
    Waiting { name, exchange, routing_key, due, message }
}

fn keeping(queue: QueueName, message: Bytes, maybe_again: bool, kept: &Kept) -> Keeping {
    let mut hash = Sha256::new();
    hash.update(queue.as_str());
    hash.update([0]);
    hash.update(&message);
    let mut digest = [0; 16];
    for (byte, hashed) in digest.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    Keeping { digest, maybe_again, queue, message, kept: kept.clone() }
}

/// One error for each of those that shared what failed.
fn again(error: &PortError) -> PortError {
    let (what, source) = (error.to_string(), None);
    if error.is_transient() {
        PortError::Transient { what, source }
    } else {
        PortError::Permanent { what, source }
    }
}

#[async_trait]
impl KeptMessages for AmqpBroker {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        self.inner.custody.list(filter, after, most).await
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        self.inner.custody.get(id).await
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let count = self.inner.custody.replay(ids).await?;
        // Also when there is none: the one before may have been cut short here.
        self.inner.wake_due().await?;
        Ok(count)
    }

    async fn count(&self) -> Result<u64, PortError> {
        self.inner.custody.count().await
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        self.inner.custody.purge(ids).await
    }
}
