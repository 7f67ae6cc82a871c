//! The statements, carried out.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::{GenericClient, Object, Transaction};
use futures::future::try_join_all;
use lovage_core::{Claim, End, Fence, Hold, LedgerKey, Record, State, StepInput, StepRecord};
use tokio_postgres::{Error, Row};

use super::statements::{FIND_STEP, INSERT, LOCK, SAVE_STEP, Statements, UPDATE};
use crate::columns::{Columns, signed, unsigned};

/// Rows that one clean-up deletes at most, and how many clean-ups a heartbeat makes at most.
const FORGOTTEN_MAX: i64 = 5_000;
const CLEAN_UPS_MAX: usize = 20;

/// What is known of a record at a moment.
pub(super) struct Found {
    pub(super) record: Option<Record>,
    /// How its owner does.
    pub(super) hold: Hold,
    pub(super) now_ms: u64,
    /// A fence that nobody else is given.
    pub(super) fence: u64,
    /// Whether the session that asks has its lease.
    pub(super) alive: bool,
}

/// A record that takes another's place.
pub(super) struct Change {
    pub(super) key: LedgerKey,
    pub(super) before: Option<Record>,
    pub(super) record: Record,
    /// How long the steps of a call that did not succeed stay.
    pub(super) steps_until_ms: u64,
}

/// Inserts what nobody has claimed before; the fences of those, `None` when the session is over.
pub(super) async fn insert(
    client: &Object,
    statements: &Statements,
    batch: &[Claim],
    session: i64,
) -> Result<Option<HashMap<LedgerKey, u64>>, Error> {
    let keys: Vec<_> = batch.iter().map(|claim| claim.key.as_bytes().as_slice()).collect();
    let payloads: Vec<_> = batch.iter().map(|claim| claim.payload.as_bytes()).collect();
    let attempts: Vec<_> = batch.iter().map(|claim| i64::from(claim.attempt)).collect();
    let tickets: Vec<_> = batch.iter().map(|claim| signed(claim.ticket)).collect();
    let statement = client.prepare_cached(&statements.claim).await?;
    let rows = client.query(&statement, &[&session, &keys, &payloads, &attempts, &tickets]).await?;
    let mut fresh = HashMap::with_capacity(rows.len());
    for row in rows {
        if !row.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        if let Some(key) = row.try_get::<_, Option<&[u8]>>(1)?.and_then(|it| it.try_into().ok()) {
            fresh.insert(LedgerKey::from_bytes(key), unsigned(row.try_get(2)?));
        }
    }
    Ok(Some(fresh))
}

/// Finds records, in the order of their keys.
pub(super) async fn find(
    client: &impl GenericClient,
    statements: &Statements,
    keys: &[LedgerKey],
    session: i64,
) -> Result<Vec<Found>, Error> {
    let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
    let statement = client.prepare_cached(&statements.find).await?;
    let rows = client.query(&statement, &[&keys, &session]).await?;
    rows.iter().map(found).collect()
}

fn found(row: &Row) -> Result<Found, Error> {
    let (now_ms, until_ms): (i64, i64) = (row.try_get(10)?, row.try_get(13)?);
    let hold = if row.try_get(12)? {
        Hold::Left
    } else if until_ms > now_ms {
        Hold::Live(Duration::from_millis(unsigned(until_ms - now_ms)))
    } else {
        Hold::Over
    };
    let columns = match row.try_get::<_, Option<i16>>(0)? {
        Some(state) => Some(Columns {
            state,
            fence: row.try_get(1)?,
            payload: row.try_get(2)?,
            attempt: row.try_get(3)?,
            crashes: row.try_get(4)?,
            owner: row.try_get(5)?,
            ticket: row.try_get(6)?,
            moment_ms: row.try_get(7)?,
            settled: row.try_get(8)?,
            verdict: row.try_get(9)?,
        }),
        None => None,
    };
    Ok(Found {
        record: columns.and_then(Columns::record),
        hold,
        now_ms: unsigned(now_ms),
        fence: unsigned(row.try_get(11)?),
        alive: row.try_get(14)?,
    })
}

/// Writes all changes in one transaction; which of them found their record as it was read. In the
/// order of their keys, so that two workers never wait for each other in a circle.
pub(super) async fn change(client: &mut Object, changes: &[Change]) -> Result<Vec<bool>, Error> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let mut order: Vec<_> = (0..changes.len()).collect();
    order.sort_by_key(|index| changes.get(*index).map(|change| change.key));
    let mut written = vec![false; changes.len()];
    let transaction = client.transaction().await?;
    // Known before the writes, so that these are sent one behind the other and answered together.
    transaction.prepare_cached(INSERT).await?;
    transaction.prepare_cached(UPDATE).await?;
    let swaps = order.iter().filter_map(|index| changes.get(*index));
    let swapped = try_join_all(swaps.map(|change| swap(&transaction, change))).await?;
    transaction.commit().await?;
    for (index, swapped) in order.into_iter().zip(swapped) {
        if let Some(place) = written.get_mut(index) {
            *place = swapped;
        }
    }
    Ok(written)
}

