//! What a broker hands over.

use bytes::Bytes;

use crate::QueueName;

/// A message as a broker handed it over, before anyone has looked inside.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The queue it came from.
    pub queue: QueueName,
    /// What the broker is told when the delivery is over.
    pub receipt: Receipt,
    /// The message, in the form the broker keeps it in.
    pub message: Message,
    /// Whether it was delivered before, as far as the broker knows.
    pub redelivered: bool,
    /// How often it was delivered, this time included; 1 where the broker does not count.
    pub deliveries: u32,
}

/// Names one delivery towards the broker that made it. It means nothing to anyone else, and nothing
/// after the broker's connection to the server was made anew, except to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// A message in one of the two forms that transports use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One JSON text with headers, properties and body inside (Redis, SQL, SQS).
    Envelope(Bytes),
    /// Parts that the protocol itself keeps apart (AMQP).
    Parts(Box<Parts>),
}

impl Message {
    /// Bytes that the message occupies, roughly: what look-ahead and quarantine are charged.
    pub fn size(&self) -> usize {
        match self {
            Self::Envelope(bytes) => bytes.len(),
            Self::Parts(parts) => {
                parts.body.len() + parts.headers.len() + parts.properties.len() + 64
            }
        }
    }
}

/// The parts of a message. Headers and properties are JSON objects as text; a broker with a table
/// format of its own writes them so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Such as `application/json`; empty when the message names none.
    pub content_type: String,
    /// Such as `utf-8` or `binary`; empty when the message names none.
    pub content_encoding: String,
    /// The headers, a JSON object as text.
    pub headers: String,
    /// The properties (`correlation_id`, `reply_to`, `priority`, …), a JSON object as text.
    pub properties: String,
    /// The body with every transport encoding taken off.
    pub body: Bytes,
}
