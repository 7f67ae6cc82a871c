//! Messages as the protocol has them, and as the rest of Lovage has them.

use std::fmt::Write as _;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lovage_celery::{Route, encode_envelope};
use lovage_core::{JsonPart, Parts, write_json_string};

use super::table::{read_table, write_members, write_table};

/// How often the message was delivered before it was last put off: a count that outlives the queue,
/// which only counts from the last publication on.
const DELIVERIES: &str = "lovage-deliveries";

/// Headers that belong to a delivery and not to its message.
const DELIVERY_HEADERS: [&str; 4] =
    [DELIVERIES, "redelivered", "x-acquired-count", "x-delivery-count"];

/// A message as it was delivered, without its delivery.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
    /// How often it was delivered, this time included.
    pub(super) deliveries: u32,
}

impl Incoming {
    pub(super) fn new(delivery: Delivery) -> Self {
        let Delivery { exchange, routing_key, redelivered, properties, data, .. } = delivery;
        let count = |name| count(properties.headers().as_ref(), name);
        // A quorum queue counts returns; a classic one only says whether there was any.
        let returned = count("x-delivery-count").max(count("x-acquired-count"));
        let before = count(DELIVERIES).saturating_add(returned.max(u32::from(redelivered)));
        let deliveries = before.saturating_add(1);
        Self { exchange, routing_key, properties, body: data.into(), deliveries }
    }

    /// A message as the store had it, delivered once more from there; `None` for a queue that no
    /// message can come from.
    pub(super) fn stored(parts: &Parts, queue: &str) -> Option<Self> {
        let properties = properties_of(parts, priority_of(parts), false);
        let deliveries = count(properties.headers().as_ref(), DELIVERIES).saturating_add(1);
        let routing_key = ShortString::try_new(queue).ok()?;
        let (exchange, body) = (ShortString::default(), parts.body.clone());
        Some(Self { exchange, routing_key, properties, body, deliveries })
    }

    pub(super) fn routing_key(&self) -> &str {
        self.routing_key.as_str()
    }

    pub(super) fn properties(&self) -> &BasicProperties {
        &self.properties
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// How often this queue saw it returned: some queues drop what comes back too often.
    pub(super) fn returns(&self) -> u32 {
        let headers = self.properties.headers().as_ref();
        count(headers, "x-delivery-count").max(count(headers, "x-acquired-count"))
    }

    /// The message in parts.
    pub(super) fn parts(&self) -> Parts {
        let mut headers = String::with_capacity(512);
        match self.properties.headers() {
            Some(table) => write_table(&mut headers, table),
            None => headers.push_str("{}"),
        }
        self.with_headers(headers)
    }

    /// The message as a store keeps it: without the marks of its deliveries, or counting them.
    pub(super) fn envelope(&self, counted: bool) -> Bytes {
        let mut headers = String::from("{");
        if let Some(table) = self.properties.headers() {
            write_members(&mut headers, table, |name| !DELIVERY_HEADERS.contains(&name));
        }
        if counted {
            let separator = if headers.len() > 1 { ", " } else { "" };
            let _ = write!(headers, "{separator}\"{DELIVERIES}\": {}", self.deliveries);
        }
        headers.push('}');
        let route = Route {
            exchange: self.exchange.as_str(),
            routing_key: self.routing_key.as_str(),
            priority: self.properties.priority().unwrap_or(0),
            delivery_tag: "",
        };
        encode_envelope(&self.with_headers(headers), route).into()
    }

    fn with_headers(&self, headers: String) -> Parts {
        let text = |value: &Option<ShortString>| {
            value.as_ref().map_or_else(String::new, |value| value.as_str().to_owned())
        };
        Parts {
            content_type: text(self.properties.content_type()),
            content_encoding: text(self.properties.content_encoding()),
            headers,
            properties: self.property_text(),
            body: self.body.clone(),
        }
    }

    fn property_text(&self) -> String {
        let properties = &self.properties;
        let mut text = String::with_capacity(256);
        text.push('{');
        for (name, value) in [
            ("correlation_id", properties.correlation_id()),
            ("reply_to", properties.reply_to()),
            ("expiration", properties.expiration()),
            ("message_id", properties.message_id()),
            ("type", properties.kind()),
            ("user_id", properties.user_id()),
            ("app_id", properties.app_id()),
        ] {
            if let Some(value) = value {
                let _ = write!(text, "\"{name}\": ");
                write_json_string(&mut text, value.as_str());
                text.push_str(", ");
            }
        }
        for (name, value) in
            [("delivery_mode", properties.delivery_mode()), ("priority", properties.priority())]
        {
            if let Some(value) = value {
                let _ = write!(text, "\"{name}\": {value}, ");
            }
        }
        if let Some(seconds) = properties.timestamp() {
            let _ = write!(text, "\"timestamp\": {seconds}, ");
        }
        text.push_str("\"delivery_info\": {\"exchange\": ");
        write_json_string(&mut text, self.exchange.as_str());
        text.push_str(", \"routing_key\": ");
        write_json_string(&mut text, self.routing_key.as_str());
        text.push_str("}}");
        text
    }
}

fn count(headers: Option<&FieldTable>, name: &str) -> u32 {
    let number = match headers.and_then(|headers| headers.inner().get(name)) {
        Some(AMQPValue::LongLongInt(number)) => *number,
        Some(AMQPValue::LongInt(number)) => i64::from(*number),
        Some(AMQPValue::LongUInt(number)) => i64::from(*number),
        Some(AMQPValue::ShortInt(number)) => i64::from(*number),
        Some(AMQPValue::ShortShortInt(number)) => i64::from(*number),
        _ => 0,
    };
    u32::try_from(number).unwrap_or(if number > 0 { u32::MAX } else { 0 })
}

/// The properties of a message that leaves. A lifetime in the queue goes along only with a message
/// that is new: one that was put off is bound by its header `expires` alone, which says the same and
/// is answered, where a queue drops without a word.
pub(super) fn properties_of(parts: &Parts, priority: u8, is_new: bool) -> BasicProperties {
    let headers = JsonPart::parse(&parts.headers).unwrap_or(JsonPart::EMPTY_OBJECT);
    let mut made = BasicProperties::default()
        .with_headers(read_table(headers))
        .with_delivery_mode(2)
        .with_priority(priority);
    if let Some(kind) = short(&parts.content_type) {
        made = made.with_content_type(kind);
    }
    if let Some(encoding) = short(&parts.content_encoding) {
        made = made.with_content_encoding(encoding);
    }
    let given = JsonPart::parse(&parts.properties).unwrap_or(JsonPart::EMPTY_OBJECT);
    given.each_quoted_member(|name, value| {
        let text = || value.as_text().as_deref().and_then(short);
        let property = std::mem::take(&mut made);
        made = match name {
            "\"correlation_id\"" => with(property, text(), BasicProperties::with_correlation_id),
            "\"reply_to\"" => with(property, text(), BasicProperties::with_reply_to),
            "\"message_id\"" => with(property, text(), BasicProperties::with_message_id),
            "\"type\"" => with(property, text(), BasicProperties::with_type),
            "\"app_id\"" => with(property, text(), BasicProperties::with_app_id),
            "\"expiration\"" if is_new => with(property, text(), BasicProperties::with_expiration),
            "\"timestamp\"" => {
                with(property, value.as_str().parse().ok(), BasicProperties::with_timestamp)
            }
            "\"delivery_mode\"" => {
                with(property, value.as_str().parse().ok(), BasicProperties::with_delivery_mode)
            }
            _ => property,
        };
    });
    made
}

fn with<T>(
    properties: BasicProperties,
    value: Option<T>,
    set: impl FnOnce(BasicProperties, T) -> BasicProperties,
) -> BasicProperties {
    match value {
        Some(value) => set(properties, value),
        None => properties,
    }
}

/// A text as the protocol's short ones are; `None` for an empty one, and for one that is too long.
fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok().filter(|_| !text.is_empty())
}

