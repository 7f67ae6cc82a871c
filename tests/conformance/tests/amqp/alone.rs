//! What only RabbitMQ promises.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lovage_brokers::amqp::{AmqpAddress, AmqpBroker, AmqpBrokerOptions, AmqpQueue};
use lovage_conformance::broker::{
    acknowledge, bytes_of, envelope, names, publication, receive_exactly,
};
use lovage_conformance::{BrokerRig, LONG_LEASE};
use lovage_core::ports::{Broker, Demand, Share};
use lovage_core::{Delivery, Disposal, Publication};
use lovage_test_support::Proxy;

use crate::rig::{Classic, InSqlite, Quorum, Rig, Store as _, server};

pub(crate) type Any = Rig<Classic, InSqlite>;

/// Receives one message, however often the connection is lost meanwhile; renews as a worker does.
pub(crate) async fn receive_at_last(session: &dyn Broker, patience: Duration) -> Delivery {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < patience, "nothing came in {patience:?}");
        let _told = session.renew().await;
        let got = session.receive(1, Duration::from_millis(500)).await;
        if let Some(delivery) = got.ok().and_then(|mut got| got.pop()) {
            return delivery;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_delivered_ahead_than_there_are_slots() {
    let rig = Any::start().await;
    for number in 0..5 {
        rig.send("celery", 0, envelope(&number.to_string())).await;
    }
    let session = rig.session_of(&["celery"], LONG_LEASE, 2).await;
    let got = receive_exactly(&*session, 2).await;
    assert_eq!(rig.waiting("celery").await, 3);
    acknowledge(&*session, &got[..1]).await;
    let next = receive_exactly(&*session, 1).await;
    assert_eq!((names(&next), rig.waiting("celery").await), (vec!["2".to_owned()], 2));
    // Somebody gave it two slots more.
    session.resize(4);
    assert_eq!(names(&receive_exactly(&*session, 2).await), ["3", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_and_was_not_asked_for_is_covered_by_no_acknowledgement() {
    let rig = Any::start().await;
    for number in 0..10 {
        rig.send("first", 0, envelope(&format!("first {number}"))).await;
        rig.send("second", 0, envelope(&format!("second {number}"))).await;
    }
    let session = rig.session(&["first", "second"], LONG_LEASE).await;
    rig.connected(&*session, &["first", "second"]).await;
    let shares = [Share { queues: ["second".into()].into(), most: 10 }];
    let demand = Demand { shares: &shares, most: 10, bytes: 1 << 20 };
    let got = session.take(&demand).await.unwrap();
    assert_eq!(got.len(), 10);
    acknowledge(&*session, &got).await;
    session.leave().await.unwrap();
    let again = rig.session(&["first", "second"], LONG_LEASE).await;
    assert_eq!(receive_exactly(&*again, 10).await.len(), 10);
    assert!(again.receive(1, Duration::from_millis(300)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_is_made_again_and_the_others_go_on() {
    let rig = Any::start().await;
    let session = rig.session(&["celery", "other"], LONG_LEASE).await;
    rig.send("other", 0, envelope("held")).await;
    let held = receive_exactly(&*session, 1).await;
    let channel = rig.channel().await;
    channel.queue_delete("celery".into(), QueueDeleteOptions::default()).await.unwrap();
    let again = tokio::join!(receive_at_last(&*session, LONG_LEASE), async {
        // Sleeps because the session is to meet the deletion first.
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.send("celery", 0, envelope("after")).await;
    });
    assert_eq!(names(&[again.0]), ["after"]);
    acknowledge(&*session, &held).await;
    assert_eq!(session.renew().await.unwrap(), [], "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_without_a_word_is_left_and_another_connection_consumes() {
    let rig = Any::start().await;
    let proxy = Proxy::start(server().port());
    let through =
        rig.url.replace(&format!(":{}/", server().port()), &format!(":{}/", proxy.port()));
    let mut options = rig.options(&["celery"], Duration::from_secs(30));
    options.address = AmqpAddress::parse(&through).unwrap();
    let session = rig.broker(options).await;
    assert!(session.receive(1, Duration::from_millis(200)).await.unwrap().is_empty());
    assert!(proxy.connections() > 0);
    proxy.freeze();
    rig.send("celery", 0, envelope("a")).await;
    let start = Instant::now();
    let got = receive_at_last(&session, Duration::from_secs(30)).await;
    println!("consuming again after {:?}", start.elapsed());
    assert_eq!(names(&[got]), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_a_queue_that_nobody_made_makes_it_and_one_to_no_exchange_is_refused() {
    let rig = Any::start().await;
    let session = rig.session(&["celery"], LONG_LEASE).await;
    let to = |exchange: &str, key: &str| Publication {
        exchange: exchange.to_owned(),
        routing_key: key.to_owned(),
        ..publication(1, None)
    };
    session.publish(&[to("", "fresh"), to("", "celery")]).await.unwrap();
    assert_eq!((rig.waiting("fresh").await, rig.waiting("celery").await), (1, 1));
    for refused in [to("nowhere", "a"), to("amq.topic", "bound.to.nothing")] {
        let error = session.publish(&[refused]).await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
    }
    session.publish(&[to("", "fresh")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_for_long_is_with_the_store_and_still_ours() {
    let rig = Any::start().await;
    rig.send("celery", 0, envelope("a")).await;
    rig.send("celery", 0, envelope("b")).await;
    let mut options = rig.options(&["celery"], Duration::from_secs(20));
    options.consumer_timeout = Duration::from_secs(1);
    let session = rig.broker(options).await;
    let got = receive_exactly(&session, 2).await;
    // Sleeps because half of the timeout is to pass.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(session.renew().await.unwrap(), []);
    let custody = rig.store.custody().await;
    let next = custody.due(10, Duration::ZERO).await.unwrap().next;
    assert!(next.is_some_and(|next| next > Duration::from_secs(20)), "{next:?}");
    // One is over; the other goes back, and is the same message.
    acknowledge(&session, &got[..1]).await;
    session.close(&[(got[1].receipt, Disposal::Release(None))]).await;
    let again = receive_at_last(&session, Duration::from_secs(20)).await;
    assert_eq!((bytes_of(&again), again.deliveries), (bytes_of(&got[1]), 2));
    acknowledge(&session, &[again]).await;
    // It is forgotten after it was published, which may be after it was delivered.
    let start = Instant::now();
    while custody.due(10, Duration::from_secs(15)).await.unwrap().next.is_some() {
        assert!(start.elapsed() < Duration::from_secs(20), "never forgotten");
        // Sleeps because no store tells.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    session.leave().await.unwrap();
    assert_eq!(rig.waiting("celery").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_there_otherwise_is_used_as_it_is() {
    let rig = Any::start().await;
    let channel = rig.channel().await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("plain".into(), options, FieldTable::default()).await.unwrap();
    let session = rig.session(&["plain"], LONG_LEASE).await;
    let message = Publication { routing_key: "plain".to_owned(), ..publication(1, None) };
    session.publish(&[message]).await.unwrap();
    receive_exactly(&*session, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_celery_delays_on_its_way_to_a_topic_queue_arrives() {
    let rig = Rig::<Quorum, InSqlite>::start().await;
    let mut options = rig.options(&["video"], LONG_LEASE);
    let text = "video exchange=media type=topic key=video x-queue-type=quorum";
    options.configured = vec![AmqpQueue::parse(text).unwrap()];
    let session = rig.broker(options).await;
    assert!(session.receive(1, Duration::from_millis(10)).await.unwrap().is_empty());
    // One second, as Celery writes it: twenty-eight bits, the highest first.
    let key = format!("{}1.video", "0.".repeat(27));
    let delayed = Publication {
        exchange: "celery_delayed_27".to_owned(),
        routing_key: key.clone(),
        ..publication(1, None)
    };
    let start = Instant::now();
    session.publish(&[delayed]).await.unwrap();
    let got = receive_exactly(&session, 1).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(got[0].queue.as_str(), "video");
    acknowledge(&session, &got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_the_next_is_tried_when_one_is_not_there() {
    let rig = Any::start().await;
    let mut options = rig.options(&["celery"], LONG_LEASE);
    let (start, host) = rig.url.split_once("127.0.0.1").unwrap();
    let gone = format!("{start}127.0.0.1:1/{}", host.split_once('/').unwrap().1);
    options.address = AmqpAddress::parse(&format!("{gone};{}", rig.url)).unwrap();
    rig.send("celery", 0, Bytes::from_static(b"a")).await;
    let session = rig.broker(AmqpBrokerOptions { slots: 1, ..options }).await;
    assert_eq!(bytes_of(&receive_at_last(&session, LONG_LEASE).await), b"a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_final_and_a_server_that_is_down_is_not() {
    let rig = Any::start().await;
    let mut options = rig.options(&["celery"], LONG_LEASE);
    let wrong = rig.url.replace("guest:guest", "guest:wrong");
    options.address = AmqpAddress::parse(&wrong).unwrap();
    let session = rig.broker(options.clone()).await;
    let refused = session.receive(1, Duration::ZERO).await.unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
    options.address = AmqpAddress::parse("amqp://127.0.0.1:1").unwrap();
    let session = rig.broker(options).await;
    assert!(session.receive(1, Duration::ZERO).await.unwrap_err().is_transient());
}

impl Any {
    /// A session on `celery`.
    pub(crate) async fn session_with(&self, lease: Duration, slots: u16) -> AmqpBroker {
        let options = self.options(&["celery"], lease);
        self.broker(AmqpBrokerOptions { slots, ..options }).await
    }
}
