//! Reading the recordings, and comparing JSON by meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lovage_core::{Delivery, JsonPart, Message, Parts, Receipt};
use serde_json::Value;

/// All recordings whose names begin so, by name.
pub(crate) fn vectors(prefix: &str) -> BTreeMap<String, Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut vectors = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.starts_with(prefix) && path.extension().is_some_and(|extension| extension == "json")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            vectors.insert(name, serde_json::from_str(&text).unwrap());
        }
    }
    assert!(!vectors.is_empty(), "no recording begins with {prefix}");
    vectors
}

pub(crate) fn vector(name: &str) -> Value {
    vectors(name).remove(name).unwrap_or_else(|| panic!("no recording {name}"))
}

pub(crate) fn delivery(message: Message) -> Delivery {
    Delivery {
        queue: "celery".into(),
        receipt: Receipt(7),
        message,
        redelivered: false,
        deliveries: 1,
    }
}

pub(crate) fn envelope(raw: &str) -> Delivery {
    delivery(Message::Envelope(raw.to_owned().into()))
}

/// A message recorded on AMQP, as its broker would hand it over.
pub(crate) fn amqp(message: &Value) -> Delivery {
    let property = |name: &str| message["properties"][name].as_str().unwrap_or_default().to_owned();
    delivery(Message::Parts(Box::new(Parts {
        content_type: property("content_type"),
        content_encoding: property("content_encoding"),
        headers: message["headers"].to_string(),
        properties: message["properties"].to_string(),
        body: STANDARD.decode(message["body_raw_base64"].as_str().unwrap()).unwrap().into(),
    })))
}

/// The envelopes that a process sent in a recorded run, in order.
pub(crate) fn sent(vector: &Value, by: &str) -> Vec<String> {
    let of_it = |entry: &&Value| {
        entry["by"] == by && entry["argv"][0] == "LPUSH" && entry["argv"][2].is_string()
    };
    let entries = vector["transcript"].as_array().unwrap().iter().filter(of_it);
    let texts = entries.map(|entry| entry["argv"][2].as_str().unwrap().to_owned());
    texts.filter(|text| text.starts_with("{\"body\"")).collect()
}

/// A JSON text in a form that is the same for the same meaning: members by name, strings unescaped,
/// floats shortest, integers untouched.
pub(crate) fn meaning(text: &str) -> String {
    let mut out = String::new();
    push(&mut out, JsonPart::parse(text).unwrap_or_else(|error| panic!("{error}: {text}")));
    out
}

fn push(out: &mut String, part: JsonPart<'_>) {
    if let Some(text) = part.as_text() {
        out.push_str(&format!("{text:?}"));
    } else if part.is_array() {
        out.push('[');
        part.each_element(|element| {
            push(out, element);
            out.push(',');
        });
        out.push(']');
    } else if part.is_object() {
        let mut members = BTreeMap::new();
        part.each_member(|name, value| {
            members.insert(name.into_owned(), value);
        });
        out.push('{');
        for (name, value) in members {
            out.push_str(&format!("{name:?}:"));
            push(out, value);
            out.push(',');
        }
        out.push('}');
    } else if part.as_str().starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
        && part.as_str().contains(['.', 'e', 'E'])
    {
        out.push_str(&format!("{:?}", part.as_number().unwrap()));
    } else {
        out.push_str(part.as_str());
    }
}
