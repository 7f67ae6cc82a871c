//! Settling what finishes together in one batch.

use std::sync::Arc;

use lovage_core::Closing;
use lovage_core::ports::{PortError, Settle};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::backoff::Backoff;

/// Closings that may wait for their turn; jobs hold a slot until they are settled, so this is never
/// the bound that is met first.
const QUEUE_MAX: usize = 10_000;

/// Closings that are settled together at most.
const BATCH_MAX: usize = 256;

/// Hands closings to the settling port in batches of whatever is ready. It adds no wait: one closing
/// alone is settled at once, and what arrives during a round trip leaves with the next.
#[derive(Debug, Clone)]
pub(crate) struct Settler {
    queue: mpsc::Sender<Waiting>,
    /// Whether a closing is true as a whole or not at all.
    pub(crate) is_one_step: bool,
}

#[derive(Debug)]
struct Waiting {
    closing: Closing,
    answer: oneshot::Sender<Result<(), PortError>>,
}

impl Settler {
    /// A settler, and the loop that does its work until the settler and its clones are gone.
    pub(crate) fn new(port: Arc<dyn Settle>) -> (Self, impl Future<Output = ()>) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let is_one_step = port.is_one_step();
        (Self { queue, is_one_step }, work(port, waiting))
    }

    /// Makes a closing true. Transient errors are tried again for as long as the worker lives: the
    /// job keeps its slot, so a broker that is away stops us from taking more.
    pub(crate) async fn settle(&self, closing: Closing) -> Result<(), PortError> {
        let (answer, settled) = oneshot::channel();
        let gone = || PortError::Transient { what: "the worker is stopping".into(), source: None };
        self.queue.send(Waiting { closing, answer }).await.map_err(|_| gone())?;
        settled.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn work(port: Arc<dyn Settle>, mut queue: mpsc::Receiver<Waiting>) {
    let (mut closings, mut answers) = (Vec::new(), Vec::new());
    let mut incoming = Vec::with_capacity(BATCH_MAX);
    let mut backoff = Backoff::new();
    loop {
        let room = BATCH_MAX.saturating_sub(closings.len());
        if closings.is_empty() {
            if queue.recv_many(&mut incoming, room).await == 0 {
                return;
            }
        } else {
            // What failed waits out the backoff, and takes along what arrived meanwhile.
            tokio::time::sleep(backoff.next()).await;
            while incoming.len() < room
                && let Ok(waiting) = queue.try_recv()
            {
                incoming.push(waiting);
            }
        }
        for waiting in incoming.drain(..) {
            closings.push(waiting.closing);
            answers.push(waiting.answer);
        }
        let outcome = port.settle(&closings).await;
        let failed = outcome.iter().find_map(|outcome| outcome.as_ref().err());
        match failed.filter(|error| error.is_transient()) {
            Some(error) if backoff.is_first() => {
                warn!(error = error as &dyn std::error::Error, "Cannot settle; trying again");
            }
            None if !backoff.is_first() => {
                info!("Settling works again");
                backoff.reset();
            }
            _ => {}
        }
        keep_failed(&mut closings, &mut answers, outcome);
    }
}

/// Answers everybody whose closing is over, and keeps the others in place.
fn keep_failed(
    closings: &mut Vec<Closing>,
    answers: &mut Vec<oneshot::Sender<Result<(), PortError>>>,
    outcome: Vec<Result<(), PortError>>,
) {
    let all = closings.drain(..).zip(answers.drain(..)).zip(outcome).collect::<Vec<_>>();
    for ((closing, answer), outcome) in all {
        if outcome.as_ref().is_err_and(PortError::is_transient) {
            closings.push(closing);
            answers.push(answer);
        } else {
            // Whoever asked may be gone: a drain that ran out of time.
            let _ = answer.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use lovage_core::ports::{PortError, Settle};
    use lovage_core::{Closing, Disposal, Receipt};

    use super::Settler;

    /// Fails each closing as often as its receipt says, and remembers the size of each batch.
    #[derive(Default)]
    struct Flaky(Mutex<Vec<Vec<u64>>>);

    #[async_trait]
    impl Settle for Flaky {
        async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>> {
            let mut batches = self.0.lock().unwrap();
            batches.push(batch.iter().map(|closing| closing.receipt.0).collect());
            let tries = batches.len() as u64;
            let answer = |closing: &Closing| match closing.receipt.0 {
                99 => Err(PortError::Permanent { what: "never".into(), source: None }),
                failures if tries <= failures => {
                    Err(PortError::Transient { what: "not yet".into(), source: None })
                }
                _ => Ok(()),
            };
            batch.iter().map(answer).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_closing_is_tried_again_and_the_others_are_not() {
        let port = Arc::new(Flaky::default());
        let (settler, work) = Settler::new(Arc::clone(&port) as _);
        let work = tokio::spawn(work);
        let settle =
            |receipt| settler.settle(Closing::only(Receipt(receipt), Disposal::Acknowledge));
        let (first, second, never) = tokio::join!(settle(0), settle(2), settle(99));
        assert!(first.is_ok() && second.is_ok());
        assert!(never.is_err_and(|error| !error.is_transient()));
        assert_eq!(*port.0.lock().unwrap(), [vec![0, 2, 99], vec![2], vec![2]]);
        drop(settler);
        work.await.unwrap();
    }
}
