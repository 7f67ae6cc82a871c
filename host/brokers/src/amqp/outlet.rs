//! What leaves: published with confirmation, on a connection of its own.
//!
//! RabbitMQ stops reading from a connection that publishes while its memory or its disk runs out.
//! Deliveries and acknowledgements are on another one, so that what is finished can still leave the
//! queues meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Connection};
use lovage_core::QueueName;
use lovage_core::ports::PortError;
use tokio::sync::Mutex;

use super::link::{AmqpLink, port_error, silent};
use super::topology::Topology;

/// Messages that are on their way at once.
const PIPELINE_MAX: usize = 1_000;

/// Bytes of messages that are on their way at once, unless one alone has more.
const PIPELINE_BYTES_MAX: usize = 16 << 20;

/// How long a confirmation may take while the server is not blocking us. A quorum queue waits for
/// disks of several machines.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) properties: BasicProperties,
    pub(super) body: &'a [u8],
    /// Whether it must reach a queue. A reply need not: its caller may be gone.
    pub(super) mandatory: bool,
}

/// Publishes, and waits until the server has taken responsibility.
#[derive(Debug)]
pub(super) struct Outlet {
    link: AmqpLink,
    topology: Arc<Topology>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    connection: Arc<Connection>,
    channel: Channel,
}

/// What became of a message.
enum Fate {
    Taken,
    /// It reached no queue.
    Returned(String),
    /// The server would not have it now: a queue is full, or one of its machines failed.
    Refused,
}

impl Outlet {
    pub(super) fn new(link: AmqpLink, topology: Arc<Topology>) -> Self {
        Self { link, topology, open: Mutex::default() }
    }

    /// Publishes messages, all of them on their way at once.
    ///
    /// A message to a queue that is not there makes the queue, as Celery's producers do.
    ///
    /// # Errors
    /// When one was not taken; any of the others may have been.
    pub(super) async fn publish(&self, messages: &[Outgoing<'_>]) -> Result<(), PortError> {
        let mut rest = messages;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(PIPELINE_MAX).take_while(|message| {
                bytes += message.body.len();
                bytes <= PIPELINE_BYTES_MAX
            });
            let (now, later) = rest.split_at_checked(fits.count().max(1)).unwrap_or((rest, &[]));
            let fates = self.send(now).await?;
            for (message, fate) in now.iter().zip(fates) {
                self.end(message, fate).await?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        self.open.lock().await.take();
        self.link.close().await;
    }

    async fn end(&self, message: &Outgoing<'_>, fate: Fate) -> Result<(), PortError> {
        let what =
            || format!("publishing to {:?} with {:?}", message.exchange, message.routing_key);
        match fate {
            Fate::Taken => Ok(()),
            Fate::Refused => Err(PortError::transient(what(), "a queue does not take it now")),
            Fate::Returned(_) if message.exchange.is_empty() => {
                let queue = QueueName::from(message.routing_key);
                self.topology.declare(&self.link, std::slice::from_ref(&queue)).await?;
                match self.send(std::slice::from_ref(message)).await?.pop() {
                    Some(Fate::Taken) => Ok(()),
                    Some(Fate::Returned(why)) => Err(PortError::permanent(what(), why)),
                    _ => Err(PortError::transient(what(), "a queue does not take it now")),
                }
            }
            Fate::Returned(why) => Err(PortError::permanent(what(), why)),
        }
    }

    async fn send(&self, messages: &[Outgoing<'_>]) -> Result<Vec<Fate>, PortError> {
        let open = self.open().await?;
        let sent = join_all(messages.iter().map(|message| send_one(&open.channel, message)));
        let Some(fates) = patiently(&open.connection, sent).await else {
            self.link.give_up(&open.connection).await;
            return Err(silent("publishing"));
        };
        let mut all = Vec::with_capacity(fates.len());
        for fate in fates {
            all.push(fate.map_err(|error| port_error("publishing", error))?);
        }
        Ok(all)
    }

    /// The channel, opened now if there is none that works.
    async fn open(&self) -> Result<Open, PortError> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open
            && open.channel.status().connected()
            && open.connection.status().connected()
        {
            return Ok(open.clone());
        }
        *open = None;
        let what = "opening a channel to publish on";
        let connection = self.link.connection(what).await?;
        let channel = self.link.channel(what).await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        match tokio::time::timeout(PATIENCE, confirming).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(port_error(what, error)),
            Err(_) => {
                self.link.give_up(&connection).await;
                return Err(silent(what));
            }
        }
        Ok(open.insert(Open { connection, channel }).clone())
    }
}

async fn send_one(channel: &Channel, message: &Outgoing<'_>) -> Result<Fate, lapin::Error> {
    let options = BasicPublishOptions { mandatory: message.mandatory, immediate: false };
    let Outgoing { exchange, routing_key, properties, body, .. } = message;
    let (Ok(exchange), Ok(key)) =
        (ShortString::try_new(*exchange), ShortString::try_new(*routing_key))
    else {
        return Ok(Fate::Returned("its exchange or its routing key is too long".to_owned()));
    };
    let confirmed = channel.basic_publish(exchange, key, options, body, properties.clone()).await?;
    Ok(match confirmed.await? {
        Confirmation::Ack(None) | Confirmation::NotRequested => Fate::Taken,
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            Fate::Returned(format!("{} {}", returned.reply_code, returned.reply_text))
        }
        Confirmation::Nack(None) => Fate::Refused,
    })
}

/// Waits for an answer, and for as long as it takes while the server says that it is blocking us: what
/// was sent is on its way then, and sending it again would double it.
async fn patiently<T>(connection: &Connection, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        match tokio::time::timeout(PATIENCE, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) if connection.status().blocked() => {}
            Err(_) => return None,
        }
    }
}
