//! From a delivery to the call in it.

use std::borrow::Cow;

use lovage_core::{Delivery, Invocation, JsonPart, Links, Message, TaskId, TaskName};

use crate::fields::{Fields, given, owned};
use crate::opened::Opened;
use crate::{Accept, DecodeError, Undecoded, body};

/// Reads the call in a delivery, of either message protocol.
///
/// A message is of protocol 2 when its headers name the task. Whether its body is that protocol's
/// list or the map of protocol 1 is then a question of its own: some producers mix the two.
///
/// # Errors
/// The delivery comes back whole, with the reason, so that it can be kept.
pub fn decode(delivery: Delivery, accept: &Accept) -> Result<Invocation, Box<Undecoded>> {
    match read(&delivery.message, accept) {
        Ok(invocation_of) => Ok(invocation_of(delivery)),
        Err(error) => Err(Box::new(Undecoded { delivery, error })),
    }
}

/// Reads a message, and returns what makes an invocation of the delivery that holds it.
fn read(
    message: &Message,
    accept: &Accept,
) -> Result<impl FnOnce(Delivery) -> Invocation + use<>, DecodeError> {
    let message = Opened::of(message)?;
    let mut header_fields = Fields::default();
    header_fields.headers(message.headers);
    let compression = given(header_fields.compression).and_then(JsonPart::as_text);
    let text = body::text(&message, compression.as_deref(), accept)?;
    let content = Content::of(&text, header_fields, message.headers)?;
    let Content { fields, args, kwargs, links } = content;

    let task = TaskName::from(&*fields.task()?);
    let id = TaskId::from(&*fields.id()?);
    let [root_id, parent_id, group] = fields.relatives(&id);
    let (retries, retry) = (fields.retries()?, fields.retry()?);
    let (eta, expires) = (fields.eta()?, fields.expires()?);
    let time_limit = fields.time_limit()?;
    let (group_index, ignore_result) = (fields.group_index(), fields.ignore_result());
    let (shadow, idempotency_key) = (fields.shadow(), fields.idempotency_key());
    let replaced_task_nesting = fields.replaced_task_nesting();
    let redelivered = fields.redelivered();
    let (args, kwargs) = (args.to_json(), kwargs.to_json());
    let headers = message.headers.to_json();
    let errback = given(fields.errback).filter(|told| told.is_object()).map(JsonPart::to_json);
    let Properties { reply_to, correlation_id, priority } = Properties::of(message.properties, &id);
    Ok(move |delivery: Delivery| Invocation {
        task,
        id,
        root_id,
        parent_id,
        group,
        group_index,
        retries,
        retry,
        eta,
        expires,
        time_limit,
        ignore_result,
        shadow,
        reply_to,
        correlation_id,
        priority,
        idempotency_key,
        replaced_task_nesting,
        args,
        kwargs,
        errback,
        links,
        headers,
        delivery: Delivery { redelivered: redelivered || delivery.redelivered, ..delivery },
    })
}

/// What a body and the headers say together.
struct Content<'a> {
    fields: Fields<'a>,
    args: JsonPart<'a>,
    kwargs: JsonPart<'a>,
    links: Links,
}

impl<'a> Content<'a> {
    fn of(
        text: &'a str,
        header_fields: Fields<'a>,
        headers: JsonPart<'a>,
    ) -> Result<Self, DecodeError> {
        let body = body::parse(text)?;
        let is_protocol_2 = header_fields.task.is_some();
        if body.is_object() && (!is_protocol_2 || body.member("args").is_some()) {
            return Self::protocol_1(body, is_protocol_2.then_some(headers));
        }
        if is_protocol_2 { Self::protocol_2(body, header_fields) } else { Err(DecodeError::NoTask) }
    }

    /// `[args, kwargs, embed]`. The arguments may be anything: whether they fit is the task's affair.
    fn protocol_2(body: JsonPart<'a>, fields: Fields<'a>) -> Result<Self, DecodeError> {
        let mut elements = [JsonPart::NULL; 3];
        let mut count = 0;
        let mut looks_like_protocol_1 = false;
        let is_list = body.each_element(|element| {
            if let Some(place) = elements.get_mut(count) {
                *place = element;
            }
            count += 1;
            looks_like_protocol_1 |= element.as_str() == "\"args\"";
        });
        if looks_like_protocol_1 {
            return Err(DecodeError::KeywordArguments);
        }
        let [args, kwargs, embed] = elements;
        if !is_list || count != 3 || !(embed.is_null() || embed.is_object()) {
            return Err(DecodeError::Shape);
        }
        let mut links = Links::default();
        embed.each_quoted_member(|name, value| {
            let link = match name {
                "\"callbacks\"" => &mut links.callbacks,
                "\"errbacks\"" => &mut links.errbacks,
                "\"chain\"" => &mut links.chain,
                "\"chord\"" => &mut links.chord,
                _ => return,
            };
            *link = given(Some(value)).map(JsonPart::to_json);
        });
        Ok(Self { fields, args, kwargs, links })
    }

    /// A map; `headers` are those of a mixed message, and stand over it.
    fn protocol_1(body: JsonPart<'a>, headers: Option<JsonPart<'a>>) -> Result<Self, DecodeError> {
        let mut fields = Fields::default();
        fields.body(body);
        if fields.task.is_none() && headers.is_none() {
            return Err(DecodeError::NoTask);
        }
        if let Some(headers) = headers {
            fields.headers(headers);
        }
        let kwargs = fields.kwargs.unwrap_or(JsonPart::EMPTY_OBJECT);
        if !kwargs.is_object() {
            return Err(DecodeError::KeywordArguments);
        }
        let link = |part| given(part).map(JsonPart::to_json);
        let links = Links {
            callbacks: link(fields.callbacks),
            errbacks: link(fields.errbacks),
            chain: None,
            chord: link(fields.chord),
        };
        let args = fields.args.unwrap_or(JsonPart::EMPTY_ARRAY);
        Ok(Self { fields, args, kwargs, links })
    }
}

/// What the host acts on in a message's properties.
#[derive(Default)]
struct Properties {
    reply_to: Option<Box<str>>,
    correlation_id: Option<Box<str>>,
    priority: Option<u8>,
}

impl Properties {
    fn of(properties: JsonPart<'_>, id: &TaskId) -> Self {
        let mut read = Self::default();
        properties.each_quoted_member(|name, value| match name {
            "\"reply_to\"" => read.reply_to = owned(Some(value)),
            "\"correlation_id\"" => {
                let other = value.as_text().filter(|text| text != id.as_str());
                read.correlation_id = other.map(Cow::into_owned).map(String::into_boxed_str);
            }
            "\"priority\"" => read.priority = value.as_number().map(clamped),
            _ => {}
        });
        read
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn clamped(number: f64) -> u8 {
    number as u8
}
