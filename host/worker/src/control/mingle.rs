//! Hearing from neighbours, once, at the start: what was revoked while this worker was away.

use std::time::Duration;

use lovage_celery::{ControlRequest, ReplyTo, control_question, decode_reply};
use lovage_core::ports::{Clock, Fanout};
use lovage_core::{Question, TaskId};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use crate::events::Events;
use crate::operations::Operations;

/// How long neighbours may take, as in Celery.
const WAIT: Duration = Duration::from_secs(1);

/// Says hello to all workers, tells them what is revoked here, and takes over what is revoked there.
/// Work goes on meanwhile: a call that a neighbour has revoked and that begins in this second runs.
pub async fn mingle(
    fanout: &dyn Fanout,
    events: &Events,
    operations: &Operations,
    clock: &dyn Clock,
) {
    let node = &events.identity().hostname;
    let ids: Vec<_> = operations.revoked.ids(clock.now()).iter().map(ToString::to_string).collect();
    let mut arguments = Map::new();
    arguments.insert("from_node".into(), node.as_str().into());
    arguments.insert("revoked".into(), json!(ids));
    let mailbox = uuid::Uuid::new_v4().to_string();
    let reply_to = ReplyTo { exchange: fanout.answers_exchange(), routing_key: mailbox.clone() };
    let request = ControlRequest {
        method: "hello".into(),
        arguments,
        destination: Vec::new(),
        pattern: None,
        reply_to: Some(reply_to),
        ticket: Some(uuid::Uuid::new_v4().to_string()),
        clock: Some(events.ticks().next()),
    };
    let parts = control_question(&request, clock.now().after(WAIT));
    let question = Question { parts, mailbox: Some(mailbox), wait: WAIT, answers_max: None };
    let answers = match fanout.ask(question).await {
        Ok(answers) => answers,
        Err(failed) => {
            let error = &failed as &dyn std::error::Error;
            return warn!(error, "Cannot hear from other workers");
        }
    };
    let mut nodes = 0;
    for reply in answers.iter().flat_map(decode_reply) {
        let Value::Object(answer) = &reply.answer else { continue };
        nodes += usize::from(reply.node != *node);
        events.ticks().heard(answer.get("clock").and_then(Value::as_u64).unwrap_or(0));
        let ids: Vec<TaskId> = match answer.get("revoked") {
            Some(Value::Array(ids)) => {
                ids.iter().filter_map(Value::as_str).map(Into::into).collect()
            }
            Some(Value::Object(ids)) => ids.keys().map(|id| id.as_str().into()).collect(),
            _ => Vec::new(),
        };
        if !ids.is_empty() {
            operations.revoked.add(ids, clock.now());
        }
    }
    info!(nodes, "Heard from other workers");
}
