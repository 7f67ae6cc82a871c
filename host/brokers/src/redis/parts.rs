//! The broker's own share of a settlement: what leaves, and what becomes of the delivery.

use std::sync::Arc;

use lovage_celery::{Route, encode_envelope, mark_redelivered, unmark_redelivered};
use lovage_core::{Closing, Disposal, Publication, Timestamp};
use lovage_redis::{Arguments, ScriptPart};

use super::custody::Custody;
use super::keys::Keyspace;
use super::routes::Routes;

/// Sends a closing's publications.
pub(super) fn publications(keys: Arc<Keyspace>, routes: Arc<Routes>) -> ScriptPart {
    ScriptPart::new(include_str!("lua/publications.lua"), move |closing, arguments| {
        for publication in &closing.publications {
            encode_publication(&keys, &routes, publication, arguments);
        }
    })
}

/// Adds the arguments of one publication, once for every queue it goes to.
pub(super) fn encode_publication(
    keys: &Keyspace,
    routes: &Routes,
    publication: &Publication,
    arguments: &mut Arguments,
) {
    let Publication { exchange, routing_key, priority, not_before, parts } = publication;
    for queue in routes.queues(exchange, routing_key) {
        let tag = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        let mut buffer = uuid::Uuid::encode_buffer();
        let delivery_tag = &*tag.hyphenated().encode_lower(&mut buffer);
        let route = Route { exchange, routing_key, priority: *priority, delivery_tag };
        arguments.push(keys.list(&queue, *priority).as_bytes());
        push_moment(*not_before, arguments);
        arguments.push(encode_envelope(parts, route).as_bytes());
    }
}

/// Ends the delivery in another way than by acknowledging it, which needs no words.
pub(super) fn disposal(custody: Arc<Custody>, kept_max: u64) -> ScriptPart {
    let lua = include_str!("lua/disposal.lua");
    ScriptPart::new(lua, move |closing: &Closing, arguments| match &closing.disposal {
        Disposal::Acknowledge => {}
        Disposal::Release(at) => {
            let message = custody.message(closing.receipt).unwrap_or_default();
            let marked = mark_redelivered(&message);
            arguments.push(b"R");
            push_moment(*at, arguments);
            arguments.push(marked.as_deref().unwrap_or(&message));
        }
        Disposal::Keep(kept) => {
            arguments.push(b"K");
            arguments.push(&serde_json::to_vec(kept).unwrap_or_default());
            arguments.push(kept_max.to_string().as_bytes());
            let message = custody.message(closing.receipt).unwrap_or_default();
            arguments.push(unmark_redelivered(&message).as_deref().unwrap_or_default());
        }
    })
}

/// A moment in milliseconds, rounded up so that nothing comes early; 0 for at once.
fn push_moment(at: Option<Timestamp>, arguments: &mut Arguments) {
    match at {
        None => arguments.push(b"0"),
        Some(at) => {
            let micros = at.as_micros().max(0);
            let millis = micros / 1000 + i64::from(micros % 1000 != 0);
            arguments.push(millis.to_string().as_bytes());
        }
    }
}
