//! What only a file in kombu's layout has to bear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lovage_brokers::sqlite::{SqliteBroker, SqliteBrokerSettings};
use lovage_conformance::broker::{acknowledge, envelope, names, receive_exactly};
use lovage_conformance::{BrokerRig, LONG_LEASE, PATIENCE};
use lovage_core::ports::Broker;
use lovage_core::{Disposal, Receipt};
use lovage_sqlite::{Database, Settings};

use crate::rig::{MachineClock, SqliteRig, begin, open};

#[tokio::test]
async fn what_kombus_worker_took_is_never_touched() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    for name in ["theirs", "ours"] {
        rig.send("celery", 0, envelope(name)).await;
    }
    let take = "UPDATE kombu_message SET visible = 0, timestamp = '2026-01-01' WHERE id = 1";
    rig.connection().execute(take, []).unwrap();
    let session = rig.session(&["celery"], LONG_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    assert_eq!(names(&got), ["ours"]);
    session.sweep().await.unwrap();
    session.leave().await.unwrap();
    session.sweep().await.unwrap();
    assert_eq!(rig.number("SELECT visible FROM kombu_message WHERE id = 1"), 0);
    assert_eq!(rig.waiting("celery").await, 1);
}

#[tokio::test]
async fn a_queue_that_was_purged_under_a_delivery_is_no_error() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    rig.send("celery", 0, envelope("a")).await;
    let session = rig.session(&["celery"], LONG_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    rig.connection().execute("DELETE FROM kombu_message", []).unwrap();
    acknowledge(&*session, &got).await;
    assert_eq!(rig.number("SELECT count(*) FROM lovage_lease"), 0);
}

#[tokio::test]
async fn a_session_of_an_earlier_boot_is_over() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    rig.send("celery", 0, envelope("a")).await;
    let before = rig.session(&["celery"], LONG_LEASE).await;
    receive_exactly(&*before, 1).await;
    rig.connection().execute("UPDATE lovage_session SET boot = 'another'", []).unwrap();
    let after = rig.session(&["celery"], LONG_LEASE).await;
    after.sweep().await.unwrap();
    assert_eq!(receive_exactly(&*after, 1).await[0].deliveries, 2);
}

#[tokio::test]
async fn a_file_that_is_locked_for_long_costs_errors_that_pass_and_nothing_else() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    let settings = Settings { busy_timeout: Duration::from_millis(100) };
    let database = Database::open(&rig.path(), settings).await.unwrap();
    let session = begin(database, LONG_LEASE).await;
    for name in ["a", "b"] {
        rig.send("celery", 0, envelope(name)).await;
    }
    let held = receive_exactly(&session, 1).await;
    let producer = rig.connection();
    producer.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(session.receive(1, PATIENCE).await.unwrap_err().is_transient());
    let answers = session.close(&[(held[0].receipt, Disposal::Acknowledge)]).await;
    assert!(answers[0].as_ref().unwrap_err().is_transient());
    assert!(session.renew().await.unwrap_err().is_transient());
    producer.execute_batch("COMMIT").unwrap();
    acknowledge(&session, &held).await;
    let rest = receive_exactly(&session, 1).await;
    assert_eq!(names(&rest), ["b"]);
    acknowledge(&session, &rest).await;
    assert_eq!(rig.number("SELECT count(*) FROM kombu_message"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_processs_commit_is_delivered_within_milliseconds() {
    let rig = Arc::new(<SqliteRig as BrokerRig>::start().await);
    let session = rig.session(&["celery"], LONG_LEASE).await;
    let mut delays = Vec::new();
    for _ in 0..40 {
        let sender = Arc::clone(&rig);
        let receive = session.receive(1, PATIENCE);
        let sent = tokio::task::spawn_blocking(move || {
            // Wait until the session has nothing left to do but to wait.
            std::sync::mpsc::sync_channel::<()>(0)
                .1
                .recv_timeout(Duration::from_millis(30))
                .unwrap_err();
            let connection = sender.connection();
            connection.pragma_update(None, "synchronous", "FULL").unwrap();
            let insert = "INSERT INTO kombu_message (visible, payload, version, queue_id)
                VALUES (1, '{}', 1, 1)";
            connection.execute(insert, []).unwrap();
            Instant::now()
        });
        let (got, sent) = tokio::join!(receive, sent);
        delays.push(sent.unwrap().elapsed());
        acknowledge(&*session, &got.unwrap()).await;
    }
    delays.sort_unstable();
    println!("from commit to delivery: median {:?}, worst {:?}", delays[20], delays[39]);
    assert!(delays[20] < Duration::from_millis(30), "{delays:?}");
}

#[tokio::test]
async fn a_batch_of_large_messages_is_cut_short() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    let large = bytes::Bytes::from(vec![b'x'; 12 << 20]);
    for _ in 0..5 {
        rig.send("celery", 0, large.clone()).await;
    }
    let session = rig.session(&["celery"], LONG_LEASE).await;
    assert_eq!(session.receive(5, PATIENCE).await.unwrap().len(), 2);
    assert_eq!(rig.waiting("celery").await, 3);
}

#[tokio::test]
async fn kept_messages_are_bounded_and_the_oldest_go() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    for number in 0..5 {
        rig.send("celery", 0, envelope(&number.to_string())).await;
    }
    let settings = SqliteBrokerSettings::new(vec!["celery".into()]);
    let settings = SqliteBrokerSettings { kept_max: 3, ..settings };
    let database = open(&rig.path()).await;
    let session = SqliteBroker::start(database, settings, Arc::new(MachineClock)).await.unwrap();
    let mut batch = Vec::<(Receipt, Disposal)>::new();
    for delivery in receive_exactly(&session, 5).await {
        let mut kept = lovage_conformance::broker::kept(&names(std::slice::from_ref(&delivery))[0]);
        kept.at = lovage_conformance::broker::now();
        batch.push((delivery.receipt, Disposal::Keep(Box::new(kept))));
    }
    assert!(session.close(&batch).await.iter().all(Result::is_ok));
    session.sweep().await.unwrap();
    let left: Vec<_> = rig.kept().await.into_iter().map(|(kept, _)| kept.reason).collect();
    assert_eq!(left, ["2", "3", "4"]);
}

#[tokio::test]
async fn a_later_versions_file_is_refused_with_its_name() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    rig.connection().execute("UPDATE lovage_meta SET version = 99", []).unwrap();
    let settings = SqliteBrokerSettings::new(vec!["celery".into()]);
    let database = open(&rig.path()).await;
    let outcome = SqliteBroker::start(database, settings, Arc::new(MachineClock)).await;
    let error = outcome.err().unwrap();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("queue.db"), "{error}");
}
