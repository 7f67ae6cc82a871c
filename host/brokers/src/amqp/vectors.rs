//! Whole conversations that real Celery had with a real RabbitMQ, read and written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::protocol::basic::parse_properties;
use lovage_celery::{Accept, decode};
use lovage_core::{JsonPart, Message};
use serde_json::Value;

use super::delays::level;
use super::parts::{Incoming, properties_of};
use super::queue::AmqpQueue;
use super::table::read_table;

/// Every recording over RabbitMQ, with the test that holds the same conversation with a real server;
/// their messages and queues are read here besides.
const HELD: [(&str, &str); 19] = [
    ("amqp-add", "on_a_classic_queue_results_come_back_as_replies"),
    ("amqp-chain", "over_rabbitmq_every_form_of_canvas_comes_to_what_celery_makes_of_it"),
    ("amqp-chord", "over_rabbitmq_every_form_of_canvas_comes_to_what_celery_makes_of_it"),
    ("amqp-consumer-timeout", "what_is_held_for_long_is_with_the_store_and_still_ours"),
    ("amqp-dlx", "dead_letters_go_where_celerys_users_have_them_go"),
    ("amqp-eta", "on_a_classic_queue_results_come_back_as_replies"),
    ("amqp-fail", "on_a_classic_queue_results_come_back_as_replies"),
    ("amqp-pickle", "every_call_is_decoded_and_counted_as_often_as_it_was_delivered"),
    ("amqp-reject-late", "dead_letters_go_to_their_queues_own_exchange_if_they_are_to"),
    ("amqp-reject-requeue", "what_is_released_is_next_and_counted"),
    ("amqp-retry", "on_a_classic_queue_results_come_back_as_replies"),
    ("amqp-startup", "over_rabbitmq_celerys_own_commands_find_nothing_missing"),
    ("amqp-stop", "a_session_that_leaves_gives_everything_back_in_order"),
    ("amqp-unknown", "on_a_classic_queue_results_come_back_as_replies"),
    ("backend-rpc-amqp", "on_a_classic_queue_results_come_back_as_replies"),
    ("quorum-add", "on_a_quorum_queue_results_are_in_redis"),
    ("quorum-countdown", "to_quorum_queues_every_call_has_its_result_by_reply"),
    ("quorum-retry", "on_a_quorum_queue_results_are_in_redis"),
    ("quorum-startup", "what_celery_delays_on_its_way_to_a_topic_queue_arrives"),
];

/// The recordings of conversations.
fn vectors() -> BTreeMap<String, Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["amqp-", "quorum-", "backend-rpc-amqp"].iter().any(|prefix| name.starts_with(prefix)) {
            all.insert(
                name,
                serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(),
            );
        }
    }
    assert!(all.keys().eq(HELD.iter().map(|(name, _)| name)), "{:?}", all.keys());
    all
}

/// All Rust sources in a folder.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn every_conversation_is_held_by_a_test() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["tests/e2e/tests", "tests/conformance", "host/brokers/src/amqp"];
    let tests: String = folders.iter().map(|folder| sources(&root.join(folder))).collect();
    for (vector, test) in HELD {
        assert!(tests.contains(&format!("fn {test}")), "{vector}: {test}");
    }
    vectors();
}

/// The steps of a conversation that have a message, as the protocol had it.
fn messages(vector: &Value) -> Vec<(&Value, BasicProperties, Vec<u8>)> {
    let steps = vector["transcript"].as_array().unwrap();
    let message = |step| {
        let step: &Value = step;
        let frame = STANDARD.decode(step["header_frame_base64"].as_str()?).unwrap();
        // Around the properties: type, channel and length; class, weight and size; the end's mark.
        let (rest, properties) = parse_properties(&frame[7 + 12..frame.len() - 1]).unwrap();
        assert!(rest.is_empty());
        let body = match (step["body_text"].as_str(), step["body_base64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(bytes)) => STANDARD.decode(bytes).unwrap(),
            (None, None) => Vec::new(),
        };
        Some((step, properties, body))
    };
    steps.iter().filter_map(message).collect()
}

fn incoming(step: &Value, properties: BasicProperties, body: Vec<u8>) -> Incoming {
    let text = |name: &str| step["args"][name].as_str().unwrap_or_default().into();
    let redelivered = step["args"]["redelivered"] == true;
    let mut delivery = Delivery::mock(1, text("exchange"), text("routing_key"), redelivered, body);
    delivery.properties = properties;
    Incoming::new(delivery)
}

/// Numbers that say the same though one of them is a float; nothing else is bent.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|it| same(value, it)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        // The recorder wrote a moment in its own way.
        (Value::Object(typed), Value::String(shown)) => {
            typed.get("__type__").is_some_and(|kind| kind == "datetime")
                && shown.contains("datetime")
        }
        _ => one == other,
    }
}

