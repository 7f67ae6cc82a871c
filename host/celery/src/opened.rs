//! A message with its parts laid open: the one view that everything here reads messages through.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lovage_core::{Json, JsonPart, Message, Parts};

use crate::{DecodeError, typed};

/// Base64 as Python reads it: with padding or, from other producers, without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parts of a message, borrowed from it.
pub(crate) struct Opened<'a> {
    /// Empty when the message names none.
    pub(crate) content_type: Cow<'a, str>,
    /// Empty when the message names none.
    pub(crate) content_encoding: Cow<'a, str>,
    /// An object.
    pub(crate) headers: JsonPart<'a>,
    /// An object.
    pub(crate) properties: JsonPart<'a>,
    /// The body without its transport encoding.
    pub(crate) body: Cow<'a, [u8]>,
}

impl<'a> Opened<'a> {
    pub(crate) fn of(message: &'a Message) -> Result<Self, DecodeError> {
        match message {
            Message::Envelope(bytes) => Self::envelope(bytes),
            Message::Parts(parts) => Self::parts(parts),
        }
    }

    fn parts(parts: &'a Parts) -> Result<Self, DecodeError> {
        Ok(Self {
            content_type: Cow::Borrowed(&parts.content_type),
            content_encoding: Cow::Borrowed(&parts.content_encoding),
            headers: object("headers", parse(&parts.headers)?)?,
            properties: object("properties", parse(&parts.properties)?)?,
            body: Cow::Borrowed(&parts.body),
        })
    }

    /// Opens an envelope. Its text is walked over once; only the body is copied.
    pub(crate) fn envelope(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let Frame { content_type, content_encoding, headers, properties, body } = frame(bytes)?;
        let headers = object("headers", headers.unwrap_or(JsonPart::NULL))?;
        let Some(properties) = properties else { return envelope_error("it has no properties") };
        if !properties.is_object() {
            return envelope_error("its properties are no object");
        }
        let text =
            |part: Option<JsonPart<'a>>| part.and_then(JsonPart::as_text).unwrap_or_default();
        Ok(Self {
            content_type: text(content_type),
            content_encoding: text(content_encoding),
            headers,
            properties,
            body: transported(body.unwrap_or(JsonPart::NULL), properties)?,
        })
    }

    /// The parts, standing alone.
    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            content_type: self.content_type.into_owned(),
            content_encoding: self.content_encoding.into_owned(),
            headers: self.headers.as_str().into(),
            properties: self.properties.as_str().into(),
            body: self.body.into_owned().into(),
        }
    }
}

/// The members of an envelope as they stand in it.
#[derive(Default)]
pub(crate) struct Frame<'a> {
    content_type: Option<JsonPart<'a>>,
    content_encoding: Option<JsonPart<'a>>,
    pub(crate) headers: Option<JsonPart<'a>>,
    pub(crate) properties: Option<JsonPart<'a>>,
    body: Option<JsonPart<'a>>,
}

/// Cuts an envelope into its members.
pub(crate) fn frame(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let Ok(text) = std::str::from_utf8(bytes) else { return envelope_error("it is not UTF-8") };
    let mut frame = Frame::default();
    let is_object = JsonPart::parse_members(text, |name, value| match name {
        "\"body\"" => frame.body = Some(value),
        "\"content-encoding\"" => frame.content_encoding = Some(value),
        "\"content-type\"" => frame.content_type = Some(value),
        "\"headers\"" => frame.headers = Some(value),
        "\"properties\"" => frame.properties = Some(value),
        _ => {}
    });
    match is_object {
        Ok(true) => Ok(frame),
        Ok(false) => envelope_error("it is no object"),
        Err(error) => Err(DecodeError::Envelope(error.to_string())),
    }
}

/// Takes the transport encoding off a body.
fn transported<'a>(
    body: JsonPart<'a>,
    properties: JsonPart<'a>,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let encoding = property(properties, "\"body_encoding\"").and_then(JsonPart::as_text);
    if let Some(inside) = body.inside_quotes() {
        return match encoding.as_deref() {
            Some("base64") => {
                let bytes = BASE64.decode(&*body.as_text().unwrap_or(Cow::Borrowed(inside)));
                bytes.map(Cow::Owned).map_err(|error| DecodeError::BodyEncoding(error.to_string()))
            }
            Some("utf-8") | None => Ok(match body.as_text() {
                Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                None => Cow::Borrowed(&[]),
            }),
            Some(other) => Err(DecodeError::BodyEncoding(format!("{other:?} is unknown"))),
        };
    }
    // With `utf-8`, bytes that are no text (a compressed body) are a typed value.
    match typed::bytes_of(body) {
        Some(bytes) => Ok(Cow::Owned(bytes)),
        None => envelope_error("its body is neither text nor bytes"),
    }
}

/// The property of that name, which is given in its quotes.
pub(crate) fn property<'a>(properties: JsonPart<'a>, quoted: &str) -> Option<JsonPart<'a>> {
    let mut found = None;
    properties.each_quoted_member(|name, value| {
        if name == quoted {
            found = Some(value);
        }
    });
    found.filter(|value| !value.is_null())
}

/// Headers or properties: an object, or null for none.
fn object<'a>(what: &str, value: JsonPart<'a>) -> Result<JsonPart<'a>, DecodeError> {
    if value.is_null() {
        Ok(JsonPart::EMPTY_OBJECT)
    } else if value.is_object() {
        Ok(value)
    } else {
        Err(DecodeError::Envelope(format!("its {what} are no object")))
    }
}

fn parse(text: &str) -> Result<JsonPart<'_>, DecodeError> {
    JsonPart::parse(text).map_err(|error| DecodeError::Envelope(error.to_string()))
}

fn envelope_error<T>(why: &str) -> Result<T, DecodeError> {
    Err(DecodeError::Envelope(why.into()))
}

/// A JSON value that is known to be well-formed because it was written here.
///
/// The text is checked all the same; a mistake becomes `null`, never a broken message.
pub(crate) fn written(text: String) -> Json {
    Json::parse(text).unwrap_or_else(|_| Json::null())
}
