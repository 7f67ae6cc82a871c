//! Settling where results, queue and follow-ups do not share one store.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_core::ports::{Broker, Ledger, PortError, Records, ResultBackend, Settle};
use lovage_core::{Change, Closing, Disposal, Recorded};

use crate::failpoint::{Failpoint, Passage};

/// Makes verdicts true step by step.
///
/// The order is the whole of our delivery guarantee: first the ledger, which a redelivery is checked
/// against; then what callers are told, then what leaves; the ledger hears that all that is done,
/// and the delivery goes last. A crash in between leaves the delivery, and it comes again; each step
/// may be repeated, so the repetition finishes what the crash left open.
pub struct InOrder {
    broker: Arc<dyn Broker>,
    results: Arc<dyn ResultBackend>,
    ledger: Option<Arc<dyn Ledger>>,
    records: Option<Arc<dyn Records>>,
    failpoint: Failpoint,
}

/// How far one closing has come.
enum Progress {
    Going,
    /// Somebody else has the right to the call: the message goes back, and whoever takes it next
    /// finds out what became of it.
    Lost,
    Failed(PortError),
}

impl InOrder {
    /// Settles over these.
    pub fn new(
        broker: Arc<dyn Broker>,
        results: Arc<dyn ResultBackend>,
        ledger: Option<Arc<dyn Ledger>>,
    ) -> Self {
        Self { broker, results, ledger, records: None, failpoint: Failpoint::default() }
    }

    /// The same, where ledger and results share a database: the first two steps are one, and for most
    /// calls the ledger hears in it that all is done.
    #[must_use]
    pub fn recording(self, records: Option<Arc<dyn Records>>) -> Self {
        Self { records, ..self }
    }

    /// The same, for a test: it dies at a failpoint.
    #[must_use]
    pub fn on_trial(self, failpoint: Failpoint) -> Self {
        Self { failpoint, ..self }
    }

    /// Says where every closing is that ends its call, and every one that retries it.
    fn pass(&self, batch: &[Closing], ended: Passage, retried: Option<Passage>) {
        for write in batch.iter().filter_map(|closing| closing.ledger.as_ref()) {
            match (write.change, retried) {
                (Change::End(_), _) => self.failpoint.pass(ended),
                (Change::Retry { .. }, Some(retried)) => self.failpoint.pass(retried),
                _ => {}
            }
        }
    }

    async fn record(&self, batch: &[Closing], progress: &mut [Progress]) {
        let writes: Vec<_> = batch.iter().filter_map(|closing| closing.ledger.clone()).collect();
        let Some(ledger) = self.ledger.as_ref().filter(|_| !writes.is_empty()) else { return };
        let mut answers = ledger.record(&writes).await.into_iter();
        for (_, progress) in with_write(batch, progress) {
            match answers.next().unwrap_or_else(|| Err(no_answer("the ledger"))) {
                Ok(Recorded::Written) => {}
                Ok(Recorded::Lost) => *progress = Progress::Lost,
                Err(error) => *progress = Progress::Failed(error),
            }
        }
    }

    /// Records and tells in one step.
    async fn record_and_tell(records: &dyn Records, batch: &[Closing], progress: &mut [Progress]) {
        let mut answers = records.record(batch).await.into_iter();
        for progress in progress {
            match answers.next().unwrap_or_else(|| Err(no_answer("the ledger"))) {
                Ok(Recorded::Written) => {}
                Ok(Recorded::Lost) => *progress = Progress::Lost,
                Err(error) => *progress = Progress::Failed(error),
            }
        }
    }

    /// Tells the ledger that everybody has heard of what it recorded. That a grant is lost by now
    /// does not matter: somebody else is further.
    async fn settle_ledger(&self, batch: &[Closing], progress: &mut [Progress]) {
        let hears = |part: &(&Closing, &mut Progress)| {
            let heard = self.records.is_some() && part.0.ends_with_its_results();
            matches!(part.1, Progress::Going) && !heard
        };
        let writes: Vec<_> = with_write(batch, progress)
            .filter(hears)
            .filter_map(|(closing, _)| Some(closing.ledger.as_ref()?.settle()))
            .collect();
        let Some(ledger) = self.ledger.as_ref().filter(|_| !writes.is_empty()) else { return };
        let mut answers = ledger.settle(&writes).await.into_iter();
        for (_, progress) in with_write(batch, progress).filter(hears) {
            if let Err(error) = answers.next().unwrap_or_else(|| Err(no_answer("the ledger"))) {
                *progress = Progress::Failed(error);
            }
        }
    }