async fn swap(client: &Transaction<'_>, change: &Change) -> Result<bool, Error> {
    let (key, row) = (change.key.as_bytes().as_slice(), Columns::from(&change.record));
    let Some(before) = &change.before else {
        let statement = client.prepare_cached(INSERT).await?;
        let count = client
            .execute(
                &statement,
                &[
                    &key,
                    &row.state,
                    &row.fence,
                    &row.payload,
                    &row.attempt,
                    &row.crashes,
                    &row.owner,
                    &row.ticket,
                    &row.moment_ms,
                    &row.settled,
                    &row.verdict,
                ],
            )
            .await?;
        return Ok(count == 1);
    };
    let before = Columns::from(before);
    let steps_expire_ms = match change.record.state {
        State::Over { end: End::Done, expires_ms: Some(at), .. } => Some(signed(at)),
        State::Over { expires_ms: Some(at), .. } => Some(signed(at.max(change.steps_until_ms))),
        _ => None,
    };
    let statement = client.prepare_cached(UPDATE).await?;
    let rows = client
        .query(
            &statement,
            &[
                &key,
                &row.state,
                &row.fence,
                &row.payload,
                &row.attempt,
                &row.crashes,
                &row.owner,
                &row.ticket,
                &row.moment_ms,
                &row.settled,
                &row.verdict,
                &before.fence,
                &before.state,
                &before.settled,
                &before.owner,
                &steps_expire_ms,
            ],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Keeps others from changing a record until the transaction ends.
pub(super) async fn lock(client: &Transaction<'_>, key: &LedgerKey) -> Result<(), Error> {
    let statement = client.prepare_cached(LOCK).await?;
    client.query(&statement, &[&key.as_bytes().as_slice()]).await.map(drop)
}

/// A step of a call.
pub(super) async fn find_step(
    client: &Transaction<'_>,
    key: &LedgerKey,
    name: &str,
    now_ms: u64,
) -> Result<Option<StepRecord>, Error> {
    let statement = client.prepare_cached(FIND_STEP).await?;
    let values = (key.as_bytes().as_slice(), name, signed(now_ms));
    let row = client.query_opt(&statement, &[&values.0, &values.1, &values.2]).await?;
    let Some(row) = row else { return Ok(None) };
    let input = row.try_get::<_, &[u8]>(1)?.try_into().unwrap_or_default();
    Ok(Some(StepRecord {
        fence: Fence(unsigned(row.try_get(0)?)),
        input: StepInput(input),
        ticket: unsigned(row.try_get(2)?),
        doubted: row.try_get(3)?,
        value: row.try_get::<_, Option<Vec<u8>>>(4)?.map(Into::into),
    }))
}

/// Writes a step in the place of what was there.
pub(super) async fn save_step(
    client: &Transaction<'_>,
    key: &LedgerKey,
    name: &str,
    step: &StepRecord,
) -> Result<(), Error> {
    let statement = client.prepare_cached(SAVE_STEP).await?;
    let (key, fence) = (key.as_bytes().as_slice(), signed(step.fence.0));
    let (input, value) = (step.input.0.as_slice(), step.value.as_deref());
    let (ticket, doubted) = (signed(step.ticket), step.doubted);
    client
        .execute(&statement, &[&key, &name, &fence, &input, &ticket, &doubted, &value])
        .await
        .map(drop)
}

/// Deletes a step.
pub(super) async fn delete_step(
    client: &Transaction<'_>,
    key: &LedgerKey,
    name: &str,
) -> Result<(), Error> {
    let delete = "DELETE FROM lovage_ledger_step WHERE key = $1 AND name = $2";
    let statement = client.prepare_cached(delete).await?;
    client.execute(&statement, &[&key.as_bytes().as_slice(), &name]).await.map(drop)
}

/// Steps last as long as their record runs; they may be there from before a redrive.
pub(super) async fn keep_steps(client: &Transaction<'_>, key: &LedgerKey) -> Result<(), Error> {
    let keep = "UPDATE lovage_ledger_step SET expires_ms = NULL
        WHERE key = $1 AND expires_ms IS NOT NULL";
    let statement = client.prepare_cached(keep).await?;
    client.execute(&statement, &[&key.as_bytes().as_slice()]).await.map(drop)
}

/// Extends a session, or begins another one if it is over; which one then is alive.
pub(super) async fn extend_or_begin(
    client: &Object,
    statements: &Statements,
    session: i64,
    lease_ms: i64,
) -> Result<i64, Error> {
    let extend = client.prepare_cached(&statements.extend).await?;
    if let Some(row) = client.query_opt(&extend, &[&session, &lease_ms]).await? {
        return row.try_get(0);
    }
    let begin = client.prepare_cached(&statements.begin).await?;
    client.query_one(&begin, &[&lease_ms]).await?.try_get(0)
}

/// Ends a session that lives, for good.
pub(super) async fn leave(
    client: &Object,
    statements: &Statements,
    session: i64,
) -> Result<(), Error> {
    let statement = client.prepare_cached(&statements.leave).await?;
    client.execute(&statement, &[&session]).await.map(drop)
}

/// Deletes what may be forgotten.
pub(super) async fn forget(client: &Object, statements: &Statements) -> Result<(), Error> {
    for delete in [&statements.forget_records, &statements.forget_steps] {
        let statement = client.prepare_cached(delete).await?;
        for _ in 0..CLEAN_UPS_MAX {
            if client.execute(&statement, &[&FORGOTTEN_MAX]).await? < FORGOTTEN_MAX.unsigned_abs() {
                break;
            }
        }
    }
    Ok(())
}

/// Deletes records; how many there were.
pub(super) async fn purge(
    client: &Object,
    keys: &[LedgerKey],
    steps: bool,
) -> Result<usize, Error> {
    let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
    if steps {
        let delete = "DELETE FROM lovage_ledger_step WHERE key = ANY($1)";
        client.execute(delete, &[&keys]).await?;
    }
    let gone = client.execute("DELETE FROM lovage_ledger WHERE key = ANY($1)", &[&keys]).await?;
    Ok(usize::try_from(gone).unwrap_or(usize::MAX))
}
