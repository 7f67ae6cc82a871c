//! The message of the next attempt.

use std::borrow::Cow;
use std::time::Duration;

use lovage_core::{Invocation, Json, JsonPart, Message, Parts, Publication, TaskId, Timestamp};

use crate::CloseSettings;
use crate::iso::format_timestamp;
use crate::opened::Opened;
use crate::outgoing::{Object, Outgoing, expiration};

/// Headers that belong to a delivery and not to the call: the next attempt starts without them.
const DELIVERY_HEADERS: [&str; 6] = [
    "\"lovage-deliveries\"",
    "\"redelivered\"",
    "\"x-death\"",
    "\"x-delivery-count\"",
    "\"x-acquired-count\"",
    "\"x-opt-deaths\"",
];

/// When the first attempt began, and how long the last one waited: what the policy asks of the
/// attempts before.
const FIRST_ATTEMPT: &str = "lovage-first-attempt";
const RETRY_DELAY: &str = "lovage-retry-delay";

/// Headers that are written anew, or of which the message is made.
const OWN_HEADERS: [&str; 22] = [
    "\"lang\"",
    "\"task\"",
    "\"id\"",
    "\"shadow\"",
    "\"eta\"",
    "\"expires\"",
    "\"group\"",
    "\"group_index\"",
    "\"retries\"",
    "\"timelimit\"",
    "\"root_id\"",
    "\"parent_id\"",
    "\"argsrepr\"",
    "\"kwargsrepr\"",
    "\"origin\"",
    "\"ignore_result\"",
    "\"replaced_task_nesting\"",
    "\"stamped_headers\"",
    "\"stamps\"",
    "\"compression\"",
    "\"lovage-first-attempt\"",
    "\"lovage-retry-delay\"",
];

/// Properties that belong to a delivery, or that are written anew.
const DELIVERY_PROPERTIES: [&str; 4] =
    ["\"delivery_info\"", "\"delivery_tag\"", "\"body_encoding\"", "\"expiration\""];

/// The call again, with one retry more, not before `at`, to the queue that it came from.
///
/// A message of protocol 2 goes out as it came in: the body's very bytes, in their serializer and
/// compression, and every header but those that tell the attempts apart. Protocol 1 goes out as
/// protocol 2. `None` when the message cannot be read any more.
pub(crate) fn next_attempt(
    invocation: &Invocation,
    settings: &CloseSettings,
    at: Timestamp,
    now: Timestamp,
    options: Option<&Json>,
) -> Option<Publication> {
    let Some(options) = options.map(Json::as_part) else {
        return as_it_came(invocation, settings, at, now);
    };
    let mut altered = invocation.clone();
    let member = |name: &str| options.member(name).filter(|value| !value.is_null());
    if let Some(args) = member("args") {
        altered.args = args.to_json();
    }
    if let Some(kwargs) = member("kwargs") {
        altered.kwargs = kwargs.to_json();
    }
    let seconds = |name| {
        let limit = member(name).and_then(JsonPart::as_number);
        limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok())
    };
    altered.time_limit.hard = seconds("time_limit").or(altered.time_limit.hard);
    altered.time_limit.soft = seconds("soft_time_limit").or(altered.time_limit.soft);
    if let Some(ignore) = member("ignore_result").and_then(JsonPart::as_bool) {
        altered.ignore_result = Some(ignore);
    }
    if let Some(expires) = member("expires") {
        let wait = expires.as_number().and_then(|wait| Duration::try_from_secs_f64(wait).ok());
        let moment = || expires.as_text().and_then(|text| crate::parse_timestamp(&text));
        altered.expires = wait.map(|wait| now.after(wait)).or_else(moment).or(altered.expires);
    }
    if let Some(priority) = member("priority").and_then(|it| it.as_str().parse().ok()) {
        altered.priority = Some(priority);
    }
    let mut publication = written_anew(&altered, settings, at, now, member("headers"));
    let text = |name| member(name).and_then(JsonPart::as_text).map(Cow::into_owned);
    if let Some(queue) = text("queue") {
        publication.routing_key = queue;
    }
    if let Some(exchange) = text("exchange") {
        publication.exchange = exchange;
    }
    if let Some(key) = text("routing_key") {
        publication.routing_key = key;
    }
    Some(publication)
}

/// The same message again.
fn as_it_came(
    invocation: &Invocation,
    settings: &CloseSettings,
    at: Timestamp,
    now: Timestamp,
) -> Option<Publication> {
    let opened = Opened::of(&invocation.delivery.message).ok()?;
    if opened.headers.member("task").is_none() {
        return Some(written_anew(invocation, settings, at, now, None));
    }
    let headers = edited_headers(invocation, opened.headers, at, now);
    let properties = edited_properties(invocation, opened.properties, now);
    let body = match &invocation.delivery.message {
        Message::Parts(parts) => parts.body.clone(),
        Message::Envelope(_) => opened.body.into_owned().into(),
    };
    Some(Publication {
        exchange: String::new(),
        routing_key: invocation.queue().as_str().into(),
        priority: invocation.priority.unwrap_or(0),
        not_before: Some(at),
        parts: Parts {
            content_type: opened.content_type.into_owned(),
            content_encoding: opened.content_encoding.into_owned(),
            headers,
            properties,
            body,
        },
    })
}

