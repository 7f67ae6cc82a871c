//! Remote control: commands that anyone broadcasts to workers, and what workers answer.

use lovage_core::{Invocation, Json, JsonPart, Message, Parts, Timestamp, write_json_string};
use serde_json::{Map, Value};

use crate::accept::Accept;
use crate::body;
use crate::event::shown_arguments;
use crate::number::float;
use crate::opened::{Opened, property, written};
use crate::outgoing::Object;

/// A command, as a worker reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlRequest {
    /// Which command, such as `ping`.
    pub method: String,
    /// Its arguments, by name.
    pub arguments: Map<String, Value>,
    /// The nodes that are meant; empty for all.
    pub destination: Vec<String>,
    /// The nodes that are meant, as a pattern and its kind (`glob` or `pcre`).
    pub pattern: Option<(String, String)>,
    /// Where to answer; `None` when no answer is wanted.
    pub reply_to: Option<ReplyTo>,
    /// What the asker tells its questions apart by.
    pub ticket: Option<String>,
    /// The asker's tick of the common clock.
    pub clock: Option<u64>,
}

/// Where a command wants its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

/// What one worker answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlReply {
    /// The worker's node name.
    pub node: String,
    /// Its answer.
    pub answer: Value,
    /// Which question it answers.
    pub ticket: Option<String>,
    /// Its tick of the common clock.
    pub clock: Option<u64>,
}

/// Reads a command. `None` when it is none: anybody may write to the exchange, and nobody is told.
/// JSON is read always, because that is what everybody's tools send.
pub fn decode_control(message: &Message, accept: &Accept) -> Option<ControlRequest> {
    let (headers, Value::Object(mut body)) = open(message, accept)? else { return None };
    let mut text = |name: &str| match body.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (method, ticket) = (text("method")?, text("ticket"));
    let pattern = text("pattern").zip(text("matcher")).filter(|(pattern, _)| !pattern.is_empty());
    let arguments = match body.remove("arguments") {
        Some(Value::Object(arguments)) => arguments,
        _ => Map::new(),
    };
    let destination = match body.remove("destination") {
        Some(Value::Array(nodes)) => {
            nodes.into_iter().filter_map(|node| Some(node.as_str()?.to_owned())).collect()
        }
        Some(Value::String(node)) => vec![node],
        _ => Vec::new(),
    };
    let reply_to = body.get("reply_to").and_then(|to| {
        let text = |name| Some(to.get(name)?.as_str()?.to_owned());
        Some(ReplyTo { exchange: text("exchange")?, routing_key: text("routing_key")? })
    });
    let clock = headers.get("clock").and_then(Value::as_u64);
    Some(ControlRequest { method, arguments, destination, pattern, reply_to, ticket, clock })
}

/// Reads the answers in a message; none when it is no answer.
pub fn decode_reply(message: &Message) -> Vec<ControlReply> {
    let Some((headers, Value::Object(body))) = open(message, &Accept::default()) else {
        return Vec::new();
    };
    let ticket = headers.get("ticket").and_then(Value::as_str).map(ToOwned::to_owned);
    let clock = headers.get("clock").and_then(Value::as_u64);
    let reply = |(node, answer)| ControlReply { node, answer, ticket: ticket.clone(), clock };
    body.into_iter().map(reply).collect()
}

/// The message that answers a command.
pub fn control_reply(node: &str, answer: &Json, ticket: Option<&str>, clock: u64) -> Parts {
    let mut body = String::with_capacity(answer.as_str().len() + node.len() + 8);
    body.push('{');
    write_json_string(&mut body, node);
    body.push_str(": ");
    body.push_str(answer.as_str());
    body.push('}');
    let mut headers = String::new();
    let mut object = Object::new(&mut headers, JsonPart::EMPTY_OBJECT);
    object.text("ticket", ticket);
    object.json("clock", &clock.to_string());
    object.end();
    parts(headers, "{\"delivery_mode\": 1}", body)
}

/// The message that broadcasts a command.
pub fn control_question(request: &ControlRequest, expires: Timestamp) -> Parts {
    let reply_to = request
        .reply_to
        .as_ref()
        .map(|to| serde_json::json!({"exchange": to.exchange, "routing_key": to.routing_key}));
    let (pattern, matcher) = request.pattern.clone().unzip();
    let destination = Some(&request.destination).filter(|nodes| !nodes.is_empty());
    let mut body = serde_json::json!({
        "method": request.method, "arguments": request.arguments, "destination": destination,
        "pattern": pattern, "matcher": matcher,
    });
    if let (Some(reply_to), Value::Object(members)) = (reply_to, &mut body) {
        members.insert("ticket".into(), request.ticket.clone().into());
        members.insert("reply_to".into(), reply_to);
    }
    let clock = request.clock.unwrap_or(1);
    let headers = format!("{{\"clock\": {clock}, \"expires\": {}}}", float(expires.as_seconds()));
    parts(headers, "{\"delivery_mode\": 2}", body.to_string())
}

