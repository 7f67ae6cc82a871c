//! A Celery worker and a Lovage worker on the same queue.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lovage_test_support::PATIENCE;
use serde_json::json;

use crate::bed::{Place, QUEUE, together, wait_until};
use crate::processes;
use crate::reference::celery_worker;

const CALLS: usize = 600;

#[test]
fn beside_a_celery_worker_every_call_is_done_once_by_either() {
    let _machine = together();
    let place = Place::redis();
    let celery = celery_worker(&place, &["-c", "2", "--prefetch-multiplier", "1"]);
    let lovage = place.worker(&["-c", "2"]);

    let results = redis::Client::open(place.backend()).expect("a URL");
    let mut connection = results.get_connection().expect("a connection");
    let mut published = connection.as_pubsub();
    published.psubscribe("celery-task-meta-*").expect("a subscription");
    published.set_read_timeout(Some(PATIENCE)).expect("a time");
    let ids = place.see("send", &["bench.sleep", "[5]", &CALLS.to_string()]);
    let mut times: HashMap<String, usize> = HashMap::new();
    while times.len() < CALLS {
        let message = published.get_message().expect("a result");
        *times.entry(message.get_channel_name().to_owned()).or_default() += 1;
    }
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": CALLS}));
    // What either still has to say comes before the end of the connection it says it on.
    assert!(lovage.terminate().success());
    let succeeded = |output: &str| output.matches("succeeded in").count();
    wait_until("an idle Celery", || succeeded(&celery.output()) > 0);
    let by_celery = succeeded(&celery.output());
    celery.terminate();
    published.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
    while let Ok(message) = published.get_message() {
        *times.entry(message.get_channel_name().to_owned()).or_default() += 1;
    }
    assert!(times.values().all(|count| *count == 1), "a call was done twice");
    assert!((1..CALLS).contains(&by_celery), "Celery did {by_celery} of {CALLS}");
    assert_eq!(place.waiting(), 0);
}

#[test]
fn what_a_celery_worker_left_unacknowledged_is_not_touched() {
    let _machine = together();
    let place = Place::redis();
    let celery = celery_worker(&place, &["-c", "2"]);
    place.see("send", &["bench.sleep", "[60000]", "20"]);
    wait_until("deliveries that Celery holds", || {
        place.ask::<usize>(0, redis::cmd("HLEN").arg("unacked")) > 2
    });
    // Killed as a whole, it gives nothing back.
    for process in processes::family(celery.id()) {
        processes::kill(process);
    }
    let _deleted: usize = place.ask(0, redis::cmd("DEL").arg(QUEUE));
    let before = kombu_keys(&place);
    assert!(before.contains_key("unacked") && before.contains_key("_kombu.binding.celery"));

    let worker = place.worker(&["-c", "4", "-n", "another@%h"]);
    let ids = place.see("send", &["bench.add", "[1, 2]", "200"]);
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": 200}));
    // A worker that starts asks the others what was revoked, and has a mailbox for their answers.
    wait_until("the end of the first questions", || {
        place.ask::<usize>(0, redis::cmd("EXISTS").arg("_kombu.binding.reply.celery.pidbox")) == 0
    });
    assert_eq!(kombu_keys(&place), before, "while it runs");
    assert!(worker.terminate().success());
    let after = kombu_keys(&place);
    let changed = |name: &&String| after.get(*name) != before.get(*name);
    let changed: Vec<&String> = before.keys().chain(after.keys()).filter(changed).collect();
    assert!(changed.is_empty(), "changed when it ended: {changed:?}");
}

/// Every key of kombu's except the queue, with its exact content.
fn kombu_keys(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let names: Vec<String> = place.ask(0, redis::cmd("KEYS").arg("*unacked*"));
    let bindings: Vec<String> = place.ask(0, redis::cmd("KEYS").arg("_kombu*"));
    let names = names.into_iter().filter(|name| name.starts_with("unacked")).chain(bindings);
    names.map(|name| (name.clone(), place.ask(0, redis::cmd("DUMP").arg(name)))).collect()
}
