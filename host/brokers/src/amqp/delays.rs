//! The levels of Celery's native delayed delivery.
//!
//! A delay is a number of seconds in binary, a word a bit, before the routing key. A message comes in at
//! the highest level and goes down, and rests in the queue of each level whose bit is set.

use super::queue::{AmqpQueue, AmqpQueueError};

/// Where delayed messages come out.
pub(super) const DELAYED: &str = "celery_delayed_delivery";

/// Levels: number n holds messages for 2^n seconds.
pub(super) const LEVELS: u32 = 28;

/// The queue in which messages rest for the seconds of one bit.
pub(super) fn level(number: u32) -> Result<AmqpQueue, AmqpQueueError> {
    let mut queue = AmqpQueue::named(&level_name(number).as_str().into())?;
    "topic".clone_into(&mut queue.exchange_type);
    queue.routing_key = format!("{}1.#", passed(number));
    let next = number.checked_sub(1).map_or_else(|| DELAYED.to_owned(), level_name);
    for (argument, value) in [
        ("x-queue-type", "quorum"),
        ("x-overflow", "reject-publish"),
        ("x-message-ttl", &*(1000_u64 << number).to_string()),
        ("x-dead-letter-exchange", &*next),
        ("x-dead-letter-strategy", "at-least-once"),
    ] {
        queue.set(argument, value);
    }
    Ok(queue)
}

/// The name of its exchange and its queue.
pub(super) fn level_name(level: u32) -> String {
    format!("celery_delayed_{level}")
}

/// A word for each bit that the levels above have looked at.
pub(super) fn passed(level: u32) -> String {
    "*.".repeat(usize::try_from(LEVELS - 1 - level).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{LEVELS, level_name, passed};

    #[test]
    fn levels_and_their_keys_are_celerys() {
        assert_eq!(level_name(LEVELS - 1), "celery_delayed_27");
        assert_eq!((passed(27), passed(26), passed(0).len()), (String::new(), "*.".into(), 54));
    }
}
