//! From the bytes of a body to JSON text.

use std::borrow::Cow;

use lovage_core::{JsonError, JsonPart};

use crate::accept::{Accept, ContentType};
use crate::compression::inflate;
use crate::opened::Opened;
use crate::{DecodeError, msgpack, typed, yaml};

/// The JSON text of a message's body, not yet checked. `compression` is the header of that name.
pub(crate) fn text<'a>(
    message: &'a Opened<'_>,
    compression: Option<&str>,
    accept: &Accept,
) -> Result<Cow<'a, str>, DecodeError> {
    let content_type = ContentType::of_message(&message.content_type)
        .filter(|content_type| accept.allows(*content_type))
        .ok_or_else(|| DecodeError::ContentType(message.content_type.clone().into_owned()))?;
    let bytes_max = accept.inflated_bytes_max;
    let bytes = match compression {
        None => Cow::Borrowed(&*message.body),
        Some(name) => Cow::Owned(inflate(name, &message.body, bytes_max)?),
    };
    if content_type == ContentType::MessagePack {
        return msgpack::to_json(&bytes).map(Cow::Owned);
    }
    let text = match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    };
    let text = text.ok_or_else(|| DecodeError::Body("it is not UTF-8".into()))?;
    match content_type {
        ContentType::Yaml => yaml::to_json(&text, bytes_max).map(Cow::Owned),
        ContentType::Json | ContentType::MessagePack => Ok(text),
    }
}

/// Checks the text of a body.
pub(crate) fn parse(text: &str) -> Result<JsonPart<'_>, DecodeError> {
    let body = JsonPart::parse(text).map_err(|error| match error {
        JsonError::Malformed { .. } => DecodeError::Body(error.to_string()),
        JsonError::TooDeep { .. } => DecodeError::TooDeep,
    })?;
    typed::check(body)?;
    Ok(body)
}
