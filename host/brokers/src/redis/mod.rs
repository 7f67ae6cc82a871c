//! Redis lists as kombu keeps them.
//!
//! A queue is up to four lists, one a priority step: producers push on the left, consumers pop on the
//! right. kombu's own consumers pop a message first and note it down after; here one script does
//! both for a whole batch, so that there is no moment in which a message is nowhere but in a worker.
//!
//! What a worker has taken is noted under keys of our own, in the database of the queues:
//!
//! | key | type | what |
//! |---|---|---|
//! | `lovage:sessions` | sorted set | worker sessions, by the moment in which their lease ends |
//! | `lovage:inflight:<session>` | hash | receipt → how often delivered, list, message |
//! | `lovage:inflight:<session>:<receipt>` | list | messages that were taken at once, the last one under this receipt |
//! | `lovage:inflight:<session>:moves` | hash | first receipt of such a list → how many of it are held |
//! | `lovage:schedule` | sorted set | what waits, by the moment in which it is due |
//! | `lovage:scheduled` | hash | the messages of the schedule |
//! | `lovage:serial` | integer | the last number in the schedule |
//! | `lovage:deliveries` | hash | digest of a returned message → how often it was delivered |
//! | `lovage:kept` | stream | dead letters: `record`, `message`, and the `list` it came from |
//! | `lovage:kept:removed` | integer | dead letters that went because there were too many or too old |
//!
//! Lua hashes every byte of every string that it is given, so a script that takes work leaves messages
//! where Redis has them: it moves the end of a queue into a list, which is read beside the script.
//!
//! A lease belongs to the session, not to a message: one renewal extends everything. All moments of
//! leases are by the server's clock. Whoever sweeps gives the messages of dead sessions back, marked
//! as redelivered and next to be delivered.
//!
//! Keys of kombu's are only read (`_kombu.binding.<exchange>`), queues apart: its consumers restore
//! whatever they find in `unacked`, so nothing of ours may be there.
//!
//! What workers tell each other beside the queues is published on kombu's channels and kept nowhere;
//! answers to commands are lists that the asker deletes. See [`RedisFanout`].
//!
//! Redis 6.2 or newer, standing alone or with replicas. A cluster is refused: the keys of one task
//! would lie in different slots.

mod broker;
mod custody;
mod discovery;
mod fanout;
mod idle;
mod intake;
mod kept;
mod keys;
mod parts;
mod routes;
mod scripts;
mod settle;
mod turn;
mod watch;

pub use broker::{RedisBroker, RedisBrokerOptions};
pub use fanout::{RedisFanout, RedisFanoutOptions};
pub use keys::Keyspace;
pub use settle::RedisSettle;
