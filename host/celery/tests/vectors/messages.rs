//! What producers send is read as it was meant.

use bytes::Bytes;
use lovage_celery::{Accept, Route, decode, encode_envelope, parse_timestamp, parts_of_envelope};
use lovage_core::{Delivery, Invocation, Json, JsonPart, Message, TaskId, Timestamp};
use serde_json::Value;

use crate::load::{amqp, delivery, envelope, meaning, vectors};

/// Everything that can be read at all is read.
fn accept_all() -> Accept {
    Accept::from_names(["json", "msgpack", "yaml"]).unwrap()
}

/// Each recorded message with what was recorded of its meaning, on both transports.
fn each(mut test: impl FnMut(&str, Delivery, &Value)) {
    for (name, vector) in vectors("msg-") {
        for message in vector["redis"]["messages"].as_array().into_iter().flatten() {
            if message["command"] == "LPUSH" {
                let delivery = envelope(message["raw"].as_str().unwrap());
                test(&format!("{name} on redis"), delivery, &message["decoded"]);
            }
        }
        for message in vector["amqp"]["messages"].as_array().into_iter().flatten() {
            if message["exchange"] != "celeryev" {
                test(&format!("{name} on amqp"), amqp(message), message);
            }
        }
    }
}

#[test]
fn every_message_is_read_with_all_its_fields() {
    let mut count = 0;
    each(|name, delivery, recorded| {
        if name.starts_with("msg-pickle") {
            let error = decode(delivery, &accept_all()).unwrap_err().error;
            assert_eq!(error.code(), "content-type-refused");
            return;
        }
        let call = decode(delivery, &accept_all())
            .unwrap_or_else(|undecoded| panic!("{name}: {}", undecoded.error));
        let is_protocol_1 = recorded["headers"].get("task").is_none();
        let body = body_text(name, recorded);
        let body = JsonPart::parse(&body).unwrap();
        if is_protocol_1 {
            check_fields(name, &call, body);
            check_body(name, &call, body.member("args"), body.member("kwargs"), body);
        } else {
            let headers = recorded["headers"].to_string();
            check_fields(name, &call, JsonPart::parse(&headers).unwrap());
            let mut parts = Vec::new();
            body.each_element(|element| parts.push(element));
            check_body(name, &call, Some(parts[0]), Some(parts[1]), parts[2]);
        }
        assert_eq!(
            meaning(call.headers.as_str()),
            meaning(&recorded["headers"].to_string()),
            "{name}"
        );
        let properties = &recorded["properties"];
        assert_eq!(call.reply_to.as_deref(), properties["reply_to"].as_str(), "{name}");
        assert_eq!(call.priority.map(u64::from), properties["priority"].as_u64(), "{name}");
        count += 1;
    });
    assert!(count > 150, "only {count} messages");
}