#[test]
fn every_message_is_read_as_it_was_recorded_and_goes_out_as_it_came_in() {
    let mut count = 0;
    for (name, vector) in vectors() {
        for (step, properties, body) in messages(&vector) {
            let message = incoming(step, properties.clone(), body.clone());
            let parts = message.parts();
            let headers: Value = serde_json::from_str(&parts.headers).unwrap();
            if !step["headers"].is_null() {
                assert!(same(&headers, &step["headers"]), "{name}: {headers} {}", step["headers"]);
            }
            assert_eq!(parts.body, body, "{name}");
            let priority = properties.priority().unwrap_or(0);
            let sent = properties_of(&parts, priority, true);
            // What the server wrote itself is in wider integers than Celery's client would choose.
            let table = |properties: &BasicProperties| {
                let mut table = properties.headers().clone().unwrap_or_default().inner().clone();
                table.retain(|name, _| name.as_str() != "x-death");
                table
            };
            assert_eq!(table(&sent), table(&properties), "{name}");
            for pair in [
                (sent.correlation_id(), properties.correlation_id()),
                (sent.reply_to(), properties.reply_to()),
                (sent.content_type(), properties.content_type()),
                (sent.content_encoding(), properties.content_encoding()),
                (sent.expiration(), properties.expiration()),
            ] {
                assert_eq!(pair.0, pair.1, "{name}");
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count} messages");
}

#[test]
fn every_call_is_decoded_and_counted_as_often_as_it_was_delivered() {
    let mut calls = 0;
    for (name, vector) in vectors() {
        for (step, properties, body) in messages(&vector) {
            if step["method"] != "basic.deliver" || step["headers"]["task"].is_null() {
                continue;
            }
            let message = incoming(step, properties, body);
            let returned = step["headers"]["x-delivery-count"].as_u64();
            let again = returned.unwrap_or(u64::from(step["args"]["redelivered"] == true));
            assert_eq!(u64::from(message.deliveries), again + 1, "{name}");
            let delivery = lovage_core::Delivery {
                queue: "celery".into(),
                receipt: lovage_core::Receipt(1),
                redelivered: message.deliveries > 1,
                deliveries: message.deliveries,
                message: Message::Parts(Box::new(message.parts())),
            };
            let decoded = decode(delivery, &Accept::default());
            if step["properties"]["content_type"] == "application/x-python-serialize" {
                assert!(
                    decoded.is_err_and(|refused| refused.error.code() == "content-type-refused")
                );
            } else {
                let call = decoded.map_err(|refused| refused.error).unwrap();
                assert_eq!(call.task.as_str(), step["headers"]["task"].as_str().unwrap());
                assert_eq!(call.id.as_str(), step["headers"]["id"].as_str().unwrap());
                assert_eq!(call.delivery.redelivered, again > 0, "{name}");
            }
            calls += 1;
        }
    }
    assert!(calls > 20, "{calls} calls");
}

#[test]
fn queues_are_declared_as_celery_declared_them() {
    let mut seen = 0;
    for (name, vector) in vectors() {
        let steps = vector["transcript"].as_array().unwrap().iter();
        for step in steps.filter(|step| step["method"] == "queue.declare") {
            let (queue, arguments) = (&step["args"]["queue"], &step["args"]["arguments"]);
            let queue = queue.as_str().unwrap();
            // Those of replies, events and remote control are not ours.
            if step["args"]["auto_delete"] == true || step["args"]["exclusive"] == true {
                continue;
            }
            let settings: Vec<_> = arguments
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| format!(" {name}={}", value.to_string().trim_matches('"')))
                .collect();
            let ours = match queue.strip_prefix("celery_delayed_") {
                Some(number) => level(number.parse().unwrap()).unwrap(),
                None => AmqpQueue::parse(&format!("{queue}{}", settings.concat())).unwrap(),
            };
            let arguments = arguments.to_string();
            let recorded = read_table(JsonPart::parse(&arguments).unwrap());
            assert_eq!(ours.arguments, recorded, "{name} {queue}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} queues");
}
