//! What RabbitMQ and the store do together: what waited, dead letters, slots and queues.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lovage_brokers::amqp::{AmqpBroker, AmqpQueue, QueueDirectory};
use lovage_conformance::broker::{
    acknowledge, envelope, kept, names, now, publication, receive_exactly,
};
use lovage_conformance::{BrokerRig, LONG_LEASE};
use lovage_core::ports::{Broker, PortError};
use lovage_core::{Disposal, Publication, QueueName};

use crate::alone::{Any, receive_at_last};
use crate::rig::{Classic, InPostgres, InRedis, InSqlite, Rig, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_comes_before_what_waits_as_slots_become_free() {
    let rig = Any::start().await;
    for name in ["a", "b", "c", "d"] {
        rig.send("celery", 0, envelope(name)).await;
    }
    let session = rig.session_with(LONG_LEASE, 2).await;
    let got = receive_exactly(&session, 2).await;
    for (delivery, wait_ms) in got.iter().zip([200, 210]) {
        let later = Disposal::Release(Some(now().after(Duration::from_millis(wait_ms))));
        session.close(&[(delivery.receipt, later)]).await;
    }
    let next = receive_exactly(&session, 1).await;
    assert_eq!(names(&next), ["c"]);
    // Sleeps because the moment is to come: one slot is free then, and a and b wait for it.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let due = receive_exactly(&session, 1).await;
    assert_eq!((names(&due), due[0].deliveries, due[0].redelivered), (vec!["a".into()], 2, true));
    acknowledge(&session, &next).await;
    acknowledge(&session, &due).await;
    // The other one was left with the store, and is still before what waits.
    assert_eq!(names(&receive_exactly(&session, 2).await), ["b", "d"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_from_the_store_goes_back_when_its_worker_leaves_or_dies() {
    let rig = Any::start().await;
    rig.send("celery", 0, envelope("a")).await;
    let session = rig.session_with(Duration::from_secs(1), 2).await;
    let put_off = async |session: &AmqpBroker| {
        let got = receive_exactly(session, 1).await;
        let later = Disposal::Release(Some(now().after(Duration::from_millis(50))));
        session.close(&[(got[0].receipt, later)]).await;
        let again = receive_exactly(session, 1).await;
        assert_eq!(names(&again), ["a"]);
        again[0].deliveries
    };
    assert_eq!(put_off(&session).await, 2);
    session.leave().await.unwrap();
    assert_eq!(rig.waiting("celery").await, 1);
    let session = rig.session_with(Duration::from_secs(1), 2).await;
    assert_eq!(put_off(&session).await, 4);
    // It renews nothing from now on: within two leases the message is somebody else's.
    drop(session);
    let other = rig.session_with(Duration::from_secs(1), 2).await;
    assert_eq!(names(&[receive_at_last(&other, LONG_LEASE).await]), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_ahead_follows_the_slots_down_and_up() {
    let rig = Any::start().await;
    for number in 0..10 {
        rig.send("celery", 0, envelope(&number.to_string())).await;
    }
    let session = rig.session_with(LONG_LEASE, 5).await;
    let held = receive_exactly(&session, 1).await;
    assert_eq!(rig.waiting("celery").await, 5);
    session.resize(2);
    let next = receive_exactly(&session, 1).await;
    assert_eq!((names(&next), rig.waiting("celery").await), (vec!["1".into()], 8));
    session.resize(4);
    assert_eq!(names(&receive_exactly(&session, 1).await), ["2"]);
    assert_eq!(rig.waiting("celery").await, 6);
    acknowledge(&session, &held).await;
    acknowledge(&session, &next).await;
    assert_eq!(names(&receive_exactly(&session, 1).await), ["3"]);
    assert_eq!(rig.waiting("celery").await, 4, "each answer makes room for one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_for_long_keeps_its_slot_though_the_server_does_not_know_of_it() {
    let rig = Any::start().await;
    for number in 0..4 {
        rig.send("celery", 0, envelope(&number.to_string())).await;
    }
    let mut options = rig.options(&["celery"], Duration::from_secs(20));
    options.consumer_timeout = Duration::from_secs(1);
    options.slots = 2;
    let session = rig.broker(options).await;
    let held = receive_exactly(&session, 1).await;
    // Sleeps because half of the timeout is to pass.
    tokio::time::sleep(Duration::from_millis(600)).await;
    session.renew().await.unwrap();
    let second = receive_exactly(&session, 1).await;
    assert_eq!((names(&second), rig.waiting("celery").await), (vec!["1".into()], 2));
    acknowledge(&session, &held).await;
    assert_eq!(names(&receive_exactly(&session, 1).await), ["2"]);
}

/// A queue that has its dead letters go to the exchange `dead`, and one that has them there.
async fn with_letters<K: crate::rig::Kind>(rig: &Rig<K, InSqlite>, queue: &str) -> AmqpBroker {
    let channel = rig.channel().await;
    let (durable, none) =
        (ExchangeDeclareOptions { durable: true, ..Default::default() }, FieldTable::default());
    let kind = lapin::ExchangeKind::Direct;
    channel.exchange_declare("dead".into(), kind, durable, none.clone()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("letters".into(), durable, none.clone()).await.unwrap();
    let key = "of mail".into();
    let bind = QueueBindOptions::default();
    channel.queue_bind("letters".into(), "dead".into(), key, bind, none).await.unwrap();
    let mut options = rig.options(&["mail"], LONG_LEASE);
    let mut mail = AmqpQueue::parse(queue).unwrap();
    mail.set_default("x-dead-letter-routing-key", "of mail");
    options.configured = vec![mail];
    options.dead_letters_to_exchange = true;
    options.consumer_timeout = Duration::from_secs(2);
    rig.broker(options).await
}

async fn letters_go_to_the_exchange<K: crate::rig::Kind>(queue: &str) {
    let rig = Rig::<K, InSqlite>::start().await;
    let session = with_letters(&rig, queue).await;
    let mail = |number| Publication { routing_key: "mail".to_owned(), ..publication(number, None) };
    session.publish(&[mail(1), mail(2)]).await.unwrap();
    let mut got = receive_exactly(&session, 2).await.into_iter().map(|one| one.receipt);
    let mut keep = || (got.next().unwrap(), Disposal::Keep(Box::new(kept("rejected"))));
    let closed = session.close(&[keep()]).await;
    assert!(closed.iter().all(Result::is_ok), "{closed:?}");
    // The other one is with the store by then, and is sent there by us.
    tokio::time::sleep(Duration::from_millis(1_100)).await; // because half of the timeout is to pass
    session.renew().await.unwrap();
    let closed = session.close(&[keep()]).await;
    assert!(closed.iter().all(Result::is_ok), "{closed:?}");
    let channel = rig.channel().await;
    let mut letters = Vec::new();
    while letters.len() < 2 {
        let letter = channel.basic_get("letters".into(), BasicGetOptions { no_ack: true });
        letters.extend(letter.await.unwrap().map(|letter| letter.delivery));
        tokio::time::sleep(Duration::from_millis(10)).await; // because no server tells
    }
    let bodies: BTreeSet<_> = letters.iter().map(|letter| letter.data.clone()).collect();
    assert_eq!(bodies, [1, 2].map(|n| publication(n, None).parts.body.to_vec()).into());
    let death = |letter: &lapin::message::Delivery| {
        let headers = letter.properties.headers().clone().unwrap_or_default();
        headers.contains_key("x-death")
    };
    assert_eq!(letters.iter().filter(|letter| death(letter)).count(), 1, "the server says why");
    assert!(
        rig.kept().await.is_empty() && session.waiting().await.unwrap() == [("mail".into(), 0)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_go_to_their_queues_own_exchange_if_they_are_to() {
    let arguments = "x-max-priority=10 x-dead-letter-exchange=dead";
    letters_go_to_the_exchange::<Classic>(&format!("mail {arguments}")).await;
    let arguments = "x-queue-type=quorum x-dead-letter-exchange=dead";
    letters_go_to_the_exchange::<crate::rig::Quorum>(&format!("mail {arguments}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_of_a_queue_that_is_otherwise_than_it_is_said_to_be_are_kept() {
    let rig = Any::start().await;
    let channel = rig.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("mail".into(), durable, FieldTable::default()).await.unwrap();
    // The server would drop what is refused from a queue that has no exchange for it.
    let session = with_letters(&rig, "mail x-dead-letter-exchange=dead").await;
    let mail = Publication { routing_key: "mail".to_owned(), ..publication(1, None) };
    session.publish(&[mail]).await.unwrap();
    let got = receive_exactly(&session, 1).await;
    session.close(&[(got[0].receipt, Disposal::Keep(Box::new(kept("rejected"))))]).await;
    assert_eq!(rig.kept().await.len(), 1);
}

async fn queues_are_remembered<S: Store>() {
    let store = S::start().await;
    let custody = store.custody().await;
    assert!(custody.remembered(10).await.unwrap().is_empty());
    for queues in [["b", "a"], ["c", "b"]] {
        custody.remember(&queues.map(QueueName::from)).await.unwrap();
    }
    let remembered = async |most| custody.remembered(most).await.unwrap();
    assert_eq!(remembered(10).await, ["a", "b", "c"].map(QueueName::from));
    assert_eq!(remembered(2).await, ["a", "b"].map(QueueName::from));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_remembers_queues() {
    queues_are_remembered::<InRedis>().await;
    queues_are_remembered::<InSqlite>().await;
    queues_are_remembered::<InPostgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_anybody_of_ours_used_are_known_until_they_are_gone() {
    let rig = Any::start().await;
    let session = rig.session(&["celery"], LONG_LEASE).await;
    assert!(session.receive(1, Duration::from_millis(10)).await.unwrap().is_empty());
    let to = |queue: &str| Publication { routing_key: queue.to_owned(), ..publication(1, None) };
    session.publish(&[to("fresh"), to("gone"), to("fresh")]).await.unwrap();
    let channel = rig.channel().await;
    channel.queue_delete("gone".into(), QueueDeleteOptions::default()).await.unwrap();
    let other = rig.session(&["celery"], LONG_LEASE).await;
    let known: BTreeSet<_> = other.queues().await.unwrap().into_iter().collect();
    assert_eq!(known, ["celery", "fresh"].map(QueueName::from).into());
}

/// Tells of one queue, or nothing.
struct Directory(bool);

#[async_trait]
impl QueueDirectory for Directory {
    async fn queues(&self) -> Result<Vec<QueueName>, PortError> {
        let silent = || PortError::transient("asking", "nobody answers");
        self.0.then(|| vec!["told".into()]).ok_or_else(silent)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_can_tell_which_queues_there_are_is_asked_first() {
    let rig = Any::start().await;
    let asking = async |answers| {
        let broker = rig.broker(rig.options(&["celery"], LONG_LEASE)).await;
        broker.asking(std::sync::Arc::new(Directory(answers))).queues().await.unwrap()
    };
    assert_eq!(asking(true).await, ["told"].map(QueueName::from));
    assert_eq!(asking(false).await, ["celery"].map(QueueName::from));
}
