//! Taking messages, and giving back those of sessions that are over.

use std::time::Duration;

use bytes::Bytes;
use lovage_celery::mark_redelivered;
use lovage_core::ports::PortError;
use lovage_core::{Delivery, Message, Receipt};
use lovage_redis::{Cmd, Value};

use super::broker::Inner;
use super::custody::Ticket;
use super::scripts::Scripts;
use super::turn::Turn;

/// Most messages that one script takes.
const RESERVE_MAX: usize = 1_000;

/// Bytes after which a script takes no further message; the last one may exceed it.
const RESERVE_BYTES: u64 = 32 << 20;

/// How often a reservation is tried: with a session that was lost, with one that has a call in doubt,
/// and with a new one.
const RESERVE_ATTEMPTS: usize = 4;

/// What one reservation brought.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) deliveries: Vec<Delivery>,
    /// How long it may be until something of the schedule is due.
    pub(super) due: Option<Duration>,
    /// The name of what the schedule begins with; empty when it is empty.
    pub(super) scheduled: Vec<u8>,
}

impl Inner {
    /// Takes what is there, and says how long it may be until something is due.
    pub(super) async fn reserve(&self, turn: &Turn<'_>) -> Result<Reserved, PortError> {
        for _ in 0..RESERVE_ATTEMPTS {
            let ticket = self.custody.ticket();
            if !ticket.begun {
                let mut call = self.scripts.begin.call();
                call.bytes(ticket.session.as_bytes()).number(self.lease_ms()).number(ticket.next);
                self.intake.call(&self.scripts.begin, &call).await?;
                self.custody.begun(&ticket.session);
            }
            let answer = match ticket.doubt {
                None => self.take(&ticket, turn).await?,
                Some(from) => self.recover(&ticket, from).await?,
            };
            let Value::Array(answer) = answer else {
                self.custody.lose(&ticket.session);
                continue;
            };
            let reserved = self.deliveries(&ticket, turn, answer);
            if ticket.doubt.is_none() || !reserved.deliveries.is_empty() {
                return Ok(reserved);
            }
        }
        let lost = "every session was over as soon as it had begun";
        Err(PortError::transient("receiving failed", lost))
    }

    async fn take(&self, ticket: &Ticket, turn: &Turn<'_>) -> Result<Value, PortError> {
        let most = turn.most.min(RESERVE_MAX) as u64;
        let mut call = self.scripts.reserve.call();
        call.bytes(ticket.session.as_bytes()).number(ticket.next);
        call.number(most).number(turn.bytes.min(RESERVE_BYTES));
        for (most, lists) in &turn.shares {
            call.number(*most as u64).number(lists.len() as u64);
            for (_, list) in lists {
                call.bytes(list.as_bytes());
            }
        }
        self.custody.about_to_take(ticket, most);
        let mut read = Cmd::new();
        let moved = self.keys.moved(&ticket.session, ticket.next);
        read.arg("LRANGE").arg(moved).arg(0).arg(-1);
        let both = self.intake.call_then(&self.scripts.reserve, &call, &read).await?;
        Ok(match both {
            (Value::Array(answer), Value::Array(moved)) => with_moved(answer, moved),
            (answer, _) => answer,
        })
    }

    async fn recover(&self, ticket: &Ticket, from: u64) -> Result<Value, PortError> {
        let mut call = self.scripts.recover.call();
        call.bytes(ticket.session.as_bytes()).number(from).number(ticket.next);
        self.intake.call(&self.scripts.recover, &call).await
    }

    fn deliveries(&self, ticket: &Ticket, turn: &Turn<'_>, answer: Vec<Value>) -> Reserved {
        let lists: Vec<_> = turn.lists().collect();
        let mut values = answer.into_iter();
        let due = values.next().and_then(|value| number(&value));
        let due = due.and_then(|due| u64::try_from(due).ok()).map(Duration::from_millis);
        let scheduled = match values.next() {
            Some(Value::BulkString(first)) => first,
            _ => Vec::new(),
        };
        let mut next = ticket.next;
        let mut taken = Vec::new();
        let mut deliveries = Vec::new();
        while values.len() > 0 {
            let receipt = if ticket.doubt.is_none() {
                next += 1;
                next - 1
            } else {
                unsigned(values.next())
            };
            let queue = match values.next() {
                Some(Value::BulkString(list)) => self.keys.queue(&String::from_utf8_lossy(&list)),
                list => {
                    let list = lists.get(usize::try_from(unsigned(list)).unwrap_or(usize::MAX));
                    let Some((queue, _)) = list else { break };
                    queue.clone()
                }
            };
            let count = u32::try_from(unsigned(values.next())).unwrap_or(u32::MAX);
            let Some(Value::BulkString(bytes)) = values.next() else { break };
            let bytes = Bytes::from(bytes);
            taken.push((receipt, bytes.clone()));
            deliveries.push(Delivery {
                queue,
                receipt: Receipt(receipt),
                message: Message::Envelope(bytes),
                redelivered: count > 1,
                deliveries: count,
            });
        }
        if !self.custody.took(&ticket.session, next, &taken) {
            deliveries.clear();
        }
        Reserved { deliveries, due, scheduled }
    }

    /// Gives back what one dead session holds, or a part of it: how long it may be until the next
    /// thing is due, and how many were given back.
    pub(super) async fn sweep_once(
        &self,
        ended: &str,
    ) -> Result<(Option<Duration>, u64), PortError> {
        let Scripts { overdue, give_back, .. } = &self.scripts;
        let age = u64::try_from(self.options.kept_age.as_millis()).unwrap_or(u64::MAX >> 12);
        let mut call = overdue.call();
        call.bytes(ended.as_bytes()).number(age);
        let Value::Array(answer) = self.intake.call(overdue, &call).await? else {
            return Ok((None, 0));
        };
        let mut values = answer.into_iter();
        let due = values.next().and_then(|value| number(&value));
        let due = due.and_then(|due| u64::try_from(due).ok()).map(Duration::from_millis);
        let Some(Value::BulkString(session)) = values.next() else { return Ok((due, 0)) };
        let mut call = give_back.call();
        call.bytes(&session);
        while let (Some(Value::BulkString(receipt)), Some(Value::BulkString(message))) =
            (values.next(), values.next())
        {
            call.bytes(&receipt);
            call.bytes(mark_redelivered(&message).as_deref().unwrap_or(&message));
        }
        let returned = self.intake.call(give_back, &call).await?;
        Ok((due, unsigned(Some(returned))))
    }

    pub(super) fn lease_ms(&self) -> u64 {
        let lease = self.options.lease.max(Duration::from_secs(1));
        u64::try_from(lease.as_millis()).unwrap_or(u64::MAX >> 12)
    }
}

/// The answer of a reservation that moved messages, as if it had taken them one by one: the number of
/// their list is its third value, and they are in a list whose last is the first to be delivered.
fn with_moved(mut answer: Vec<Value>, moved: Vec<Value>) -> Value {
    let [_, _, list] = answer.as_slice() else { return Value::Array(answer) };
    let list = list.clone();
    if moved.is_empty() {
        // Somebody found that the session is over, and gave them back.
        return Value::Nil;
    }
    answer.pop();
    answer.reserve(3 * moved.len());
    for message in moved.into_iter().rev() {
        answer.extend([list.clone(), Value::Int(1), message]);
    }
    Value::Array(answer)
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn unsigned(value: Option<Value>) -> u64 {
    value
        .and_then(|value| number(&value))
        .and_then(|number| u64::try_from(number).ok())
        .unwrap_or(0)
}
