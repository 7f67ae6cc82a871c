//! A real server, and what tests do behind the adapters' backs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_brokers::redis::{RedisBroker, RedisBrokerOptions};
use lovage_conformance::{BrokerRig, Priorities, ResultRig};
use lovage_core::ports::{Broker, KeptMessages, ResultBackend};
use lovage_core::{Kept, TaskId};
use lovage_redis::Address;
use lovage_stores::redis::{RedisResults, RedisResultsOptions};
use lovage_test_support::{RedisOptions, RedisServer};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue};
use serde_json::value::RawValue;

/// A server of the test's own.
pub(crate) struct Rig {
    pub(crate) server: RedisServer,
}

impl Rig {
    pub(crate) fn durable() -> Self {
        let options = RedisOptions { append_only: true, ..RedisOptions::default() };
        Self { server: RedisServer::with(options) }
    }

    pub(crate) fn address(&self) -> Address {
        Address::parse(&self.server.url(0)).unwrap()
    }

    pub(crate) fn options(&self, queues: &[&str], lease: Duration) -> RedisBrokerOptions {
        let queues = queues.iter().copied().map(Into::into).collect();
        RedisBrokerOptions { lease, ..RedisBrokerOptions::new(self.address(), queues) }
    }

    pub(crate) fn broker(&self, queues: &[&str], lease: Duration) -> RedisBroker {
        RedisBroker::new(self.options(queues, lease)).unwrap()
    }

    /// A client that shares nothing with the adapters.
    pub(crate) async fn client(&self) -> MultiplexedConnection {
        let client = Client::open(self.server.url(0)).unwrap();
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// Runs one command.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.client().await).await.unwrap()
    }

    /// Every key with its whole content, but those of our own.
    pub(crate) async fn foreign_keys(&self) -> Vec<(String, Vec<u8>)> {
        let mut keys: Vec<String> = self.ask(&[b"KEYS", b"*"]).await;
        keys.retain(|key| !key.contains("lovage:"));
        keys.sort();
        let mut all = Vec::new();
        for key in keys {
            let dump = self.ask(&[b"DUMP", key.as_bytes()]).await;
            all.push((key, dump));
        }
        all
    }
}

#[async_trait]
impl BrokerRig for Rig {
    const PRIORITIES: Priorities = Priorities::LowFirst;

    async fn start() -> Self {
        Self { server: RedisServer::start() }
    }

    async fn session_of(&self, queues: &[&str], lease: Duration, _slots: u16) -> Arc<dyn Broker> {
        Arc::new(self.broker(queues, lease))
    }

    async fn send(&self, queue: &str, priority: u8, message: Bytes) {
        let list = match priority.min(9) / 3 * 3 {
            0 => queue.to_owned(),
            step => format!("{queue}\u{6}\u{16}{step}"),
        };
        let _: i64 = self.ask(&[b"LPUSH", list.as_bytes(), &message]).await;
    }

    async fn waiting(&self, queue: &str) -> usize {
        let mut count = 0;
        for step in ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"] {
            count += self.ask::<usize>(&[b"LLEN", format!("{queue}{step}").as_bytes()]).await;
        }
        count
    }

    async fn kept(&self) -> Vec<(Kept, Bytes)> {
        let entries: Vec<(String, Vec<Vec<u8>>)> =
            self.ask(&[b"XRANGE", b"lovage:kept", b"-", b"+"]).await;
        let read = |fields: Vec<Vec<u8>>| {
            assert!(fields[0] == b"record" && fields[2] == b"message" && fields[4] == b"list");
            (serde_json::from_slice(&fields[1]).unwrap(), fields[3].clone().into())
        };
        entries.into_iter().map(|(_, fields)| read(fields)).collect()
    }

    async fn keeper(&self) -> Arc<dyn KeptMessages> {
        Arc::new(self.broker(&["unused"], Duration::from_secs(30)))
    }
}

#[async_trait]
impl ResultRig for Rig {
    async fn start() -> Self {
        <Self as BrokerRig>::start().await
    }

    async fn backend(&self) -> Arc<dyn ResultBackend> {
        Arc::new(RedisResults::new(&RedisResultsOptions::new(self.address())).unwrap())
    }

    async fn seen(&self, task: &TaskId) -> Option<(String, String)> {
        let key = format!("celery-task-meta-{task}");
        let document: Option<String> = self.ask(&[b"GET", key.as_bytes()]).await;
        let fields: HashMap<String, Box<RawValue>> = serde_json::from_str(&document?).unwrap();
        let state = serde_json::from_str(fields["status"].get()).unwrap();
        Some((state, fields["result"].get().to_owned()))
    }
}
