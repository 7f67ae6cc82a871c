//! A real server that tests share, each in a virtual host of its own, and what they do behind the
//! adapter's back.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use lovage_brokers::amqp::{AmqpAddress, AmqpBroker, AmqpBrokerOptions, AmqpQueue};
use lovage_conformance::{BrokerRig, PATIENCE, Priorities, broker};
use lovage_core::ports::{Broker, Clock, Custody, Demand, KeptMessages};
use lovage_core::{Kept, KeptFilter, Timestamp};
use lovage_redis::Address;
use lovage_sqlite::{Database, Settings};
use lovage_stores::postgres::PostgresCustody;
use lovage_stores::redis::{RedisCustody, RedisCustodyOptions};
use lovage_stores::sqlite::SqliteCustody;
use lovage_test_support::{PostgresServer, RabbitServer, RedisServer};
use tempfile::TempDir;

/// The server of all tests that run at the moment; it goes with the last of them.
static SERVER: Mutex<Weak<RabbitServer>> = Mutex::new(Weak::new());

/// The server, started now if no test has one.
pub(crate) fn server() -> Arc<RabbitServer> {
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(RabbitServer::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// The machine's clock.
pub(crate) struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        broker::now()
    }
}

/// A kind of queue.
pub(crate) trait Kind: Send + Sync + 'static {
    /// The settings of a queue of this kind, behind its name.
    const SETTINGS: &'static str;
    const PRIORITIES: Priorities;
    /// Whether what is returned goes to the front.
    const RETURNED_IS_NEXT: bool;
    /// How long a backlog is tried with.
    const BACKLOG: usize;
    /// How often a message of which it counts so many deliveries says it was delivered.
    fn counted(deliveries: u32) -> u32;
}

/// Classic queues with priorities.
pub(crate) struct Classic;

/// Quorum queues.
pub(crate) struct Quorum;

impl Kind for Classic {
    const SETTINGS: &'static str = "x-max-priority=9";
    const PRIORITIES: Priorities = Priorities::HighFirst;
    const RETURNED_IS_NEXT: bool = true;
    const BACKLOG: usize = 100_000;

    fn counted(deliveries: u32) -> u32 {
        deliveries.min(2)
    }
}

impl Kind for Quorum {
    const SETTINGS: &'static str = "x-queue-type=quorum";
    const PRIORITIES: Priorities = Priorities::None;
    // They have no delivery limit here: without one, the server puts what is returned at the end.
    const RETURNED_IS_NEXT: bool = false;
    // It is the adapter that is tried, and it knows no difference; this server is slower.
    const BACKLOG: usize = 10_000;

    fn counted(deliveries: u32) -> u32 {
        deliveries
    }
}

/// A store for waits and kept messages.
#[async_trait]
pub(crate) trait Store: Sized + Send + Sync + 'static {
    async fn start() -> Self;
    async fn custody(&self) -> Arc<dyn Custody>;
}

pub(crate) struct InRedis(RedisServer);

pub(crate) struct InSqlite(TempDir);

pub(crate) struct InPostgres(PostgresServer);

#[async_trait]
impl Store for InRedis {
    async fn start() -> Self {
        Self(RedisServer::start())
    }

    async fn custody(&self) -> Arc<dyn Custody> {
        let address = Address::parse(&self.0.url(0)).unwrap();
        Arc::new(RedisCustody::new(&RedisCustodyOptions::new(address)).unwrap())
    }
}

#[async_trait]
impl Store for InSqlite {
    async fn start() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn custody(&self) -> Arc<dyn Custody> {
        let path = self.0.path().join("store.db");
        let database = Database::open(&path, Settings::default()).await.unwrap();
        Arc::new(SqliteCustody::start(database, Arc::new(MachineClock)).await.unwrap())
    }
}

#[async_trait]
impl Store for InPostgres {
    async fn start() -> Self {
        Self(tokio::task::spawn_blocking(PostgresServer::start).await.unwrap())
    }

    async fn custody(&self) -> Arc<dyn Custody> {
        Arc::new(PostgresCustody::start(&self.0.url("postgres")).await.unwrap())
    }
}

/// A virtual host and a store of the test's own.
pub(crate) struct Rig<K, S> {
    pub(crate) url: String,
    pub(crate) store: S,
    producer: Channel,
    /// Queues that were made.
    sent_to: tokio::sync::Mutex<HashSet<String>>,
    _connection: Connection,
    _server: Option<Arc<RabbitServer>>,
    kind: PhantomData<K>,
}

