//! The one JSON text in which transports without message parts of their own keep a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lovage_core::{JsonPart, Parts, write_json_string};

use crate::DecodeError;
use crate::opened::{Opened, frame, property};

/// What an envelope says of where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The exchange; empty for the default one.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// The priority, 0 to 255.
    pub priority: u8,
    /// A name for the delivery, unique among those that wait at once: kombu's workers key their
    /// unsettled messages by it.
    pub delivery_tag: &'a str,
}

/// The properties that [`encode_envelope`] writes itself, in their quotes.
const OWN_PROPERTIES: [&str; 4] =
    ["\"delivery_info\"", "\"priority\"", "\"body_encoding\"", "\"delivery_tag\""];

/// Writes a message as one JSON text: the form that kombu's Redis, SQL and SQS transports keep.
///
/// Headers and properties that are no JSON objects are written as empty ones.
pub fn encode_envelope(parts: &Parts, route: Route<'_>) -> String {
    let room = parts.body.len() / 3 * 4 + parts.headers.len() + parts.properties.len() + 320;
    let mut text = String::with_capacity(room);
    text.push_str("{\"body\": \"");
    STANDARD.encode_string(&parts.body, &mut text);
    text.push_str("\", \"content-encoding\": ");
    write_json_string(&mut text, &parts.content_encoding);
    text.push_str(", \"content-type\": ");
    write_json_string(&mut text, &parts.content_type);
    text.push_str(", \"headers\": ");
    text.push_str(object(&parts.headers).as_str());
    text.push_str(", \"properties\": {");
    object(&parts.properties).each_quoted_member(|name, value| {
        if !OWN_PROPERTIES.contains(&name) {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value.as_str());
            text.push_str(", ");
        }
    });
    text.push_str("\"delivery_info\": {\"exchange\": ");
    write_json_string(&mut text, route.exchange);
    text.push_str(", \"routing_key\": ");
    write_json_string(&mut text, route.routing_key);
    text.push_str("}, \"priority\": ");
    text.push_str(&route.priority.to_string());
    text.push_str(", \"body_encoding\": \"base64\", \"delivery_tag\": ");
    write_json_string(&mut text, route.delivery_tag);
    text.push_str("}}");
    text
}

fn object(text: &str) -> JsonPart<'_> {
    JsonPart::parse(text).ok().filter(|part| part.is_object()).unwrap_or(JsonPart::EMPTY_OBJECT)
}

/// The same envelope with its two marks of redelivery set, as kombu sets them when it puts a message
/// back: `headers.redelivered` and `properties.delivery_info.redelivered`. Everything else stays
/// byte for byte. `None` when it is no envelope: such a text must be put back as it is.
pub fn mark_redelivered(envelope: &[u8]) -> Option<Vec<u8>> {
    edited(envelope, Edit::marking)
}

/// The same envelope with those of its two marks of redelivery taken back that are set: a message
/// that is sent again as it was sent first. `None` when there is nothing to take back.
pub fn unmark_redelivered(envelope: &[u8]) -> Option<Vec<u8>> {
    edited(envelope, Edit::unmarking)
}

/// The envelope with an edit to each of the two objects that have marks.
fn edited(envelope: &[u8], edit: impl Fn(&[u8], JsonPart<'_>) -> Option<Edit>) -> Option<Vec<u8>> {
    let frame = frame(envelope).ok()?;
    let delivery_info = frame.properties.and_then(|part| property(part, "\"delivery_info\""));
    let mut edits: Vec<Edit> = [frame.headers, delivery_info]
        .into_iter()
        .flatten()
        .filter_map(|object| edit(envelope, object))
        .collect();
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|edit| edit.from);
    let mut marked = Vec::with_capacity(envelope.len() + 48);
    let mut done = 0;
    for edit in edits {
        marked.extend_from_slice(envelope.get(done..edit.from)?);
        marked.extend_from_slice(edit.text.as_bytes());
        done = edit.to;
    }
    marked.extend_from_slice(envelope.get(done..)?);
    Some(marked)
}

/// Bytes of an envelope, and what stands there instead.
struct Edit {
    from: usize,
    to: usize,
    text: &'static str,
}

impl Edit {
    /// What sets `redelivered` in an object of the envelope.
    fn marking(envelope: &[u8], object: JsonPart<'_>) -> Option<Self> {
        let mut is_empty = true;
        let mut present = None;
        let is_object = object.each_quoted_member(|name, value| {
            is_empty = false;
            if name == "\"redelivered\"" {
                present = Some(value);
            }
        });
        if !is_object {
            return None;
        }
        if let Some(value) = present {
            return Self::replacing(envelope, value, "true");
        }
        let end = start_of(envelope, object)? + object.as_str().len() - 1;
        let text = if is_empty { "\"redelivered\": true" } else { ", \"redelivered\": true" };
        Some(Self { from: end, to: end, text })
    }

