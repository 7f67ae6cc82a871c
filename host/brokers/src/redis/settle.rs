//! Settling in one step, where everything that a verdict writes is in one Redis.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_core::Closing;
use lovage_core::ports::{PortError, Settle};
use lovage_redis::{Batch, Call, Cmd, Script, ScriptPart, Steps, Value};

use super::RedisBroker;
use super::broker::Inner;
use super::parts;
use super::scripts::Scripts;

/// Bytes of arguments after which a batch is sent in another call.
pub(super) const CALL_BYTES: usize = 8 << 20;

/// Most closings or publications in one call: a script runs to its end before anybody else's.
pub(super) const CALL_MAX: usize = 500;

/// Makes verdicts true in one script: what others keep on the same server (each with a
/// [`ScriptPart`] of its own), then what leaves, then the end of the delivery.
///
/// The script does nothing at all for a delivery that the session does not hold any more: somebody
/// else has it, and settles it. There is no moment in between to crash in, so nothing is ever half
/// settled.
#[derive(Debug)]
pub struct RedisSettle {
    broker: RedisBroker,
    ending: Ending,
}

impl RedisSettle {
    /// Settles `broker`'s deliveries with these parts before its own, in this order. They must write
    /// the server that the broker's queues are on; see [`RedisBroker::reaches`] for other databases.
    pub fn new(broker: RedisBroker, parts: Vec<ScriptPart>) -> Self {
        let ending = broker.ending(parts);
        Self { broker, ending }
    }
}

#[async_trait]
impl Settle for RedisSettle {
    async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>> {
        self.broker.end(&self.ending, batch).await
    }

    fn is_one_step(&self) -> bool {
        true
    }
}

/// A way to close deliveries: the parts that run, and the script made of them.
#[derive(Debug)]
pub(super) struct Ending {
    script: Script,
    parts: Vec<ScriptPart>,
}

impl Ending {
    pub(super) fn new(scripts: &Scripts, parts: Vec<ScriptPart>) -> Self {
        Self { script: scripts.settle(&parts), parts }
    }
}

impl RedisBroker {
    /// Whether this user's scripts may write another database of the server, too.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn reaches(&self, database: i64) -> Result<bool, PortError> {
        let mut probe = Cmd::new();
        probe.arg("EVAL").arg("redis.call('SELECT', ARGV[1]) return 1").arg(0).arg(database);
        match self.inner.outlet.run("trying another database", &probe).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// A way to settle: these parts first, then publications and disposal.
    pub(super) fn ending(&self, first: Vec<ScriptPart>) -> Ending {
        let Inner { keys, routes, custody, options, scripts, .. } = &*self.inner;
        let mut all = first;
        all.push(parts::publications(Arc::clone(keys), Arc::clone(routes)));
        all.push(parts::disposal(Arc::clone(custody), options.kept_max));
        Ending::new(scripts, all)
    }

    /// Makes closings true, each whole or not at all.
    pub(super) async fn end(
        &self,
        ending: &Ending,
        closings: &[Closing],
    ) -> Vec<Result<(), PortError>> {
        let inner = &*self.inner;
        let publications = closings.iter().flat_map(|closing| &closing.publications);
        if let Err(error) = inner.routes.read(&inner.outlet, &inner.keys, publications).await {
            return repeated(error, closings.len());
        }
        let session = inner.custody.session();
        if session.is_none() && closings.iter().all(|closing| closing.ledger.is_none()) {
            return closings.iter().map(|_| Ok(())).collect();
        }
        // Without a session nothing is held; what the ledger granted is still to be handed back.
        let session = session.unwrap_or_default();
        let mut answers = Vec::with_capacity(closings.len());
        let mut batch = Batch::default();
        let mut rest = closings;
        while !rest.is_empty() {
            let mut call = ending.script.call();
            call.bytes(session.as_bytes());
            let (mut count, mut size) = (0, 0);
            for closing in rest.iter().take(CALL_MAX) {
                let receipt = closing.receipt.0.to_string();
                size += batch.add(&mut call, receipt.as_bytes(), &ending.parts, closing);
                count += 1;
                if size >= CALL_BYTES {
                    break;
                }
            }
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            answers.extend(inner.end_some(&ending.script, &call, now).await);
            rest = later;
        }
        answers
    }
}

impl Inner {
    async fn end_some(
        &self,
        script: &Script,
        call: &Call,
        closings: &[Closing],
    ) -> Vec<Result<(), PortError>> {
        let what = script.what();
        let values = match self.outlet.call(script, call).await {
            Ok(Value::Array(values)) if values.len() == closings.len() => values,
            Ok(other) => {
                let error = PortError::permanent(what, format!("unexpected answer {other:?}"));
                return repeated(error, closings.len());
            }
            Err(error) => return repeated(error, closings.len()),
        };
        let answers: Vec<_> = values.iter().map(|value| Steps::answer(what, value)).collect();
        let closed = closings.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.custody.closed(closed.map(|(closing, _)| closing.receipt));
        answers
    }
}

/// One error for each of a batch that failed together.
fn repeated(error: PortError, count: usize) -> Vec<Result<(), PortError>> {
    let (what, passing) = (error.to_string(), error.is_transient());
    let mut all = vec![Err(error)];
    all.resize_with(count, || {
        Err(if passing {
            PortError::Transient { what: what.clone(), source: None }
        } else {
            PortError::Permanent { what: what.clone(), source: None }
        })
    });
    all
}
