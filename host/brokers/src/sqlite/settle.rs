//! Settling in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_core::ports::{PortError, Settle};
use lovage_core::{Change, Closing, Disposal, LedgerWrite, Receipt, Timestamp};
use lovage_sqlite::{Participant, port_error};
use rusqlite::Connection;

use super::SqliteBroker;
use super::queue::{self, Claim, Sent};

/// Those who write their parts of a closing, in order.
type Participants = Arc<[Arc<dyn Participant>]>;

/// Makes verdicts true where the queue and everything else live in one file: result, ledger,
/// follow-ups and the end of the delivery become visible together or not at all, however many
/// deliveries share the transaction. Nothing of a closing is written once its delivery is lost.
pub struct SqliteSettle {
    broker: Arc<SqliteBroker>,
    participants: Participants,
}

impl SqliteSettle {
    /// Settles deliveries of `broker` together with what `participants` write, in their order, before
    /// the follow-ups. Makes the participants' tables.
    ///
    /// # Errors
    /// When one of them cannot use the file.
    pub async fn start(
        broker: Arc<SqliteBroker>,
        participants: Vec<Arc<dyn Participant>>,
    ) -> Result<Self, PortError> {
        let participants = Participants::from(participants);
        let all = Arc::clone(&participants);
        let prepare = move |connection: &Connection| {
            all.iter().try_for_each(|participant| participant.prepare(connection))
        };
        broker.database.write("make the tables of what is settled", prepare).await?;
        Ok(Self { broker, participants })
    }
}

#[async_trait]
impl Settle for SqliteSettle {
    async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>> {
        self.broker.settle_with(batch, Arc::clone(&self.participants)).await
    }

    fn is_one_step(&self) -> bool {
        true
    }
}

/// A closing, ready to be written.
struct Ending {
    /// The delivery it ends; `None` when the session does not hold it.
    claim: Option<Claim>,
    closing: Closing,
    sent: Vec<Sent>,
}

/// What came of one closing: whether its delivery was still held.
type Ended = Result<bool, Arc<rusqlite::Error>>;

impl SqliteBroker {
    /// Settles a batch; answers in the same order.
    pub(super) async fn settle_with(
        &self,
        batch: &[Closing],
        participants: Participants,
    ) -> Vec<Result<(), PortError>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let receipts: Vec<_> = batch.iter().map(|closing| closing.receipt).collect();
        let endings = self.endings(batch);
        let (leases, session, now) = (self.leases.clone(), self.session(), self.clock.now());
        let write = move |connection: &Connection| {
            if !leases.lives(connection, session)? {
                let lost = |ending: &Ending| ending.lose(connection, &participants).map(Ok);
                return endings.iter().map(lost).collect();
            }
            endings
                .iter()
                .map(|ending| ending.isolated(connection, session, &participants, now))
                .collect::<rusqlite::Result<Vec<Ended>>>()
        };
        match self.database.write("settle", write).await {
            Ok(all) => self.answer(&receipts, all),
            Err(error) => receipts.iter().map(|_| Err(again(&error))).collect(),
        }
    }

    fn endings(&self, batch: &[Closing]) -> Vec<Ending> {
        let held = self.held();
        let ending = |closing: &Closing| Ending {
            claim: held.claims.get(&closing.receipt).copied(),
            sent: closing.publications.iter().map(Sent::of).collect(),
            closing: closing.clone(),
        };
        batch.iter().map(ending).collect()
    }

    /// Forgets what has ended. What was lost stays until [`renew`](lovage_core::ports::Broker::renew)
    /// has told of it.
    fn answer(&self, receipts: &[Receipt], all: Vec<Ended>) -> Vec<Result<(), PortError>> {
        let mut held = self.held();
        let answer = |(receipt, ended): (&Receipt, Ended)| match ended {
            Ok(true) => {
                held.claims.remove(receipt);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err(port_error("settle a delivery", &error)),
        };
        let answers = receipts.iter().zip(all).map(answer).collect();
        drop(held);
        self.own.notify_one();
        answers
    }
}

impl Ending {
    /// Writes everything. The end
    /// of the delivery comes first because it tells whether the rest may be written at all; the
    /// transaction makes the order invisible.
    fn write(
        &self,
        connection: &Connection,
        session: i64,
        participants: &[Arc<dyn Participant>],
        now: Timestamp,
    ) -> rusqlite::Result<Written> {
        let Some(claim) = self.claim else { return Ok(Written::Lost) };
        if !queue::end(connection, session, claim, &self.closing.disposal)? {
            return Ok(Written::Lost);
        }
        for participant in participants {
            if !participant.write(connection, &self.closing)? {
                return Ok(Written::Vetoed(claim));
            }
        }
        self.sent.iter().try_for_each(|sent| queue::put(connection, sent, now))?;
        Ok(Written::Whole)
    }

    /// Frees the call of a delivery that was lost: its session may live on in the ledger, and whoever
    /// has the delivery now would wait for as long as it does.
    fn lose(
        &self,
        connection: &Connection,
        participants: &[Arc<dyn Participant>],
    ) -> rusqlite::Result<bool> {
        let Closing { receipt, ledger: Some(write), .. } = &self.closing else { return Ok(false) };
        let mut freed = Closing::only(*receipt, Disposal::Release(None));
        let (change, verdict) = (Change::Release, None);
        freed.ledger = Some(LedgerWrite { change, verdict, ..write.clone() });
        for participant in participants {
            participant.write(connection, &freed)?;
        }
        Ok(false)
    }

    /// Undoes what was written when writing fails, and only that. An error that has ended the whole
    /// transaction is everybody's. `false` when the delivery was lost: then nothing is written.
    ///
    /// A delivery of a call that somebody else has the right to goes back to its queue: it may be the
    /// only copy left, and whoever takes it next finds out what has become of the call.
    fn isolated(
        &self,
        connection: &Connection,
        session: i64,
        participants: &[Arc<dyn Participant>],
        now: Timestamp,
    ) -> rusqlite::Result<Ended> {
        let run = |statement| connection.prepare_cached(statement)?.execute([]);
        run("SAVEPOINT closing")?;
        let ended = match self.write(connection, session, participants, now) {
            Err(error) if connection.is_autocommit() => return Err(error),
            Err(error) => {
                run("ROLLBACK TO closing")?;
                Err(Arc::new(error))
            }
            Ok(Written::Vetoed(claim)) => {
                run("ROLLBACK TO closing")?;
                Ok(queue::end(connection, session, claim, &Disposal::Release(None))?)
            }
            Ok(Written::Whole) => Ok(true),
            Ok(Written::Lost) => Ok(self.lose(connection, participants)?),
        };
        run("RELEASE closing")?;
        Ok(ended)
    }
}

/// How far writing an ending came.
enum Written {
    /// All of it.
    Whole,
    /// The delivery was not held any more.
    Lost,
    /// A participant says that somebody else has the right to the call.
    Vetoed(Claim),
}

/// One error for each of those that shared what failed.
fn again(error: &PortError) -> PortError {
    let what = "settle a delivery";
    if error.is_transient() {
        PortError::transient(what, error.to_string())
    } else {
        PortError::permanent(what, error.to_string())
    }
}