    /// What takes `redelivered` back in an object of the envelope, if it is set there.
    fn unmarking(envelope: &[u8], object: JsonPart<'_>) -> Option<Self> {
        let mut set = None;
        object.each_quoted_member(|name, value| {
            if name == "\"redelivered\"" {
                set = Some(value).filter(|value| value.as_str() == "true");
            }
        });
        Self::replacing(envelope, set?, "false")
    }

    fn replacing(envelope: &[u8], value: JsonPart<'_>, text: &'static str) -> Option<Self> {
        let from = start_of(envelope, value)?;
        Some(Self { from, to: from + value.as_str().len(), text })
    }
}

/// Where a part of an envelope begins in it.
fn start_of(envelope: &[u8], part: JsonPart<'_>) -> Option<usize> {
    (part.as_str().as_ptr() as usize).checked_sub(envelope.as_ptr() as usize)
}

/// Takes an envelope apart; the body comes without its transport encoding. The properties are those
/// of the envelope, where it went included.
///
/// # Errors
/// When it is no envelope, or the transport encoding is unknown or broken.
pub fn parts_of_envelope(envelope: &Bytes) -> Result<Parts, DecodeError> {
    Opened::envelope(envelope).map(Opened::into_parts)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lovage_core::Parts;

    use super::{Route, encode_envelope, mark_redelivered, parts_of_envelope, unmark_redelivered};

    const ROUTE: Route<'_> =
        Route { exchange: "", routing_key: "shop", priority: 3, delivery_tag: "t-1" };

    fn marked(text: &str) -> String {
        String::from_utf8(mark_redelivered(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_mark_is_added_where_there_is_none_and_nothing_else_moves() {
        assert_eq!(
            marked(r#"{ "headers":{"id": 1 },"x":NaN, "properties": {"delivery_info": {}}}"#),
            r#"{ "headers":{"id": 1 , "redelivered": true},"x":NaN, "properties": {"delivery_info": {"redelivered": true}}}"#
        );
    }

    #[test]
    fn a_mark_that_is_there_is_set() {
        let text = r#"{"properties": {"delivery_info": {"redelivered": false, "a": 1}}, "headers": {"redelivered": null}}"#;
        let expected = text.replace("false", "true").replace("null", "true");
        assert_eq!(marked(text), expected);
        assert_eq!(marked(&expected), expected);
    }

    #[test]
    fn a_mark_is_taken_back_where_it_is_set_and_nothing_else_moves() {
        let text = r#"{"properties": {"delivery_info": {"redelivered": true, "a": 1}}, "headers": {"x": true , "redelivered":true}}"#;
        let back = String::from_utf8(unmark_redelivered(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            back,
            r#"{"properties": {"delivery_info": {"redelivered": false, "a": 1}}, "headers": {"x": true , "redelivered":false}}"#
        );
        assert_eq!(unmark_redelivered(back.as_bytes()), None);
        assert_eq!(unmark_redelivered(b"[]"), None);
    }

    #[test]
    fn what_is_no_envelope_is_not_touched() {
        for text in
            ["this is not json", "[]", "{}", r#"{"headers": null, "properties": 1}"#, "\u{0}"]
        {
            assert_eq!(mark_redelivered(text.as_bytes()), None, "{text}");
        }
        assert_eq!(mark_redelivered(b"\xff"), None);
    }

    #[test]
    fn parts_become_an_envelope_and_parts_again() {
        let parts = Parts {
            content_type: "application/json".into(),
            content_encoding: "utf-8".into(),
            headers: r#"{"task": "é"}"#.into(),
            properties: r#"{"reply_to": "r", "priority": 9, "delivery_tag": "old"}"#.into(),
            body: Bytes::from_static(b"\x00\xffbody"),
        };
        let envelope = encode_envelope(&parts, ROUTE);
        let back = parts_of_envelope(&Bytes::from(envelope)).unwrap();
        assert_eq!((&back.body, &back.headers), (&parts.body, &parts.headers));
        assert_eq!(
            back.properties,
            r#"{"reply_to": "r", "delivery_info": {"exchange": "", "routing_key": "shop"}, "priority": 3, "body_encoding": "base64", "delivery_tag": "t-1"}"#
        );
    }
}
