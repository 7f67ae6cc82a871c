//! What only a script can promise: a verdict is true as a whole or not at all.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage_brokers::redis::{RedisBroker, RedisSettle};
use lovage_conformance::broker::{envelope, names, now, publication, receive_exactly, swept};
use lovage_conformance::results::{record, success};
use lovage_conformance::{BrokerRig, LONG_LEASE, PATIENCE, ResultRig, SHORT_LEASE};
use lovage_core::ports::{Broker, ResultBackend, Settle};
use lovage_core::{Closing, Delivery, Disposal, Failure, TaskState};
use lovage_redis::ScriptPart;
use lovage_stores::redis::{RedisResults, RedisResultsOptions};

use crate::rig::Rig;

const QUEUE: &str = "celery";

fn settling(rig: &Rig, lease: Duration) -> (RedisBroker, RedisSettle) {
    let broker = rig.broker(&[QUEUE], lease);
    let results = RedisResults::part(&RedisResultsOptions::new(rig.address()));
    (broker.clone(), RedisSettle::new(broker, vec![results]))
}

fn closing(delivery: &Delivery, task: &str) -> Closing {
    Closing {
        receipt: delivery.receipt,
        ledger: None,
        results: vec![record(task, success("5"))],
        publications: vec![publication(1, None), publication(2, Some(now().after(LONG_LEASE)))],
        chords: None,
        disposal: Disposal::Acknowledge,
    }
}