/// The priority that a message's properties name.
pub(super) fn priority_of(parts: &Parts) -> u8 {
    let properties = JsonPart::parse(&parts.properties).unwrap_or(JsonPart::EMPTY_OBJECT);
    let priority = properties.member("priority").and_then(JsonPart::as_number).unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates"
    )]
    let priority = priority as u8;
    priority
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use lapin::types::{AMQPValue, FieldTable};
    use lovage_celery::parts_of_envelope;

    use super::{Incoming, priority_of, properties_of};

    fn incoming(headers: &[(&str, AMQPValue)], redelivered: bool) -> Incoming {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let mut delivery =
            Delivery::mock(7, "x".into(), "video.new".into(), redelivered, b"[]".to_vec());
        delivery.properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_headers(table)
            .with_correlation_id("1".into())
            .with_expiration("60000".into())
            .with_priority(4);
        Incoming::new(delivery)
    }

    #[test]
    fn deliveries_are_counted_over_returns_and_waits() {
        let counted =
            |headers: &[(&str, AMQPValue)], redelivered| incoming(headers, redelivered).deliveries;
        assert_eq!((counted(&[], false), counted(&[], true)), (1, 2));
        let returned = ("x-delivery-count", AMQPValue::LongLongInt(3));
        assert_eq!(counted(std::slice::from_ref(&returned), true), 4);
        assert_eq!(counted(&[returned, ("lovage-deliveries", AMQPValue::LongInt(5))], true), 9);
    }

    #[test]
    fn a_message_that_was_put_off_goes_out_as_it_came_and_counts_on() {
        let came = incoming(&[("id", AMQPValue::LongString("a".into()))], true);
        let put_off = parts_of_envelope(&came.envelope(true)).unwrap();
        assert_eq!(put_off.headers, r#"{"id": "a", "lovage-deliveries": 2}"#);
        assert_eq!((&*put_off.body, priority_of(&put_off)), (&b"[]"[..], 4));
        let leaves = properties_of(&put_off, 4, false);
        assert_eq!(leaves.correlation_id().as_ref().unwrap().as_str(), "1");
        assert_eq!((leaves.expiration(), *leaves.delivery_mode()), (&None, Some(2)));
        let kept = parts_of_envelope(&came.envelope(false)).unwrap();
        assert_eq!(kept.headers, r#"{"id": "a"}"#);
    }

    #[test]
    fn the_parts_say_where_a_message_was_sent_to() {
        let parts = incoming(&[], false).parts();
        assert_eq!(
            parts.properties,
            concat!(
                r#"{"correlation_id": "1", "expiration": "60000", "priority": 4, "#,
                r#""delivery_info": {"exchange": "x", "routing_key": "video.new"}}"#
            )
        );
    }
}
