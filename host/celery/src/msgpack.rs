//! MessagePack as JSON text, and JSON text as MessagePack.

use std::fmt;

use lovage_core::{DEPTH_MAX, JsonPart, write_json_string};
use serde::Serialize;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::{DecodeError, number, typed};

/// Writes a MessagePack value as JSON; bytes become kombu's typed values, and keys text as Python's
/// `json` module makes them.
pub(crate) fn to_json(data: &[u8]) -> Result<String, DecodeError> {
    let mut json = String::with_capacity(data.len() * 2);
    let mut rest = data;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH_MAX + 1);
    match (Value { json: &mut json, key: false }).deserialize(&mut deserializer) {
        Ok(()) => {}
        Err(rmp_serde::decode::Error::DepthLimitExceeded) => return Err(DecodeError::TooDeep),
        Err(error) => return Err(DecodeError::Body(error.to_string())),
    }
    if !rest.is_empty() {
        return Err(DecodeError::Body("data after the value".into()));
    }
    Ok(json)
}

/// Writes a JSON text as MessagePack; kombu's typed bytes become bytes.
pub(crate) fn from_json(text: &str) -> Result<Vec<u8>, String> {
    let value = JsonPart::parse(text).map_err(|error| error.to_string())?;
    rmp_serde::to_vec(&Part(value)).map_err(|error| error.to_string())
}

/// A JSON value on its way into MessagePack.
struct Part<'a>(JsonPart<'a>);

impl Serialize for Part<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = self.0;
        let mut elements = Vec::new();
        if part.each_element(|element| elements.push(Part(element))) {
            return serializer.collect_seq(elements);
        }
        if part.is_object() {
            if let Some(bytes) = typed::bytes_of(part) {
                return serializer.serialize_bytes(&bytes);
            }
            let mut members = Vec::new();
            part.each_member(|name, value| members.push((name, Part(value))));
            return serializer.collect_map(members);
        }
        if let Some(text) = part.as_text() {
            return serializer.serialize_str(&text);
        }
        let text = part.as_str();
        if let Some(flag) = part.as_bool() {
            serializer.serialize_bool(flag)
        } else if part.is_null() {
            serializer.serialize_unit()
        } else if text.contains(['.', 'e', 'E', 'I', 'N']) {
            serializer.serialize_f64(part.as_number().unwrap_or(f64::NAN))
        } else if let Ok(number) = text.parse::<i64>() {
            serializer.serialize_i64(number)
        } else {
            let number = text.parse::<u64>();
            let wide = |_| serde::ser::Error::custom("an integer of more than 64 bits");
            serializer.serialize_u64(number.map_err(wide)?)
        }
    }
}

/// One value on its way into a JSON text.
struct Value<'a> {
    json: &'a mut String,
    /// Whether it is the key of a map, which in JSON is text.
    key: bool,
}

impl Value<'_> {
    fn word(self, word: &str) {
        if self.key {
            write_json_string(self.json, word);
        } else {
            self.json.push_str(word);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that JSON can hold")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.word("null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.word(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.word(&value.to_string());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.word(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.word(&number::float(value));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        write_json_string(self.json, value);
        Ok(())
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<(), E> {
        if self.key {
            return Err(E::custom("bytes cannot be the key of a map"));
        }
        typed::push_bytes(self.json, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.key {
            return Err(A::Error::custom("an array cannot be the key of a map"));
        }
        self.json.push('[');
        let start = self.json.len();
        loop {
            let before = self.json.len();
            if before > start {
                self.json.push_str(", ");
            }
            if elements.next_element_seed(Value { json: self.json, key: false })?.is_none() {
                self.json.truncate(before);
                self.json.push(']');
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if self.key {
            return Err(A::Error::custom("a map cannot be the key of a map"));
        }
        self.json.push('{');
        let start = self.json.len();
        loop {
            let before = self.json.len();
            if before > start {
                self.json.push_str(", ");
            }
            if members.next_key_seed(Value { json: self.json, key: true })?.is_none() {
                self.json.truncate(before);
                self.json.push('}');
                return Ok(());
            }
            self.json.push_str(": ");
            members.next_value_seed(Value { json: self.json, key: false })?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn every_kind_of_value_becomes_json() {
        let data = b"\x97\xc0\xc3\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xcb\x7f\xf8\0\0\0\0\0\0\
                     \xc4\x01\xff\x82\x05\x90\xa1a\x80";
        assert_eq!(
            to_json(data).unwrap(),
            r#"[null, true, 1, 18446744073709551615, NaN, {"__type__": "base64", "__value__": "/w=="}, {"5": [], "a": {}}]"#
        );
    }

    #[test]
    fn what_is_no_single_value_is_refused() {
        for data in [&b""[..], b"\x92\x01", b"\x01\x01", b"\xc1", b"\xd4\x05\x00", b"\x81\x90\x01"]
        {
            assert_eq!(to_json(data).unwrap_err().code(), "malformed-body", "{data:?}");
        }
        assert_eq!(to_json(&vec![0x91; 1_000_000]).unwrap_err().code(), "body-too-deep");
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        assert!(to_json(b"\xdd\xff\xff\xff\xff\x01").is_err());
        assert!(to_json(b"\xc6\xff\xff\xff\xff\x01").is_err());
    }
}
