//! Settling where results, queue and follow-ups do not share one store.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_core::Closing;
use lovage_core::ports::{Broker, PortError, ResultBackend, Settle};

/// Makes verdicts true step by step.
///
/// The order is the whole of our delivery guarantee: first what callers are told, then what leaves,
/// the delivery last. A crash in between leaves the delivery, and it comes again; each step may be
/// repeated, so the repetition finishes what the crash left open.
pub struct InOrder {
    broker: Arc<dyn Broker>,
    results: Arc<dyn ResultBackend>,
}

impl InOrder {
    /// Settles over these two.
    pub fn new(broker: Arc<dyn Broker>, results: Arc<dyn ResultBackend>) -> Self {
        Self { broker, results }
    }

    async fn store(&self, batch: &[Closing], outcome: &mut [Result<(), PortError>]) {
        let records: Vec<_> = batch.iter().flat_map(|it| it.results.iter().cloned()).collect();
        if records.is_empty() {
            return;
        }
        let mut stored = self.results.store(&records).await.into_iter();
        for (closing, outcome) in batch.iter().zip(outcome) {
            for _ in &closing.results {
                let told = stored.next().unwrap_or_else(|| Err(no_answer("the result backend")));
                if outcome.is_ok() {
                    *outcome = told;
                }
            }
        }
    }

    async fn publish(&self, batch: &[Closing], outcome: &mut [Result<(), PortError>]) {
        for (closing, outcome) in batch.iter().zip(outcome) {
            if outcome.is_ok() && !closing.publications.is_empty() {
                *outcome = self.broker.publish(&closing.publications).await;
            }
        }
    }

    async fn close(&self, batch: &[Closing], outcome: &mut [Result<(), PortError>]) {
        let over: Vec<_> = batch
            .iter()
            .zip(outcome.iter())
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(closing, _)| (closing.receipt, closing.disposal.clone()))
            .collect();
        if over.is_empty() {
            return;
        }
        let mut closed = self.broker.close(&over).await.into_iter();
        for outcome in outcome.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = closed.next().unwrap_or_else(|| Err(no_answer("the broker")));
        }
    }
}

fn no_answer(who: &str) -> PortError {
    PortError::Transient { what: format!("{who} gave no answer"), source: None }
}

#[async_trait]
impl Settle for InOrder {
    async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>> {
        let mut outcome: Vec<_> = batch.iter().map(|_| Ok(())).collect();
        self.store(batch, &mut outcome).await;
        self.publish(batch, &mut outcome).await;
        self.close(batch, &mut outcome).await;
        outcome
    }
}