/// A call as `inspect` shows it. `begun` is when it began to run, and in which process. With `safe`
/// the arguments are shown as Python's `repr` would show them.
pub fn request_info(
    invocation: &Invocation,
    hostname: &str,
    begun: Option<(Timestamp, u32)>,
    safe: bool,
) -> Json {
    let mut text = String::with_capacity(512);
    let mut info = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
    info.text("id", Some(invocation.id.as_str()));
    info.text("name", Some(invocation.shown_name()));
    if safe {
        let [args, kwargs] = shown_arguments(invocation);
        info.text("args", Some(&args));
        info.text("kwargs", Some(&kwargs));
    } else {
        info.json("args", invocation.args.as_str());
        info.json("kwargs", invocation.kwargs.as_str());
    }
    info.text("type", Some(invocation.task.as_str()));
    info.text("hostname", Some(hostname));
    info.json("time_start", &begun.map_or("null".into(), |(at, _)| float(at.as_seconds())));
    info.json("acknowledged", "false");
    info.json("delivery_info", &delivery_info(invocation));
    info.json("worker_pid", &begun.map_or("null".into(), |(_, pid)| pid.to_string()));
    info.end();
    written(text)
}

fn delivery_info(invocation: &Invocation) -> String {
    let delivery = &invocation.delivery;
    let opened = Opened::of(&delivery.message).ok();
    let info = opened.as_ref().and_then(|it| property(it.properties, "\"delivery_info\""));
    let text = |name| info.and_then(|info| info.member(name)).and_then(JsonPart::as_text);
    let mut written = String::new();
    let mut object = Object::new(&mut written, JsonPart::EMPTY_OBJECT);
    object.text("exchange", Some(&text("exchange").unwrap_or_default()));
    let routing_key = text("routing_key");
    object.text("routing_key", Some(routing_key.as_deref().unwrap_or(delivery.queue.as_str())));
    object.json("priority", &invocation.priority.unwrap_or(0).to_string());
    object.json("redelivered", if delivery.redelivered { "true" } else { "false" });
    object.end();
    written
}

/// Headers and body of a message, as trees: this is never on the main path.
fn open(message: &Message, accept: &Accept) -> Option<(Value, Value)> {
    let opened = Opened::of(message).ok()?;
    let text = body::text(&opened, None, accept)
        .or_else(|_| body::text(&opened, None, &Accept::default()))
        .ok()?;
    body::parse(&text).ok()?;
    let headers = serde_json::from_str(opened.headers.as_str()).ok()?;
    Some((headers, serde_json::from_str(&text).ok()?))
}

fn parts(headers: String, properties: &str, body: String) -> Parts {
    Parts {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        headers,
        properties: properties.into(),
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Json, Message, Timestamp};
    use serde_json::{Map, Value, json};

    use super::{
        ControlRequest, ReplyTo, control_question, control_reply, decode_control, decode_reply,
    };
    use crate::Accept;

    fn request() -> ControlRequest {
        let arguments = json!({"task_id": ["a", "b"], "terminate": true});
        ControlRequest {
            method: "revoke".into(),
            arguments: arguments.as_object().cloned().unwrap_or_else(Map::new),
            destination: vec!["w1@box".into()],
            pattern: Some(("w*@box".into(), "glob".into())),
            reply_to: Some(ReplyTo { exchange: "e".into(), routing_key: "k".into() }),
            ticket: Some("t".into()),
            clock: Some(4),
        }
    }

    #[test]
    fn a_question_is_read_as_it_was_asked() {
        let parts = control_question(&request(), Timestamp::from_micros(5_500_000));
        assert_eq!(parts.headers, r#"{"clock": 4, "expires": 5.5}"#);
        let accept = Accept::from_names(["msgpack"]).unwrap();
        assert_eq!(decode_control(&Message::Parts(Box::new(parts)), &accept), Some(request()));
    }

    #[test]
    fn what_is_no_command_is_passed_over() {
        for body in ["[]", "{}", r#"{"method": 1}"#, "no json", r#"{"method": NaN}"#] {
            let mut parts = control_question(&request(), Timestamp::from_micros(0));
            parts.body = body.into();
            let message = Message::Parts(Box::new(parts));
            assert_eq!(decode_control(&message, &Accept::default()), None, "{body}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_given() {
        let parts = control_reply("w1@box", &Json::parse(r#"{"ok": "pong"}"#).unwrap(), None, 9);
        let replies = decode_reply(&Message::Parts(Box::new(parts)));
        let [reply] = &*replies else { panic!("{replies:?}") };
        assert_eq!((reply.node.as_str(), reply.clock), ("w1@box", Some(9)));
        assert_eq!(reply.answer["ok"], Value::from("pong"));
    }
}