/// Headers with `retries`, `eta`, `parent_id` and the marks of the next attempt, in the order they
/// had. The parent of a retry is the call itself.
fn edited_headers(
    invocation: &Invocation,
    headers: JsonPart<'_>,
    at: Timestamp,
    now: Timestamp,
) -> String {
    let mut text = String::with_capacity(headers.as_str().len() + 192);
    let mut object = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
    headers.each_quoted_member(|name, value| match name {
        "\"retries\"" | "\"eta\"" | "\"parent_id\"" => {}
        "\"lovage-first-attempt\"" | "\"lovage-retry-delay\"" => {}
        _ if DELIVERY_HEADERS.contains(&name) || is_death_header(name) => {}
        _ => object.quoted(name, value.as_str()),
    });
    object.json("retries", &invocation.retries.saturating_add(1).to_string());
    object.text("eta", Some(&format_timestamp(at)));
    object.text("parent_id", Some(invocation.id.as_str()));
    marks(&mut object, invocation, now);
    object.end();
    text
}

/// What the next attempt has to know of those before it.
fn marks(object: &mut Object<'_, '_>, invocation: &Invocation, now: Timestamp) {
    let first = invocation.retry.first_attempt.unwrap_or(now);
    object.text(FIRST_ATTEMPT, Some(&format_timestamp(first)));
    if let Some(delay) = invocation.retry.delay {
        object.json(RETRY_DELAY, &format!("{:.3}", delay.as_secs_f64()));
    }
}

fn is_death_header(quoted: &str) -> bool {
    quoted.starts_with("\"x-first-death-") || quoted.starts_with("\"x-last-death-")
}

/// Properties without those of the delivery; a lifetime in the queue is counted from now.
fn edited_properties(invocation: &Invocation, properties: JsonPart<'_>, now: Timestamp) -> String {
    let mut text = String::with_capacity(properties.as_str().len());
    let mut object = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
    properties.each_quoted_member(|name, value| {
        if !DELIVERY_PROPERTIES.contains(&name) {
            object.quoted(name, value.as_str());
        }
    });
    if let Some(expires) = invocation.expires {
        object.text("expiration", Some(&expiration(expires, now)));
    }
    object.end();
    text
}

/// A message of protocol 1 has no headers of its own, and one that was altered says other things than
/// it did: all is written. Headers of the caller's own stay, and `more` stand over them.
fn written_anew(
    invocation: &Invocation,
    settings: &CloseSettings,
    at: Timestamp,
    now: Timestamp,
    more: Option<JsonPart<'_>>,
) -> Publication {
    let links = &invocation.links;
    let time_limit = [invocation.time_limit.hard, invocation.time_limit.soft]
        .map(|limit| limit.map_or("null".into(), |limit| limit.as_secs_f64().to_string()));
    let [hard, soft] = &time_limit;
    let id = invocation.id.as_str();
    let queue = invocation.queue().as_str();
    let mut marked = String::new();
    let mut object = Object::new(&mut marked, JsonPart::EMPTY_OBJECT);
    marks(&mut object, invocation, now);
    invocation.headers.as_part().each_quoted_member(|name, value| {
        let ours = OWN_HEADERS.contains(&name) || DELIVERY_HEADERS.contains(&name);
        let anew = more.is_some_and(|more| more.member(name.trim_matches('"')).is_some());
        if !ours && !anew {
            object.quoted(name, value.as_str());
        }
    });
    if let Some(more) = more {
        more.each_quoted_member(|name, value| object.quoted(name, value.as_str()));
    }
    object.end();
    let headers = invocation.headers.as_part();
    let mut outgoing = Outgoing::new(invocation.task.as_str(), id, queue, &settings.hostname);
    outgoing.root_id = invocation.root_id.as_ref().map_or(id, TaskId::as_str);
    outgoing.parent_id = Some(id);
    outgoing.group = invocation.group.as_ref().map(TaskId::as_str);
    outgoing.group_index = invocation.group_index;
    outgoing.retries = invocation.retries.saturating_add(1);
    outgoing.eta = Some(at);
    outgoing.expires = invocation.expires;
    outgoing.time_limit = [hard, soft].map(|text| JsonPart::parse(text).unwrap_or(JsonPart::NULL));
    outgoing.ignore_result = invocation.ignore_result;
    outgoing.replaced_task_nesting = invocation.replaced_task_nesting;
    outgoing.shadow = headers.member("shadow").unwrap_or(JsonPart::NULL);
    outgoing.stamped_headers = headers.member("stamped_headers").unwrap_or(JsonPart::NULL);
    outgoing.stamps = headers.member("stamps").unwrap_or(JsonPart::EMPTY_OBJECT);
    outgoing.headers = JsonPart::parse(&marked).unwrap_or(JsonPart::EMPTY_OBJECT);
    outgoing.args = invocation.args.as_part();
    outgoing.kwargs = invocation.kwargs.as_part();
    outgoing.callbacks = or_null(links.callbacks.as_ref());
    outgoing.errbacks = or_null(links.errbacks.as_ref());
    outgoing.chain = or_null(links.chain.as_ref());
    outgoing.chord = or_null(links.chord.as_ref());
    outgoing.reply_to = invocation.reply_to.as_deref();
    outgoing.priority = invocation.priority.unwrap_or(0);
    outgoing.publication(now)
}

fn or_null(link: Option<&Json>) -> JsonPart<'_> {
    link.map_or(JsonPart::NULL, Json::as_part)
}
