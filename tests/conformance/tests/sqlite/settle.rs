//! One transaction for everything that a settlement makes true.

use std::sync::Arc;
use std::time::Duration;

use lovage_brokers::sqlite::{SqliteBroker, SqliteSettle};
use lovage_conformance::broker::{envelope, publication, receive_exactly, swept};
use lovage_conformance::results::{record, success};
use lovage_conformance::{BrokerRig, LONG_LEASE, ResultRig};
use lovage_core::ports::{Broker, Settle};
use lovage_core::{Closing, Delivery, Disposal};
use lovage_sqlite::Participant;
use lovage_stores::sqlite::ResultRows;

use crate::rig::{SqliteRig, begin, open};

/// Refuses the closing of one task.
struct Refuses(&'static str);

impl Participant for Refuses {
    fn prepare(&self, _: &rusqlite::Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn write(&self, _: &rusqlite::Connection, closing: &Closing) -> rusqlite::Result<bool> {
        let refused = closing.results.iter().any(|one| one.task_id.as_str() == self.0);
        if refused { Err(rusqlite::Error::InvalidQuery) } else { Ok(true) }
    }
}

async fn rig_with(count: usize, lease: Duration) -> (SqliteRig, Arc<SqliteBroker>) {
    let rig = <SqliteRig as BrokerRig>::start().await;
    for number in 0..count {
        rig.send("celery", 0, envelope(&number.to_string())).await;
    }
    let broker = Arc::new(begin(open(&rig.path()).await, lease).await);
    (rig, broker)
}

fn closing(number: usize, delivery: &Delivery) -> Closing {
    Closing {
        receipt: delivery.receipt,
        ledger: None,
        results: vec![record(&format!("task {number}"), success(&number.to_string()))],
        publications: vec![publication(number, None)],
        chords: None,
        disposal: Disposal::Acknowledge,
    }
}

#[tokio::test]
async fn result_follow_up_and_end_are_there_together() {
    let (rig, broker) = rig_with(3, LONG_LEASE).await;
    let settle = SqliteSettle::start(Arc::clone(&broker), vec![Arc::new(ResultRows::default())])
        .await
        .unwrap();
    let got = receive_exactly(&*broker, 3).await;
    let batch: Vec<_> = got.iter().enumerate().map(|(n, one)| closing(n, one)).collect();
    assert!(settle.settle(&batch).await.iter().all(Result::is_ok));
    for number in 0..3 {
        let seen = rig.seen(&format!("task {number}").as_str().into()).await;
        assert_eq!(seen, Some(("SUCCESS".to_owned(), number.to_string())));
    }
    assert_eq!(rig.waiting("celery").await, 3, "the follow-ups");
    assert_eq!(rig.number("SELECT count(*) FROM lovage_lease"), 0);
}

#[tokio::test]
async fn a_closing_that_fails_leaves_nothing_behind_and_its_neighbours_alone() {
    let (rig, broker) = rig_with(3, LONG_LEASE).await;
    let participants: Vec<Arc<dyn Participant>> =
        vec![Arc::new(ResultRows::default()), Arc::new(Refuses("task 1"))];
    let settle = SqliteSettle::start(Arc::clone(&broker), participants).await.unwrap();
    let got = receive_exactly(&*broker, 3).await;
    let batch: Vec<_> = got.iter().enumerate().map(|(n, one)| closing(n, one)).collect();
    let answers = settle.settle(&batch).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(rig.seen(&"task 1".into()).await, None);
    assert_eq!(rig.waiting("celery").await, 2, "the follow-ups of the others");
    assert_eq!(rig.number("SELECT count(*) FROM lovage_lease"), 1);
    // It is still held, so it can be settled by whoever tries again.
    let again = SqliteSettle::start(broker, vec![Arc::new(ResultRows::default())]).await.unwrap();
    assert!(again.settle(&batch[1..2]).await[0].is_ok());
    assert!(rig.seen(&"task 1".into()).await.is_some());
}

#[tokio::test]
async fn nothing_is_written_for_a_delivery_that_was_lost() {
    let (rig, late) = rig_with(1, Duration::from_millis(200)).await;
    let settle = SqliteSettle::start(Arc::clone(&late), vec![Arc::new(ResultRows::default())])
        .await
        .unwrap();
    let lost = receive_exactly(&*late, 1).await;
    let other = rig.session(&["celery"], LONG_LEASE).await;
    swept(&*other, 1).await;
    assert!(settle.settle(&[closing(0, &lost[0])]).await[0].is_ok());
    assert_eq!(rig.seen(&"task 0".into()).await, None);
    assert_eq!(rig.waiting("celery").await, 0);
    assert_eq!(rig.number("SELECT count(*) FROM lovage_lease WHERE session IS NOT NULL"), 1);
    assert_eq!(late.renew().await.unwrap(), [lost[0].receipt]);
}

#[tokio::test]
async fn nothing_is_written_once_the_lease_is_over_even_if_nobody_took_the_delivery() {
    let (rig, late) = rig_with(1, Duration::from_millis(50)).await;
    let settle = SqliteSettle::start(Arc::clone(&late), vec![Arc::new(ResultRows::default())])
        .await
        .unwrap();
    let lost = receive_exactly(&*late, 1).await;
    rig.connection().execute("UPDATE lovage_session SET until_ms = 0", []).unwrap();
    assert!(settle.settle(&[closing(0, &lost[0])]).await[0].is_ok());
    assert_eq!(rig.seen(&"task 0".into()).await, None);
    late.sweep().await.unwrap();
    assert_eq!(rig.waiting("celery").await, 1);
}
