//! RabbitMQ, classic and quorum queues alike.
//!
//! Exchanges, queues and bindings are declared as Celery declares them, and what is there otherwise
//! is used as it is: see [`AmqpQueue`]. Two connections, so that a server that runs out of memory or
//! disk and stops reading from publishers still hears what is over: deliveries and their answers on
//! one, everything that leaves on the other, confirmed and `mandatory`.
//!
//! * **Taking.** The server delivers as many messages ahead as there are slots, and no more. Answers
//!   leave in batches; one covers several deliveries when everything before it is over.
//! * **Leases.** RabbitMQ has none: what is not answered goes back when its connection ends. So a
//!   session that does not renew closes its own, and heartbeats end that of one that cannot: a worker
//!   that dies gives everything back at once, one that stands still within the lease.
//! * **Waits and kept messages** are handed to a store, before the server is told that a message is
//!   over: see [`Custody`](lovage_core::ports::Custody). What is due for a queue that this worker takes
//!   from it takes itself, before what waits there. Nothing is held for longer than half of the
//!   server's `consumer_timeout`: what runs for longer is handed over, too, and is still ours.
//! * **Counting.** Quorum queues count how often they were given a message back, classic ones say
//!   only whether. A header `lovage-deliveries` counts over waits. None of it decides anything: what
//!   is a crash is the ledger's to say.

mod address;
mod broker;
mod custody;
mod delays;
mod due;
mod examine;
mod fanout;
mod held;
mod known;
mod link;
mod outlet;
mod parts;
mod queue;
mod replies;
mod session;
mod table;
mod taking;
mod topology;
#[cfg(test)]
mod vectors;

pub use address::{AmqpAddress, AmqpAddressError};
pub use broker::{AmqpBroker, AmqpBrokerOptions};
pub use examine::examine;
pub use fanout::{AmqpFanout, AmqpFanoutOptions};
pub use known::QueueDirectory;
pub use link::{AmqpLink, AmqpLinkOptions, port_error};
pub use queue::{AmqpQueue, AmqpQueueError};
pub use replies::AmqpReplies;