/// The body as it was recorded, in JSON.
fn body_text(name: &str, recorded: &Value) -> String {
    const EMBED: &str = r#"{"callbacks": null, "errbacks": null, "chain": null, "chord": null}"#;
    if name.starts_with("msg-msgpack") {
        let bytes = r#"{"__type__": "base64", "__value__": "AP8="}"#;
        return format!(
            r#"[["a", 1, 2.5, null, true, {bytes}], {{"k": [1, {{"n": 2}}]}}, {EMBED}]"#
        );
    }
    if name.starts_with("msg-yaml") {
        let date = r#"{"__type__": "date", "__value__": "2026-01-02"}"#;
        return format!(r#"[["a", 1, 2.5, null, {date}], {{"k": [1, {{"n": 2}}]}}, {EMBED}]"#);
    }
    if let Some(text) = recorded["body_text"].as_str() {
        return text.into();
    }
    if name.starts_with("msg-v1-gzip") {
        return protocol_1_gzip(recorded);
    }
    // Compressed: the caller's own description of its one argument is all that was recorded.
    let shown = recorded["headers"]["argsrepr"].as_str().unwrap();
    let args = shown.trim_matches(['(', ')', ',']).replace('\'', "\"");
    format!("[[{args}], {{}}, {EMBED}]")
}

/// The body of the one compressed message of protocol 1, whose id differs from run to run.
fn protocol_1_gzip(recorded: &Value) -> String {
    let id = &recorded["properties"]["correlation_id"];
    let argument = "z".repeat(50);
    format!(
        r#"{{"task": "demo.echo", "id": {id}, "args": ["{argument}"], "kwargs": {{}}, "retries": 0}}"#
    )
}

fn check_fields(name: &str, call: &Invocation, fields: JsonPart<'_>) {
    let text = |field| fields.member(field).and_then(JsonPart::as_text);
    let time = |field| text(field).map(|text| instant(&text));
    assert_eq!(call.task.as_str(), text("task").unwrap(), "{name}");
    assert_eq!(call.id.as_str(), text("id").unwrap(), "{name}");
    let group = text("taskset").or_else(|| text("group"));
    for (read, recorded) in [
        (&call.root_id, text("root_id")),
        (&call.parent_id, text("parent_id")),
        (&call.group, group),
    ] {
        assert_eq!(read.as_ref().map(TaskId::as_str), recorded.as_deref(), "{name}");
    }
    let number = |field| fields.member(field).and_then(JsonPart::as_number);
    assert_eq!(f64::from(call.retries), number("retries").unwrap_or(0.0), "{name}");
    let index = call.group_index.map(|index| index.to_string());
    assert_eq!(index, number("group_index").map(|index| index.to_string()), "{name}");
    assert_eq!(call.eta, time("eta"), "{name}");
    assert_eq!(call.expires, time("expires"), "{name}");
    assert_eq!(call.shadow.as_deref(), text("shadow").as_deref(), "{name}");
    let ignore_result = fields.member("ignore_result").and_then(JsonPart::as_bool);
    assert_eq!(call.ignore_result, ignore_result, "{name}");
    let mut limits = Vec::new();
    if let Some(part) = fields.member("timelimit") {
        part.each_element(|limit| limits.push(limit.as_number()));
        let read = [call.time_limit.hard, call.time_limit.soft];
        assert_eq!(read.map(|limit| limit.map(|limit| limit.as_secs_f64())), limits[..], "{name}");
    }
}

/// An independent reading of the three forms that were recorded.
fn instant(text: &str) -> Timestamp {
    let with_offset = if text.len() > 19 && text[19..].contains(['+', '-', 'Z']) {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    let instant: jiff::Timestamp = with_offset.parse().unwrap();
    Timestamp::from_micros(instant.as_microsecond())
}

fn check_body(
    name: &str,
    call: &Invocation,
    args: Option<JsonPart<'_>>,
    kwargs: Option<JsonPart<'_>>,
    links: JsonPart<'_>,
) {
    assert_eq!(meaning(call.args.as_str()), meaning(args.unwrap().as_str()), "{name}");
    assert_eq!(meaning(call.kwargs.as_str()), meaning(kwargs.unwrap().as_str()), "{name}");
    for (field, link) in [
        ("callbacks", &call.links.callbacks),
        ("errbacks", &call.links.errbacks),
        ("chain", &call.links.chain),
        ("chord", &call.links.chord),
    ] {
        let recorded = links.member(field).filter(|link| !link.is_null());
        let read = link.as_ref().map(|link| meaning(link.as_str()));
        assert_eq!(read, recorded.map(|link| meaning(link.as_str())), "{name} {field}");
    }
}

#[test]
fn numbers_and_tokens_that_strict_json_lacks_arrive_as_they_left() {
    let args = |name: &str| {
        let raw = crate::load::vector(name)["redis"]["messages"][0]["raw"].clone();
        decode(envelope(raw.as_str().unwrap()), &Accept::default()).unwrap().args
    };
    assert_eq!(args("msg-nan-inf").as_str(), "[NaN, Infinity, -Infinity]");
    let numbers = args("msg-numbers");
    let recorded = crate::load::vector("msg-numbers");
    let text = recorded["redis"]["messages"][0]["decoded"]["body_text"].as_str().unwrap();
    assert!(text.starts_with(&format!("[{}", numbers.as_str())), "not one byte differs");
}

#[test]
fn every_message_survives_being_taken_apart_and_put_together() {
    let route = Route { exchange: "x", routing_key: "k", priority: 4, delivery_tag: "tag" };
    each(|name, original, _| {
        let parts = match &original.message {
            Message::Envelope(bytes) => parts_of_envelope(bytes).unwrap(),
            Message::Parts(parts) => (**parts).clone(),
        };
        let again = Bytes::from(encode_envelope(&parts, route));
        let Ok(first) = decode(original, &accept_all()) else {
            assert!(name.starts_with("msg-pickle"), "{name}");
            return;
        };
        let second = decode(delivery(Message::Envelope(again)), &accept_all()).unwrap();
        assert_eq!(second.priority, Some(4));
        let essence = |call: &Invocation| {
            let Invocation { task, id, args, kwargs, links, headers, reply_to, .. } = call.clone();
            (task, id, args, kwargs, links, headers, reply_to)
        };
        assert_eq!(essence(&second), essence(&first), "{name}");
    });
}

#[test]
fn a_callers_own_header_stands_over_celerys() {
    let raw = r#"{"body": "W1tdLCB7fSwge31d", "content-type": "application/json", "content-encoding": "utf-8",
        "properties": {"body_encoding": "base64"}, "headers": {"task": "a", "id": "1", "retries": 0,
        "retries": 5, "idempotency-key": "order:1", "redelivered": true, "x": NaN}}"#;
    let call = decode(envelope(raw), &Accept::default()).unwrap();
    assert_eq!((call.retries, call.idempotency_key.as_deref()), (5, Some("order:1")));
    assert!(call.delivery.redelivered);
    assert_eq!(call.headers.as_part().member("x").unwrap().as_str(), "NaN");
    assert_eq!(call.args, Json::empty_array());
    assert_eq!(parse_timestamp("1970-01-01"), Some(Timestamp::from_micros(0)));
}
