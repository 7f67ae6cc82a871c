//! How many deliveries can be taken and settled a second, every commit on disk.

use std::sync::Arc;
use std::time::Instant;

use lovage_brokers::sqlite::SqliteSettle;
use lovage_conformance::broker::publication;
use lovage_conformance::results::{record, success};
use lovage_conformance::{BrokerRig, LONG_LEASE, PATIENCE};
use lovage_core::ports::{Broker, Settle};
use lovage_core::{Closing, Disposal};
use lovage_stores::sqlite::ResultRows;

use crate::rig::{SqliteRig, begin, open};

/// Takes and settles everything, at most `most` at once; deliveries a second.
async fn drain(most: usize, messages: usize) -> f64 {
    let rig = <SqliteRig as BrokerRig>::start().await;
    let broker = Arc::new(begin(open(&rig.path()).await, LONG_LEASE).await);
    let settle = SqliteSettle::start(Arc::clone(&broker), vec![Arc::new(ResultRows::default())])
        .await
        .unwrap();
    let all: Vec<_> = (0..messages).map(|number| publication(number, None)).collect();
    broker.publish(&all).await.unwrap();
    let settle = Arc::new(settle);
    let start = Instant::now();
    let mut settling = tokio::task::JoinSet::new();
    let mut taken = 0;
    while taken < messages {
        let got = broker.receive(most, PATIENCE).await.unwrap();
        let batch: Vec<_> = got
            .iter()
            .enumerate()
            .map(|(number, delivery)| Closing {
                receipt: delivery.receipt,
                ledger: None,
                results: vec![record(&format!("task {}", taken + number), success("5"))],
                publications: Vec::new(),
                chords: None,
                disposal: Disposal::Acknowledge,
            })
            .collect();
        taken += got.len();
        let settle = Arc::clone(&settle);
        settling.spawn(async move { settle.settle(&batch).await });
    }
    for answers in settling.join_all().await {
        assert!(answers.iter().all(Result::is_ok));
    }
    let rate = f64::from(u32::try_from(messages).unwrap()) / start.elapsed().as_secs_f64();
    assert_eq!(rig.number("SELECT count(*) FROM kombu_message"), 0);
    rate
}

/// The figures depend on the disk and are only shown; that everything is settled is checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_settled_whatever_shares_a_commit() {
    for (most, messages) in [(1, 500), (16, 4_000), (64, 10_000), (256, 10_000)] {
        let rate = drain(most, messages).await;
        println!("{rate:.0} deliveries taken and settled a second, {most} at a time");
    }
}
