//! What a doctor asks of a RabbitMQ: whatever can be told without its management API.

use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lovage_core::QueueName;
use lovage_core::ports::PortError;

use super::broker::AmqpBrokerOptions;
use super::link::{AmqpLink, AmqpLinkOptions, is_not_found, is_otherwise, is_refused, port_error};
use super::queue::AmqpQueue;
use super::topology::{Topology, declare_queue};

/// How long a server that raised an alarm is waited for.
const ALARM: Duration = Duration::from_millis(500);

/// What there is to say, each with whether it is as it should be.
///
/// # Errors
/// When the server cannot be reached, or lets this user not in.
pub async fn examine(options: &AmqpBrokerOptions) -> Result<Vec<(bool, String)>, PortError> {
    let what = "examining RabbitMQ";
    let link = AmqpLink::new(options.address.clone(), AmqpLinkOptions::new("lovage doctor"));
    let connection = link.connection(what).await?;
    let mut found = Vec::new();
    let settings = connection.configuration();
    let heartbeat = settings.heartbeat();
    found.push((
        heartbeat > 0,
        format!(
            "rabbitmq virtual host {:?} as {:?}, heartbeat {heartbeat} s, frames of {} bytes",
            options.address.virtual_host(),
            options.address.user(),
            settings.frame_max()
        ),
    ));
    let topology = Topology::new(options.configured.clone(), options.pattern.clone());
    for name in &options.queues {
        found.extend(queue(&link, &topology.queue(name)?).await?);
    }
    // A connection learns of an alarm when it publishes.
    let channel = link.channel(what).await?;
    let message = channel.basic_publish(
        "".into(),
        "lovage.doctor".into(),
        lapin::options::BasicPublishOptions::default(),
        b"",
        lapin::BasicProperties::default(),
    );
    message.await.map_err(|error| port_error(what, error))?;
    tokio::time::sleep(ALARM).await;
    let is_blocked = connection.status().blocked();
    let alarm = if is_blocked { "an alarm keeps publishers waiting" } else { "no alarm" };
    found.push((!is_blocked, format!("rabbitmq {alarm}")));
    let minutes = options.consumer_timeout.as_secs() / 60;
    found.push((
        true,
        format!("rabbitmq consumer_timeout is taken to be {minutes} min: see that the server's is no less"),
    ));
    link.close().await;
    Ok(found)
}

/// Those of these queues that are there.
pub(super) async fn existing(
    link: &AmqpLink,
    queues: impl IntoIterator<Item = QueueName>,
) -> Result<Vec<QueueName>, PortError> {
    let what = "looking which queues there are";
    let mut queues = queues.into_iter().peekable();
    let mut there = Vec::new();
    if queues.peek().is_none() {
        return Ok(there);
    }
    let mut channel = link.channel(what).await?;
    for queue in queues {
        match count(&channel, &queue).await {
            Ok(_) => there.push(queue),
            Err(error) if is_not_found(&error) || is_refused(&error) => {
                channel = link.channel(what).await?;
            }
            Err(error) => return Err(port_error(what, error)),
        }
    }
    channel.close(200, "done".into()).await.ok();
    Ok(there)
}

/// How many messages wait in each of these queues; none in one that is not there.
pub(super) async fn waiting(
    link: &AmqpLink,
    queues: Vec<QueueName>,
) -> Result<Vec<(QueueName, u64)>, PortError> {
    let what = "counting what waits";
    let mut channel = link.channel(what).await?;
    let mut waiting = Vec::with_capacity(queues.len());
    for queue in queues {
        let count = match count(&channel, &queue).await {
            Ok(count) => count,
            Err(error) if is_not_found(&error) => {
                channel = link.channel(what).await?;
                0
            }
            Err(error) => return Err(port_error(what, error)),
        };
        waiting.push((queue, u64::from(count)));
    }
    Ok(waiting)
}

async fn count(channel: &Channel, queue: &QueueName) -> Result<u32, lapin::Error> {
    let name = queue.as_str().into();
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let there = channel.queue_declare(name, options, FieldTable::default()).await?;
    Ok(there.message_count())
}

/// Whether a queue is there, as it is configured, and what it is like.
async fn queue(link: &AmqpLink, queue: &AmqpQueue) -> Result<Vec<(bool, String)>, PortError> {
    let what = "examining a queue";
    let name = queue.name();
    let channel = link.channel(what).await?;
    let options =
        QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let there = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await;
    let there = match there {
        Ok(there) => there,
        Err(error) if is_not_found(&error) => {
            return Ok(vec![(true, format!("rabbitmq queue {name} is made by the first worker"))]);
        }
        Err(error) => return Err(port_error(what, error)),
    };
    let mut found = vec![(
        true,
        format!(
            "rabbitmq queue {name}: {} waiting, {} consumers",
            there.message_count(),
            there.consumer_count()
        ),
    )];
    // Declaring it again as it is configured changes nothing, and is refused if it is otherwise.
    match declare_queue(&channel, queue, false).await {
        Ok(()) if queue.is_quorum() => {
            found.push((true, format!("rabbitmq queue {name} is a quorum queue")));
        }
        Ok(()) => found.push((
            false,
            format!("rabbitmq queue {name} is on one machine: a quorum queue survives its loss"),
        )),
        Err(error) if is_otherwise(&error) => {
            let text = format!("rabbitmq queue {name} is not as configured here: {error}");
            found.push((false, text));
        }
        Err(error) => return Err(port_error(what, error)),
    }
    Ok(found)
}