    async fn store(&self, batch: &[Closing], progress: &mut [Progress]) {
        fn going(part: &(&Closing, &mut Progress)) -> bool {
            matches!(part.1, Progress::Going)
        }
        let records: Vec<_> = batch
            .iter()
            .zip(progress.iter_mut())
            .filter(going)
            .flat_map(|(closing, _)| closing.results.iter().cloned())
            .collect();
        if records.is_empty() {
            return;
        }
        let mut stored = self.results.store(&records).await.into_iter();
        for (closing, progress) in batch.iter().zip(progress).filter(going) {
            for _ in &closing.results {
                let told = stored.next().unwrap_or_else(|| Err(no_answer("the result backend")));
                if let (Err(error), Progress::Going) = (told, &*progress) {
                    *progress = Progress::Failed(error);
                }
            }
        }
    }

    /// Sends what leaves, of all closings at once. Only when that fails each goes alone, so that what
    /// the broker refuses for good is told of the one that has it; sending again is allowed.
    async fn publish(&self, batch: &[Closing], progress: &mut [Progress]) {
        let going = |part: &(&Closing, &mut Progress)| matches!(part.1, Progress::Going);
        let leaving = batch.iter().zip(progress.iter_mut()).filter(going);
        let together: Vec<_> =
            leaving.flat_map(|(closing, _)| closing.publications.iter().cloned()).collect();
        if together.is_empty() || self.broker.publish(&together).await.is_ok() {
            return;
        }
        for (closing, progress) in batch.iter().zip(progress) {
            if let (Progress::Going, [_, ..]) = (&*progress, &*closing.publications)
                && let Err(error) = self.broker.publish(&closing.publications).await
            {
                *progress = Progress::Failed(error);
            }
        }
    }

    async fn close(&self, batch: &[Closing], progress: &mut [Progress]) {
        let disposal = |closing: &Closing, progress: &Progress| match progress {
            Progress::Going => Some((closing.receipt, closing.disposal.clone())),
            Progress::Lost => Some((closing.receipt, Disposal::Release(None))),
            Progress::Failed(_) => None,
        };
        let over: Vec<_> = batch
            .iter()
            .zip(progress.iter())
            .filter_map(|(closing, progress)| disposal(closing, progress))
            .collect();
        if over.is_empty() {
            return;
        }
        let mut closed = self.broker.close(&over).await.into_iter();
        for progress in progress.iter_mut().filter(|it| !matches!(it, Progress::Failed(_))) {
            if let Err(error) = closed.next().unwrap_or_else(|| Err(no_answer("the broker"))) {
                *progress = Progress::Failed(error);
            }
        }
    }
}

/// The closings that have something for the ledger, with how far they have come.
fn with_write<'a>(
    batch: &'a [Closing],
    progress: &'a mut [Progress],
) -> impl Iterator<Item = (&'a Closing, &'a mut Progress)> {
    batch.iter().zip(progress).filter(|(closing, _)| closing.ledger.is_some())
}

fn no_answer(who: &str) -> PortError {
    PortError::Transient { what: format!("{who} gave no answer"), source: None }
}

#[async_trait]
impl Settle for InOrder {
    async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>> {
        let mut progress: Vec<_> = batch.iter().map(|_| Progress::Going).collect();
        if let Some(records) = &self.records {
            Self::record_and_tell(&**records, batch, &mut progress).await;
            self.pass(batch, Passage::Ended, Some(Passage::RetryRecorded));
        } else {
            self.record(batch, &mut progress).await;
            self.pass(batch, Passage::Ended, Some(Passage::RetryRecorded));
            self.store(batch, &mut progress).await;
        }
        self.pass(batch, Passage::ResultStored, None);
        self.publish(batch, &mut progress).await;
        self.pass(batch, Passage::SuccessorsPublished, Some(Passage::RetryPublished));
        self.settle_ledger(batch, &mut progress).await;
        self.pass(batch, Passage::Settled, None);
        self.close(batch, &mut progress).await;
        let outcome = |progress| match progress {
            Progress::Going | Progress::Lost => Ok(()),
            Progress::Failed(error) => Err(error),
        };
        progress.into_iter().map(outcome).collect()
    }
}
