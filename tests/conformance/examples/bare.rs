//! A consumer that runs nothing, as the limit of what a worker on one Redis can reach.
//!
//! `bare BROKER BACKEND QUEUE` takes messages in batches, reads each as far as its id, stores a result
//! that is always the same, and acknowledges, all with the adapters that the worker has: what is
//! left out is claiming, running, and everything that a worker decides. `make bench` puts a worker
//! beside it. It is an example of the tests so that nobody can start it in a worker's place.
#![expect(clippy::print_stdout, reason = "who started it waits for the line that says it is ready")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use lovage_brokers::redis::{RedisBroker, RedisBrokerOptions, RedisSettle};
use lovage_celery::{Accept, decode};
use lovage_core::ports::{Broker as _, Settle as _};
use lovage_core::{Closing, Delivery, Disposal, Json, ResultRecord, TaskState, Timestamp};
use lovage_redis::Address;
use lovage_stores::redis::{RedisResults, RedisResultsOptions};
use tokio::sync::Semaphore;

/// Messages of one batch, and batches that are settled at once: as the worker does it.
const BATCH: usize = 256;
const SETTLED_AT_ONCE: usize = 4;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut word = |name: &str| words.next().ok_or(format!("{name} is missing"));
    let (queues, results) = (Address::parse(&word("BROKER")?)?, Address::parse(&word("BACKEND")?)?);
    let queue = word("QUEUE")?;
    let options = RedisBrokerOptions::new(queues.clone(), vec![queue.as_str().into()]);
    let broker = RedisBroker::new(options)?;
    let part = RedisResults::part(&RedisResultsOptions::new(results.clone()));
    let part = part.across(results.database(), queues.database());
    let settle = Arc::new(RedisSettle::new(broker.clone(), vec![part]));
    let places = Arc::new(Semaphore::new(SETTLED_AT_ONCE));
    println!("ready: taking from {queue}, running nothing");
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let taken = broker.receive(BATCH, Duration::from_secs(1)).await?;
        let settle = Arc::clone(&settle);
        tokio::spawn(async move {
            let closings: Vec<_> = taken.into_iter().filter_map(closing).collect();
            // What cannot be settled is delivered again when the lease is over.
            let _answers = settle.settle(&closings).await;
            drop(place);
        });
    }
}

/// The end of a delivery whose call returned 5.
fn closing(delivery: Delivery) -> Option<Closing> {
    let receipt = delivery.receipt;
    let invocation = decode(delivery, &Accept::default()).ok()?;
    let result = ResultRecord {
        task_id: invocation.id,
        state: TaskState::Success(Json::parse("5").ok()?),
        at: Timestamp::from_micros(1_800_000_000_000_000),
        group: None,
        parent_id: None,
        children: Vec::new(),
        reply_to: None,
        correlation_id: None,
        extended: None,
        tenant: None,
        life: None,
    };
    Some(Closing { results: vec![result], ..Closing::only(receipt, Disposal::Acknowledge) })
}