async fn content(rig: &Rig) -> Vec<(String, Vec<u8>)> {
    let mut all = rig.foreign_keys().await;
    for key in ["lovage:schedule", "lovage:scheduled", "lovage:kept"] {
        all.push((
            key.to_owned(),
            rig.ask::<Option<Vec<u8>>>(&[b"DUMP", key.as_bytes()]).await.unwrap_or_default(),
        ));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_delivery_has_its_result_and_its_follow_ups_and_is_gone() {
    let rig = <Rig as BrokerRig>::start().await;
    let (broker, settle) = settling(&rig, LONG_LEASE);
    rig.send(QUEUE, 0, envelope("x")).await;
    let got = receive_exactly(&broker, 1).await;
    let answers = settle.settle(&[closing(&got[0], "x")]).await;
    assert!(matches!(&answers[..], [Ok(())]), "{answers:?}");
    assert_eq!(rig.seen(&"x".into()).await, Some(("SUCCESS".to_owned(), "5".to_owned())));
    let life: i64 = rig.ask(&[b"TTL", b"celery-task-meta-x"]).await;
    assert!((86_300..=86_400).contains(&life), "{life} s");
    assert_eq!(rig.waiting(QUEUE).await, 1);
    assert_eq!(rig.ask::<u64>(&[b"ZCARD", b"lovage:schedule"]).await, 1);
    assert_eq!(names(&receive_exactly(&broker, 1).await), ["message 1"]);
    let answers = settle.settle(&[closing(&got[0], "x")]).await;
    assert!(matches!(&answers[..], [Ok(())]), "{answers:?}");
    assert_eq!(rig.waiting(QUEUE).await, 0, "the second time nothing leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_settled_in_one_call() {
    const COUNT: usize = 200;
    let rig = <Rig as BrokerRig>::start().await;
    let (broker, settle) = settling(&rig, LONG_LEASE);
    for number in 0..COUNT {
        rig.send(QUEUE, 0, envelope(&number.to_string())).await;
    }
    let got = receive_exactly(&broker, COUNT).await;
    settle.settle(&[Closing::only(lovage_core::Receipt(u64::MAX), Disposal::Acknowledge)]).await;
    let _: () = rig.ask(&[b"CONFIG", b"RESETSTAT"]).await;
    let batch = got
        .iter()
        .zip(names(&got))
        .map(|(one, name)| Closing { publications: Vec::new(), ..closing(one, &name) });
    let answers = settle.settle(&batch.collect::<Vec<_>>()).await;
    assert!(answers.len() == COUNT && answers.iter().all(Result::is_ok), "{answers:?}");
    let stats: String = rig.ask(&[b"INFO", b"commandstats"]).await;
    assert!(stats.contains("cmdstat_evalsha:calls=1,"), "{stats}");
    assert!(stats.contains(&format!("cmdstat_publish:calls={COUNT},")), "{stats}");
    let left: Vec<String> = rig.ask(&[b"HKEYS", b"lovage:inflight"]).await;
    assert!(left.is_empty());
    broker.leave().await.unwrap();
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_lease_is_over_writes_nothing() {
    let rig = <Rig as BrokerRig>::start().await;
    let (late, settle) = settling(&rig, SHORT_LEASE);
    rig.send(QUEUE, 0, envelope("x")).await;
    let got = receive_exactly(&late, 1).await;
    let start = Instant::now();
    let before = content(&rig).await;
    while start.elapsed() < SHORT_LEASE + Duration::from_millis(100) {
        // Waits for time, because a lease is time: nobody sweeps, and it is over all the same.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for disposal in [Disposal::Acknowledge, Disposal::Release(None)] {
        let answers = settle.settle(&[Closing { disposal, ..closing(&got[0], "x") }]).await;
        assert!(matches!(&answers[..], [Ok(())]), "{answers:?}");
        assert!(content(&rig).await == before, "something was written");
    }
    let other = rig.broker(&[QUEUE], LONG_LEASE);
    let again = swept(&other, 1).await;
    let before = content(&rig).await;
    let answers = settle.settle(&[closing(&got[0], "x")]).await;
    assert!(matches!(&answers[..], [Ok(())]), "{answers:?}");
    assert!(content(&rig).await == before, "something was written");
    assert_eq!(names(&again), ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_success_stays_whoever_wrote_it() {
    let rig = <Rig as BrokerRig>::start().await;
    let (broker, settle) = settling(&rig, LONG_LEASE);
    let celery = r#"{"status": "SUCCESS", "result": 1, "traceback": null, "children": []}"#;
    let sorted = r#"{"result": 1, "status": "SUCCESS"}"#;
    let lookalike = r#"{"status": "PROGRESS", "result": {"status": "SUCCESS"}}"#;
    for (task, stored, stays) in
        [("a", celery, true), ("b", sorted, true), ("c", lookalike, false), ("d", "\u{0}no", false)]
    {
        let key = format!("celery-task-meta-{task}");
        let _: () = rig.ask(&[b"SET", key.as_bytes(), stored.as_bytes()]).await;
        rig.send(QUEUE, 0, envelope(task)).await;
        let got = receive_exactly(&broker, 1).await;
        let failed = TaskState::Failure(Failure::new("builtins", "ValueError", "no"));
        let results = vec![record(task, failed)];
        let closing = Closing { results, publications: Vec::new(), ..closing(&got[0], task) };
        assert!(settle.settle(&[closing]).await[0].is_ok());
        let now: String = rig.ask(&[b"GET", key.as_bytes()]).await;
        assert_eq!(now == stored, stays, "{task}");
    }
    broker.leave().await.unwrap();
    assert_eq!(rig.waiting(QUEUE).await, 0, "all were acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_cannot_be_stored_leaves_its_delivery_alone_and_no_other() {
    let rig = <Rig as BrokerRig>::start().await;
    let (broker, settle) = settling(&rig, LONG_LEASE);
    let _: i64 = rig.ask(&[b"LPUSH", b"celery-task-meta-bad", b"a list"]).await;
    for task in ["good", "bad", "fine"] {
        rig.send(QUEUE, 0, envelope(task)).await;
    }
    let got = receive_exactly(&broker, 3).await;
    let batch = got.iter().zip(names(&got)).map(|(one, task)| Closing {
        publications: vec![publication(9, Some(now().after(LONG_LEASE)))],
        ..closing(one, &task)
    });
    let answers = settle.settle(&batch.collect::<Vec<_>>()).await;
    assert!(
        matches!(&answers[..], [Ok(()), Err(error), Ok(())] if !error.is_transient()),
        "{answers:?}"
    );
    assert_eq!(rig.ask::<u64>(&[b"ZCARD", b"lovage:schedule"]).await, 2, "no half verdicts");
    broker.leave().await.unwrap();
    assert_eq!(rig.waiting(QUEUE).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_may_veto_what_comes_after_it() {
    let rig = <Rig as BrokerRig>::start().await;
    let broker = rig.broker(&[QUEUE], LONG_LEASE);
    let lua = "if ARGV[first] == 'lost' then return false end if ARGV[first] == 'full' then return 'OOM' end";
    let first = ScriptPart::new(lua, |closing, arguments| {
        let task = closing.results.first().map(|result| result.task_id.clone());
        arguments.push(task.as_ref().map_or(b"", |task| task.as_str().as_bytes()));
    });
    let results = RedisResults::part(&RedisResultsOptions::new(rig.address()));
    let settle = RedisSettle::new(broker.clone(), vec![first, results]);
    for task in ["won", "lost", "full"] {
        rig.send(QUEUE, 0, envelope(task)).await;
    }
    let got = receive_exactly(&broker, 3).await;
    let batch = got.iter().zip(names(&got)).map(|(one, task)| closing(one, &task));
    let answers = settle.settle(&batch.collect::<Vec<_>>()).await;
    assert!(
        matches!(&answers[..], [Ok(()), Ok(()), Err(error)] if error.is_transient()),
        "{answers:?}"
    );
    let waiting = rig.waiting(QUEUE).await;
    assert_eq!(waiting, 2, "the winner's call has left, and the message of whoever lost is back");
    for (task, stored) in [("won", true), ("lost", false), ("full", false)] {
        assert_eq!(rig.seen(&task.into()).await.is_some(), stored, "{task}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_in_another_database_are_stored_in_the_same_step() {
    let rig = <Rig as BrokerRig>::start().await;
    let broker = rig.broker(&[QUEUE], LONG_LEASE);
    assert!(broker.reaches(3).await.unwrap(), "this user may change the database");
    let there = lovage_redis::Address::parse(&rig.server.url(3)).unwrap();
    let results = RedisResults::part(&RedisResultsOptions::new(there.clone())).across(3, 0);
    let settle = RedisSettle::new(broker.clone(), vec![results]);
    for task in ["x", "y"] {
        rig.send(QUEUE, 0, envelope(task)).await;
    }
    let got = receive_exactly(&broker, 2).await;
    let batch: Vec<_> = got.iter().zip(names(&got)).map(|(one, it)| closing(one, &it)).collect();
    let answers = settle.settle(&batch).await;
    assert!(matches!(&answers[..], [Ok(()), Ok(())]), "{answers:?}");
    let elsewhere = RedisResults::new(&RedisResultsOptions::new(there)).unwrap();
    for task in ["x", "y"] {
        assert_eq!(rig.seen(&task.into()).await, None, "nothing is beside the queue");
        let document = elsewhere.load(&task.into()).await.unwrap().unwrap();
        assert!(document.contains("SUCCESS"), "{document}");
    }
    assert_eq!(rig.waiting(QUEUE).await, 2, "what leaves is beside the queue");
    assert_eq!(rig.ask::<u64>(&[b"ZCARD", b"lovage:schedule"]).await, 2);
    let rule =
        [b"ACL".as_slice(), b"SETUSER", b"poor", b"on", b">pw", b"~*", b"&*", b"+@all", b"-select"];
    let _: () = rig.ask(&rule).await;
    let mut options = rig.options(&[QUEUE], LONG_LEASE);
    let url = rig.server.url(0).replace("redis://", "redis://poor:pw@");
    options.address = lovage_redis::Address::parse(&url).unwrap();
    assert!(!RedisBroker::new(options).unwrap().reaches(3).await.unwrap());
}

/// The lists of a session's messages that were moved at once, and their lengths.
async fn moves(rig: &Rig) -> Vec<u64> {
    let mut keys: Vec<String> = rig.ask(&[b"KEYS", b"lovage:inflight:*:*"]).await;
    keys.retain(|key| !key.ends_with(":moves"));
    keys.sort();
    let mut lengths = Vec::new();
    for key in keys {
        lengths.push(rig.ask(&[b"LLEN", key.as_bytes()]).await);
    }
    lengths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_moved_at_once_are_freed_when_half_are_over_and_come_back() {
    const COUNT: usize = 10;
    let rig = <Rig as BrokerRig>::start().await;
    let (broker, settle) = settling(&rig, LONG_LEASE);
    for number in 0..COUNT {
        rig.send(QUEUE, 0, envelope(&number.to_string())).await;
    }
    let got = receive_exactly(&broker, COUNT).await;
    let expected: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    assert_eq!(names(&got), expected, "the oldest comes first");
    assert_eq!(moves(&rig).await, [COUNT as u64]);
    let close = |one: &Delivery| Closing::only(one.receipt, Disposal::Acknowledge);
    let (some, rest) = got.split_at(4);
    assert!(settle.settle(&some.iter().map(close).collect::<Vec<_>>()).await[3].is_ok());
    broker.renew().await.unwrap();
    assert_eq!(moves(&rig).await, [COUNT as u64], "most are held: they stay together");
    let (two, rest) = rest.split_at(2);
    assert!(settle.settle(&two.iter().map(close).collect::<Vec<_>>()).await[1].is_ok());
    broker.renew().await.unwrap();
    assert_eq!(moves(&rig).await, [0_u64; 0], "few are held: those alone are kept");
    assert!(settle.settle(&[close(&rest[0])]).await[0].is_ok());
    broker.leave().await.unwrap();
    let again = receive_exactly(&rig.broker(&[QUEUE], LONG_LEASE), 3).await;
    assert_eq!(names(&again), expected[7..]);
    assert!(again.iter().all(|one| one.redelivered && one.deliveries == 2));
    let left: Vec<String> = rig.ask(&[b"KEYS", b"lovage:inflight:*:moves"]).await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_caller_is_told() {
    let rig = <Rig as BrokerRig>::start().await;
    let client = redis::Client::open(rig.server.url(0)).unwrap();
    let mut caller = client.get_async_pubsub().await.unwrap();
    caller.subscribe("celery-task-meta-x").await.unwrap();
    let backend = rig.backend().await;
    backend.store(&[record("x", success("5"))]).await[0].as_ref().unwrap();
    let message = tokio::time::timeout(PATIENCE, async {
        let mut messages = std::pin::pin!(caller.on_message());
        std::future::poll_fn(|context| futures::Stream::poll_next(messages.as_mut(), context)).await
    });
    let told: Bytes = message.await.unwrap().unwrap().get_payload_bytes().to_vec().into();
    assert_eq!(told, rig.ask::<Vec<u8>>(&[b"GET", b"celery-task-meta-x"]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_have_the_life_and_the_prefix_that_were_asked_for() {
    let rig = <Rig as BrokerRig>::start().await;
    for (expires, prefix, key, life) in [
        (Some(Duration::from_mins(1)), "acme", "acme_celery-task-meta-x", 60),
        (None, "", "celery-task-meta-x", -1),
        (Some(Duration::ZERO), "acme:", "acme:celery-task-meta-x", -1),
    ] {
        let mut options = RedisResultsOptions::new(rig.address());
        options.expires = expires;
        prefix.clone_into(&mut options.prefix);
        let results = RedisResults::new(&options).unwrap();
        results.store(&[record("x", success("5"))]).await[0].as_ref().unwrap();
        let left: i64 = rig.ask(&[b"TTL", key.as_bytes()]).await;
        assert!(left == life || left == life - 1, "{key}: {left}");
    }
}
