//! What a running task may know of its call: Celery's `Task.request`.

use lovage_core::{Invocation, Json, JsonPart, TaskId};

use crate::iso::format_timestamp;
use crate::opened::{Opened, property};
use crate::outgoing::Object;

/// The call as one JSON object, by the names that Celery's `Task.request` has.
pub fn request_text(invocation: &Invocation, hostname: &str) -> String {
    let headers = invocation.headers.as_part();
    let mut text = String::with_capacity(1024);
    let mut object = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
    object.text("id", Some(invocation.id.as_str()));
    object.text("task", Some(invocation.task.as_str()));
    object.json("args", invocation.args.as_str());
    object.json("kwargs", invocation.kwargs.as_str());
    for (name, id) in [
        ("root_id", &invocation.root_id),
        ("parent_id", &invocation.parent_id),
        ("group", &invocation.group),
    ] {
        object.text(name, id.as_ref().map(TaskId::as_str));
    }
    object.json("group_index", &number(invocation.group_index));
    let links = &invocation.links;
    for (name, link) in [
        ("callbacks", &links.callbacks),
        ("errbacks", &links.errbacks),
        ("chain", &links.chain),
        ("chord", &links.chord),
    ] {
        object.json(name, link.as_ref().map_or("null", Json::as_str));
    }
    object.json("retries", &invocation.retries.to_string());
    object.text("eta", invocation.eta.map(format_timestamp).as_deref());
    object.text("expires", invocation.expires.map(format_timestamp).as_deref());
    let [hard, soft] = [invocation.time_limit.hard, invocation.time_limit.soft]
        .map(|limit| limit.map_or("null".into(), |limit| limit.as_secs_f64().to_string()));
    object.json("timelimit", &format!("[{hard}, {soft}]"));
    object.json(
        "ignore_result",
        &invocation.ignore_result.map_or("null".into(), |it| it.to_string()),
    );
    object.text("shadow", invocation.shadow.as_deref());
    object.json("origin", member(headers, "origin"));
    object.text("hostname", Some(hostname));
    object.text("reply_to", invocation.reply_to.as_deref());
    let correlation_id = invocation.correlation_id.as_deref();
    object.text("correlation_id", correlation_id.or(Some(invocation.id.as_str())));
    object.json("replaced_task_nesting", &invocation.replaced_task_nesting.to_string());
    object.json("stamped_headers", member(headers, "stamped_headers"));
    object.json("stamps", member(headers, "stamps"));
    object.json("headers", invocation.headers.as_str());
    of_delivery(&mut object, invocation);
    object.end();
    text
}

/// What the message itself says of its way.
fn of_delivery(object: &mut Object<'_, '_>, invocation: &Invocation) {
    let opened = Opened::of(&invocation.delivery.message).ok();
    let properties = opened.as_ref().map_or(JsonPart::EMPTY_OBJECT, |opened| opened.properties);
    let info = property(properties, "\"delivery_info\"");
    let exchange = info.and_then(|info| info.member("exchange")).and_then(JsonPart::as_text);
    let key = info.and_then(|info| info.member("routing_key")).and_then(JsonPart::as_text);
    let mut text = String::new();
    let mut delivery = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
    delivery.text("exchange", Some(exchange.as_deref().unwrap_or_default()));
    delivery.text("routing_key", Some(key.as_deref().unwrap_or(invocation.queue().as_str())));
    delivery.json("priority", &number(invocation.priority));
    delivery.json("redelivered", &invocation.delivery.redelivered.to_string());
    delivery.end();
    object.json("delivery_info", &text);
    object.json("properties", properties.as_str());
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

fn member<'a>(object: JsonPart<'a>, name: &str) -> &'a str {
    object.member(name).map_or("null", JsonPart::as_str)
}
