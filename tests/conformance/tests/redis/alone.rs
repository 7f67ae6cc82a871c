//! What only Redis promises: no polling, no key of kombu's, and life after a restart.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage_conformance::broker::{
    acknowledge, envelope, kept, names, now, publication, receive_exactly, swept,
};
use lovage_conformance::{BrokerRig, LONG_LEASE, PATIENCE, SHORT_LEASE};
use lovage_core::ports::{Broker, PortError};
use lovage_core::{Delivery, Disposal};
use lovage_test_support::{RedisOptions, RedisServer};

use crate::rig::Rig;

const QUEUE: &str = "celery";

/// Commands that the server has run so far, those inside scripts included, this question not.
async fn commands(rig: &Rig) -> u64 {
    let text: String = rig.ask(&[b"INFO", b"commandstats"]).await;
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let ours = !["info", "hello", "client|setinfo", "select"].contains(&name);
        rest.split(',').next()?.parse::<u64>().ok().filter(|_| ours)
    };
    text.lines().filter_map(calls).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_costs_the_server_next_to_nothing() {
    let rig = Rig::start().await;
    let session = rig.broker(&["a", "b", "c", QUEUE], LONG_LEASE);
    assert!(session.receive(1, Duration::from_millis(50)).await.unwrap().is_empty());
    let before = commands(&rig).await;
    assert!(session.receive(1, Duration::from_secs(4)).await.unwrap().is_empty());
    let each_second = (commands(&rig).await - before) / 4;
    println!("{each_second} commands in an idle second");
    assert!(each_second < 20, "{each_second} commands in an idle second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_of_anybody_wakes_a_waiting_session_at_once() {
    let rig = Rig::start().await;
    let session = rig.broker(&["other", QUEUE], LONG_LEASE);
    let mut client = rig.client().await;
    let mut slowest = Duration::ZERO;
    for round in 0..40_u8 {
        let list = if round % 2 == 0 { QUEUE } else { "celery\u{6}\u{16}9" };
        let sent = async {
            // Late, because the session is to be waiting for the server to speak up.
            tokio::time::sleep(Duration::from_millis(30)).await;
            let start = Instant::now();
            let mut push = redis::cmd("LPUSH");
            push.arg(list).arg(&*envelope("x"));
            push.exec_async(&mut client).await.unwrap();
            start
        };
        let (got, start) = tokio::join!(timed(&session), sent);
        let (got, end) = got;
        acknowledge(&session, &got).await;
        slowest = slowest.max(end - start);
    }
    println!("woken within {slowest:?}");
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

async fn timed(session: &dyn Broker) -> (Vec<Delivery>, Instant) {
    let got = session.receive(1, PATIENCE).await.unwrap();
    (got, Instant::now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_entry_in_the_schedule_is_not_slept_through() {
    let rig = Rig::start().await;
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    let other = rig.broker(&[QUEUE], LONG_LEASE);
    let far = now().after(Duration::from_hours(1));
    other.publish(&[publication(1, Some(far))]).await.unwrap();
    let near = now().after(Duration::from_millis(700));
    let sent = async {
        // Late, because the session is to be waiting for the other one by then.
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.publish(&[publication(2, Some(near))]).await.unwrap();
    };
    let (got, ()) = tokio::join!(session.receive(1, PATIENCE), sent);
    assert_eq!(names(&got.unwrap()), ["message 2"]);
    let late = now().as_micros() - near.as_micros();
    assert!((0..300_000).contains(&late), "{late} µs late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_track_is_served_by_asking() {
    let rig = Rig::start().await;
    let rule =
        [b"ACL".as_slice(), b"SETUSER", b"poor", b"on", b">pw", b"~*", b"&*", b"+@all", b"-client"];
    let _: () = rig.ask(&rule).await;
    let mut options = rig.options(&[QUEUE], LONG_LEASE);
    let url = rig.server.url(0).replace("redis://", "redis://poor:pw@");
    options.address = lovage_redis::Address::parse(&url).unwrap();
    let session = lovage_brokers::redis::RedisBroker::new(options).unwrap();
    assert!(session.receive(1, Duration::from_millis(400)).await.unwrap().is_empty());
    let sent = async {
        // Late, because the session is to be waiting by then.
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.send(QUEUE, 0, envelope("x")).await;
        Instant::now()
    };
    let ((got, end), start) = tokio::join!(timed(&session), sent);
    assert_eq!(names(&got), ["x"]);
    assert!(end.saturating_duration_since(start) < Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_kombus_is_altered() {
    let rig = Rig::start().await;
    let binding = b"celery\x06\x16\x06\x16celery".as_slice();
    for words in [
        [b"SADD".as_slice(), b"_kombu.binding.celery", binding, b"x"],
        [b"SADD", b"_kombu.binding_permanent.celery", binding, b"x"],
        [b"HSET", b"unacked", b"tag", b"[\"message\", \"\", \"celery\"]"],
        [b"ZADD", b"unacked_index", b"1", b"tag"],
        [b"SET", b"unacked_mutex", b"token", b"GET"],
    ] {
        let _: redis::Value = rig.ask(&words).await;
    }
    let before = rig.foreign_keys().await;
    let session = rig.broker(&[QUEUE], SHORT_LEASE);
    for round in 0..3 {
        rig.send(QUEUE, round, envelope(&round.to_string())).await;
    }
    let got = receive_exactly(&session, 3).await;
    let soon = Disposal::Release(Some(now().after(Duration::from_millis(100))));
    let keep = Disposal::Keep(Box::new(kept("why")));
    let batch =
        [(got[0].receipt, soon), (got[1].receipt, keep), (got[2].receipt, Disposal::Release(None))];
    assert!(session.close(&batch).await.iter().all(Result::is_ok));
    let mut named = publication(7, None);
    "celery".clone_into(&mut named.exchange);
    session.publish(&[named]).await.unwrap();
    let all = receive_exactly(&session, 3).await;
    let other = rig.broker(&[QUEUE], LONG_LEASE);
    let again = swept(&other, 3).await;
    assert_eq!(again.len(), all.len());
    acknowledge(&other, &again).await;
    other.leave().await.unwrap();
    assert!(rig.foreign_keys().await == before, "a key that is not ours has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind_when_everything_is_done() {
    let rig = Rig::start().await;
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    for _ in 0..3 {
        rig.send(QUEUE, 0, envelope("x")).await;
    }
    let got = receive_exactly(&session, 3).await;
    session.close(&[(got[0].receipt, Disposal::Release(None))]).await;
    let soon = Disposal::Release(Some(now().after(Duration::from_millis(50))));
    session.close(&[(got[1].receipt, soon)]).await;
    acknowledge(&session, &got[2..]).await;
    let again = receive_exactly(&session, 2).await;
    acknowledge(&session, &again).await;
    session.leave().await.unwrap();
    let keys: Vec<String> = rig.ask(&[b"KEYS", b"*"]).await;
    assert_eq!(keys, ["lovage:serial"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_bounded_and_the_oldest_goes_first() {
    let rig = Rig::start().await;
    let mut options = rig.options(&[QUEUE], LONG_LEASE);
    options.kept_max = 10;
    let session = lovage_brokers::redis::RedisBroker::new(options).unwrap();
    for round in 0..25 {
        rig.send(QUEUE, 0, envelope(&round.to_string())).await;
    }
    let got = receive_exactly(&session, 25).await;
    let keep = Disposal::Keep(Box::new(kept("why")));
    let batch: Vec<_> = got.iter().map(|one| (one.receipt, keep.clone())).collect();
    assert!(session.close(&batch).await.iter().all(Result::is_ok));
    let left: Vec<Bytes> = rig.kept().await.into_iter().map(|(_, message)| message).collect();
    let expected: Vec<_> = (15..25).map(|round| envelope(&round.to_string())).collect();
    assert_eq!(left, expected);
    assert_eq!(rig.ask::<u64>(&[b"GET", b"lovage:kept:removed"]).await, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_restarted_is_found_again() {
    let mut rig = Rig::durable();
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    for name in ["a", "b", "c"] {
        rig.send(QUEUE, 0, envelope(name)).await;
    }
    let first = receive_exactly(&session, 1).await;
    rig.server.kill();
    let error = session.receive(1, PATIENCE).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(session.renew().await.is_err_and(|error| error.is_transient()));
    let answers = session.close(&[(first[0].receipt, Disposal::Acknowledge)]).await;
    assert!(matches!(&answers[..], [Err(PortError::Transient { .. })]), "{answers:?}");
    rig.server.restart();
    let rest = persistently(&session, 2).await;
    assert_eq!(names(&rest), ["b", "c"], "each once, none lost");
    while session.renew().await.is_err() {}
    let answers = retried(&session, &first).await;
    assert_eq!(answers, "closed");
    acknowledge(&session, &rest).await;
    session.leave().await.unwrap();
    assert_eq!(rig.waiting(QUEUE).await, 0, "the lease outlived the restart");
}

/// Receives as a worker does: an error is a reason to try again.
async fn persistently(session: &dyn Broker, count: usize) -> Vec<Delivery> {
    let start = Instant::now();
    let mut all = Vec::new();
    while all.len() < count {
        assert!(start.elapsed() < PATIENCE, "only {} of {count} came", all.len());
        all.extend(session.receive(count - all.len(), PATIENCE).await.unwrap_or_default());
    }
    all
}

async fn retried(session: &dyn Broker, deliveries: &[Delivery]) -> &'static str {
    let batch: Vec<_> = deliveries.iter().map(|one| (one.receipt, Disposal::Acknowledge)).collect();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if session.close(&batch).await.iter().all(Result::is_ok) {
            return "closed";
        }
    }
    "never closed"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_session_survives_a_restart() {
    let mut rig = Rig::durable();
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    assert!(session.receive(1, Duration::from_millis(50)).await.unwrap().is_empty());
    rig.server.restart();
    let sent = async {
        // Late, because the session is to be waiting by then.
        tokio::time::sleep(Duration::from_millis(500)).await;
        rig.send(QUEUE, 0, envelope("x")).await;
    };
    let (got, ()) = tokio::join!(persistently(&session, 1), sent);
    assert_eq!(names(&got), ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_by_a_call_whose_answer_was_lost_is_delivered_once() {
    let settings = vec![("enable-debug-command".to_owned(), "local".to_owned())];
    let server = RedisServer::with(RedisOptions { settings, ..RedisOptions::default() });
    let rig = Rig { server };
    // A third of the lease is how long an answer may take.
    let session = rig.broker(&[QUEUE], Duration::from_secs(6));
    rig.send(QUEUE, 0, envelope("warm")).await;
    acknowledge(&session, &receive_exactly(&session, 1).await).await;
    rig.send(QUEUE, 0, envelope("a")).await;
    rig.send(QUEUE, 0, envelope("b")).await;
    let stuck = rig.ask::<()>(&[b"DEBUG", b"SLEEP", b"2.5"]);
    let taken = async {
        // Late, because the server is to be stuck by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        session.receive(5, PATIENCE).await
    };
    let ((), taken) = tokio::join!(stuck, taken);
    assert!(taken.is_err_and(|error| error.is_transient()), "no answer in time");
    let all = persistently(&session, 2).await;
    assert_eq!(names(&all), ["a", "b"]);
    assert!(all.iter().all(|one| one.deliveries == 1), "{all:?}");
    assert_eq!(rig.waiting(QUEUE).await, 0);
    acknowledge(&session, &all).await;
    assert!(session.receive(1, Duration::from_millis(50)).await.unwrap().is_empty());
    session.leave().await.unwrap();
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_has_forgotten_are_told_again() {
    let rig = Rig::start().await;
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    for _ in 0..3 {
        let _: () = rig.ask(&[b"SCRIPT", b"FLUSH"]).await;
        rig.send(QUEUE, 0, envelope("x")).await;
        let got = receive_exactly(&session, 1).await;
        let _: () = rig.ask(&[b"SCRIPT", b"FLUSH"]).await;
        acknowledge(&session, &got).await;
        let _: () = rig.ask(&[b"SCRIPT", b"FLUSH"]).await;
        session.renew().await.unwrap();
        session.sweep().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_everything_ends_the_session_and_begins_another() {
    let rig = Rig::start().await;
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    rig.send(QUEUE, 0, envelope("x")).await;
    let got = receive_exactly(&session, 1).await;
    let _: () = rig.ask(&[b"FLUSHALL"]).await;
    assert_eq!(session.renew().await.unwrap(), [got[0].receipt]);
    rig.send(QUEUE, 0, envelope("y")).await;
    assert_eq!(names(&receive_exactly(&session, 1).await), ["y"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_stops_neither_the_other_queues_nor_the_server() {
    let rig = Rig::start().await;
    let _: () = rig.ask(&[b"SET", b"broken", b"no list"]).await;
    let session = rig.broker(&["broken", QUEUE], LONG_LEASE);
    let before = commands(&rig).await;
    assert!(session.receive(1, Duration::from_secs(2)).await.unwrap().is_empty());
    let each_second = (commands(&rig).await - before) / 2;
    assert!(each_second < 300, "{each_second} commands in an idle second");
    rig.send(QUEUE, 0, envelope("x")).await;
    assert_eq!(names(&receive_exactly(&session, 1).await), ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_waited_for_and_can_still_be_emptied() {
    let settings = [("maxmemory", "8mb"), ("maxmemory-policy", "noeviction")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = RedisServer::with(RedisOptions { settings, ..RedisOptions::default() });
    let rig = Rig { server };
    let session = rig.broker(&[QUEUE], LONG_LEASE);
    let soon = now().after(Duration::from_millis(10));
    session.publish(&[publication(1, Some(soon))]).await.unwrap();
    for round in 0..100 {
        rig.send(QUEUE, 0, envelope(&round.to_string())).await;
    }
    let _: () = rig.ask(&[b"CONFIG", b"SET", b"maxmemory", b"1mb"]).await;
    let error = session.publish(&[publication(2, None)]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let got = receive_exactly(&session, 101).await;
    acknowledge(&session, &got).await;
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_no_reason_to_try_again() {
    let rig = Rig::start().await;
    let mut options = rig.options(&[QUEUE], LONG_LEASE);
    let url = rig.server.url(0).replace("redis://", "redis://:wrong@");
    options.address = lovage_redis::Address::parse(&url).unwrap();
    let session = lovage_brokers::redis::RedisBroker::new(options).unwrap();
    let error = session.receive(1, PATIENCE).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_refused() {
    let settings = vec![("cluster-enabled".to_owned(), "yes".to_owned())];
    let server = RedisServer::with(RedisOptions { settings, ..RedisOptions::default() });
    let rig = Rig { server };
    let error = rig.broker(&[QUEUE], LONG_LEASE).receive(1, PATIENCE).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_stands_before_every_key() {
    let rig = Rig::start().await;
    let mut options = rig.options(&[QUEUE], LONG_LEASE);
    "acme:".clone_into(&mut options.keys.prefix);
    let session = lovage_brokers::redis::RedisBroker::new(options).unwrap();
    rig.send(&format!("acme:{QUEUE}"), 6, envelope("x")).await;
    let got = receive_exactly(&session, 1).await;
    assert_eq!(names(&got), ["x"]);
    let keep = Disposal::Keep(Box::new(kept("why")));
    session.publish(&[publication(1, None)]).await.unwrap();
    session.publish(&[publication(2, Some(now().after(LONG_LEASE)))]).await.unwrap();
    session.close(&[(got[0].receipt, keep)]).await;
    let keys: Vec<String> = rig.ask(&[b"KEYS", b"*"]).await;
    assert!(keys.len() > 4 && keys.iter().all(|key| key.starts_with("acme:")), "{keys:?}");
}