impl<K: Kind, S: Store> Rig<K, S> {
    /// On a server of the test's own.
    pub(crate) async fn on(url: String, store: S) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&url, properties).await.unwrap();
        let producer = connection.create_channel().await.unwrap();
        producer.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let sent_to = tokio::sync::Mutex::default();
        let kind = PhantomData;
        Self { url, store, producer, sent_to, _connection: connection, _server: None, kind }
    }

    pub(crate) fn options(&self, queues: &[&str], lease: Duration) -> AmqpBrokerOptions {
        let address = AmqpAddress::parse(&self.url).unwrap();
        let names = queues.iter().copied().map(Into::into).collect();
        let mut options = AmqpBrokerOptions::new(address, names).unwrap();
        options.pattern = AmqpQueue::parse(&format!("celery {}", K::SETTINGS)).unwrap();
        options.lease = lease;
        options
    }

    pub(crate) async fn broker(&self, options: AmqpBrokerOptions) -> AmqpBroker {
        AmqpBroker::new(options, self.store.custody().await, Arc::new(MachineClock))
    }

    /// A channel that shares nothing with the adapter.
    pub(crate) async fn channel(&self) -> Channel {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.url, properties).await.unwrap();
        // A channel keeps its connection open.
        connection.create_channel().await.unwrap()
    }

    async fn declared(&self, queue: &str) -> u32 {
        let mut arguments = FieldTable::default();
        for setting in K::SETTINGS.split(' ') {
            let (name, value) = setting.split_once('=').unwrap();
            let value = match value.parse::<i32>() {
                Ok(number) => lapin::types::AMQPValue::LongInt(number),
                Err(_) => lapin::types::AMQPValue::LongString(value.into()),
            };
            arguments.insert(name.into(), value);
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let queue = self.producer.queue_declare(queue.into(), options, arguments).await.unwrap();
        queue.message_count()
    }
}

#[async_trait]
impl<K: Kind, S: Store> BrokerRig for Rig<K, S> {
    const PRIORITIES: Priorities = K::PRIORITIES;
    const RELEASED_IS_NEXT: bool = K::RETURNED_IS_NEXT;
    const DELIVERS_AHEAD: bool = true;
    const BACKLOG: usize = K::BACKLOG;

    async fn connected(&self, session: &dyn Broker, queues: &[&str]) {
        let nothing = Demand { shares: &[], most: 1, bytes: 1 };
        assert!(session.take(&nothing).await.unwrap().is_empty());
        let start = Instant::now();
        for queue in queues {
            while self.waiting(queue).await > 0 {
                assert!(start.elapsed() < PATIENCE, "{queue} is not delivered");
            }
        }
        // Sleeps because what has left the server may still be on its way.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    fn counted(deliveries: u32) -> u32 {
        K::counted(deliveries)
    }

    async fn start() -> Self {
        let server = tokio::task::spawn_blocking(server).await.unwrap();
        let rig = Self::on(server.url(), S::start().await).await;
        Self { _server: Some(server), ..rig }
    }

    async fn session_of(&self, queues: &[&str], lease: Duration, slots: u16) -> Arc<dyn Broker> {
        let options = AmqpBrokerOptions { slots, ..self.options(queues, lease) };
        Arc::new(self.broker(options).await)
    }

    async fn send(&self, queue: &str, priority: u8, message: Bytes) {
        let is_new = self.sent_to.lock().await.insert(queue.to_owned());
        if is_new {
            self.declared(queue).await;
        }
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_priority(priority.min(9));
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let sent =
            self.producer.basic_publish("".into(), queue.into(), options, &message, properties);
        let confirmed = sent.await.unwrap().await.unwrap();
        assert_eq!(confirmed, lapin::Confirmation::Ack(None));
    }

    /// What the server counts, when it has come to rest.
    async fn waiting(&self, queue: &str) -> usize {
        let mut count = self.declared(queue).await;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await; // because counts follow events
            let again = self.declared(queue).await;
            if again == count {
                return count as usize;
            }
            count = again;
        }
    }

    fn as_sent(&self, shown: Bytes) -> Bytes {
        lovage_celery::parts_of_envelope(&shown).unwrap().body
    }

    async fn kept(&self) -> Vec<(Kept, Bytes)> {
        let custody = self.store.custody().await;
        let page = custody.list(&KeptFilter::default(), None, 10_000).await.unwrap();
        let mut all = Vec::new();
        for entry in page.entries {
            let (entry, message) = custody.get(&entry.id).await.unwrap().unwrap();
            all.push((entry.kept, self.as_sent(message)));
        }
        all
    }

    async fn keeper(&self) -> Arc<dyn KeptMessages> {
        Arc::new(self.broker(self.options(&["unused"], Duration::from_secs(30))).await)
    }
}
