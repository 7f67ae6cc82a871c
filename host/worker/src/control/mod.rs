//! Remote control: what people and their tools ask of a worker while it works, in Celery's words.
//!
//! Whoever may write to the broker may send any of these: the broker's access control is the only
//! one there is, as with Celery. A command changes this worker's memory and nothing else, two
//! excepted: revoking tells the callers of revoked calls, and queues may be added and left.

mod answer;
mod arguments;
mod change;
mod facts;
mod inspect;
mod load;
mod mingle;
mod node;
mod revoke;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_celery::{Accept, ControlRequest, control_reply, decode_control};
use lovage_core::ports::{Broker, Clock, Fanout, ResultBackend, Sandbox};
use lovage_core::{Json, Message, Notice, Recipients};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::events::Events;
use crate::modules::Modules;
use crate::operations::Operations;
use crate::worker::Shutdown;
use answer::{Answer, error, raised};
pub use facts::Facts;
pub use mingle::mingle;
pub use node::fits_node;

/// What remote control works on.
pub struct ControlParts {
    /// The worker's state.
    pub operations: Arc<Operations>,
    /// Its events, which also know who it is.
    pub events: Arc<Events>,
    /// Where it takes work from.
    pub broker: Arc<dyn Broker>,
    /// Where guests run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where callers look for results.
    pub results: Arc<dyn ResultBackend>,
    /// The tasks that it knows.
    pub modules: Arc<Modules>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What ends it.
    pub shutdown: Shutdown,
    /// What messages it reads.
    pub accept: Accept,
    /// What it says of itself.
    pub facts: Facts,
}

/// Answers commands on behalf of one worker.
pub struct Control {
    parts: ControlParts,
    /// The least and the most slots, where they follow the load.
    autoscale: Mutex<Option<(usize, usize)>>,
}

impl Control {
    /// Control over a worker.
    pub fn new(parts: ControlParts) -> Self {
        let autoscale = Mutex::new(parts.facts.autoscale);
        Self { parts, autoscale }
    }

    /// Answers what comes in over the fanout, until it is dropped.
    pub async fn serve(&self, fanout: &dyn Fanout) {
        let mut backoff = Backoff::new();
        loop {
            match fanout.command().await {
                Ok(message) => {
                    backoff.reset();
                    self.heard(fanout, &message).await;
                }
                Err(failed) => {
                    if backoff.is_first() {
                        let error = &failed as &dyn std::error::Error;
                        warn!(error, "Cannot listen for commands; trying again");
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn heard(&self, fanout: &dyn Fanout, message: &Message) {
        let Some(request) = decode_control(message, &self.parts.accept) else {
            return debug!("Passed over what is no command");
        };
        let ticks = self.parts.events.ticks();
        ticks.heard(request.clock.unwrap_or(0));
        let node = &self.parts.events.identity().hostname;
        if !fits_node(&request, node) {
            return;
        }
        let answer = Box::pin(self.obey(&request)).await;
        let (Some(answer), Some(to)) = (answer, request.reply_to) else { return };
        let parts = control_reply(node, &answer, request.ticket.as_deref(), ticks.next());
        let to = Recipients::Asker { exchange: to.exchange, routing_key: to.routing_key };
        if let Err(failed) = fanout.tell(&[Notice { to, parts }]).await {
            let error = &failed as &dyn std::error::Error;
            warn!(error, method = request.method, "Cannot answer a command");
        }
    }

    /// Does what a command says and returns the answer; `None` where there is none to be given.
    pub async fn obey(&self, request: &ControlRequest) -> Option<Json> {
        let method = request.method.as_str();
        if let Some(missing) = arguments::missing(method, &request.arguments) {
            return Some(error(&raised("TypeError", &missing)));
        }
        let answer = match self.inspect(method, &request.arguments) {
            Some(answer) => Answer::Given(answer),
            None => self.change(method, &request.arguments).await,
        };
        match answer {
            Answer::Given(answer) => Some(answer),
            Answer::Nothing => None,
            Answer::Unknown => {
                info!(method, "Passed over an unknown command");
                Some(error(&format!("KeyError({})", answer::python_text(method))))
            }
        }
    }

    fn autoscale(&self) -> MutexGuard<'_, Option<(usize, usize)>> {
        self.autoscale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
