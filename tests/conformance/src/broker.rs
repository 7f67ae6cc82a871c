//! The promises of a [`Broker`](lovage_core::ports::Broker).

mod messages;
mod queues;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage_core::{Disposal, Message, Receipt};

pub use messages::{
    acknowledge, bytes_of, envelope, kept, names, now, publication, receive_exactly, swept,
};
use messages::{close_all, contains, head_of, json, release, send};
pub use queues::{
    a_demand_without_shares_takes_nothing, only_what_is_asked_for_ends_a_watch,
    queues_may_be_joined_and_left, queues_take_turns, shares_are_served_in_order_and_no_further,
};

use crate::{BrokerRig, LONG_LEASE, PATIENCE, Priorities, SHORT_LEASE};

const QUEUE: &str = "celery";
const MOMENT: Duration = Duration::from_millis(100);

/// Messages come in the order they were sent, and never more than were asked for.
pub async fn first_in_is_first_out(rig: &impl BrokerRig) {
    send(rig, &["a", "b", "c"]).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let two = receive_exactly(&*session, 2).await;
    assert_eq!(names(&two), ["a", "b"]);
    assert!(two.iter().all(|one| one.deliveries == 1 && !one.redelivered));
    assert!(two.iter().all(|one| one.queue.as_str() == QUEUE));
    assert_eq!(names(&session.receive(2, PATIENCE).await.expect("received")), ["c"]);
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

/// An empty queue is waited for, and not for ever.
pub async fn an_empty_queue_is_waited_for_and_no_longer_than_asked(rig: &impl BrokerRig) {
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let start = Instant::now();
    assert!(session.receive(10, MOMENT * 3).await.expect("received").is_empty());
    assert!((MOMENT * 3..MOMENT * 13).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// A message that arrives while a session waits is delivered at once.
pub async fn a_waiting_session_is_woken_by_a_message(rig: &impl BrokerRig) {
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    // The first call also connects, which may take longer than it is to wait.
    assert!(session.receive(1, MOMENT).await.expect("received").is_empty());
    for round in 0..5 {
        let name = format!("message {round}");
        let late = async {
            assert!(session.receive(1, MOMENT).await.expect("received").is_empty());
            session.receive(1, PATIENCE).await.expect("received")
        };
        let sent = async {
            // Late, because the session is to be waiting by then.
            tokio::time::sleep(MOMENT * 2).await;
            send(rig, &[&name]).await;
            Instant::now()
        };
        let (got, sent) = tokio::join!(late, sent);
        assert_eq!(names(&got), [name]);
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    }
}

/// Nobody looks inside a message here: bytes go in, the same bytes come out.
pub async fn whatever_was_sent_is_delivered_as_its_bytes(rig: &impl BrokerRig) {
    let messages: [&[u8]; 7] =
        [b"not json", b"", b"null", b"\xff\xfe\x00\r\n", b"{\"body\":", b"[[[[", b"7 3 x"];
    for message in messages {
        rig.send(QUEUE, 0, Bytes::copy_from_slice(message)).await;
    }
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, messages.len()).await;
    assert_eq!(got.iter().map(bytes_of).collect::<Vec<_>>(), messages);
    release(&*session, &got).await;
    let again = receive_exactly(&*session, messages.len()).await;
    assert_eq!(again.iter().map(bytes_of).collect::<HashSet<_>>(), messages.into());
    acknowledge(&*session, &again).await;
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

/// Large messages are only slower.
pub async fn a_message_of_sixteen_mebibytes_is_delivered(rig: &impl BrokerRig) {
    let large = Bytes::from(vec![b'x'; 16 << 20]);
    rig.send(QUEUE, 0, large.clone()).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    assert!(bytes_of(&got[0]) == large, "the bytes differ");
    acknowledge(&*session, &got).await;
}

/// Where the transport has priorities, they decide, and age after them.
pub async fn priorities_come_first<R: BrokerRig>(rig: &R) {
    for (priority, name) in [(9, "nine"), (0, "zero"), (4, "four"), (3, "three"), (200, "most")] {
        rig.send(QUEUE, priority, envelope(name)).await;
    }
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = names(&receive_exactly(&*session, 5).await);
    let order = match R::PRIORITIES {
        Priorities::None => ["nine", "zero", "four", "three", "most"],
        Priorities::LowFirst => ["zero", "four", "three", "nine", "most"],
        Priorities::HighFirst => ["nine", "most", "four", "three", "zero"],
    };
    assert_eq!(got, order);
}

/// An acknowledged message never comes back, whatever happens to the session.
pub async fn what_is_acknowledged_is_gone(rig: &impl BrokerRig) {
    send(rig, &["a", "b"]).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, 2).await;
    acknowledge(&*session, &got[..1]).await;
    session.leave().await.expect("left");
    let other = rig.session(&[QUEUE], LONG_LEASE).await;
    assert_eq!(names(&receive_exactly(&*other, 1).await), ["b"]);
    assert!(other.receive(1, MOMENT).await.expect("received").is_empty());
}

/// A close that is repeated, or names what nobody holds, changes nothing.
pub async fn closing_may_be_repeated(rig: &impl BrokerRig) {
    send(rig, &["a", "b"]).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, 2).await;
    acknowledge(&*session, &got[..1]).await;
    release(&*session, &got[..1]).await;
    let stranger = Receipt(u64::MAX);
    let kept = Disposal::Keep(Box::new(kept("never")));
    for disposal in [Disposal::Acknowledge, Disposal::Release(None), kept] {
        let answers =
            session.close(&[(stranger, disposal.clone()), (got[0].receipt, disposal)]).await;
        assert!(answers.len() == 2 && answers.iter().all(Result::is_ok), "{answers:?}");
    }
    assert!(session.close(&[]).await.is_empty());
    assert_eq!(rig.waiting(QUEUE).await, 0);
    assert!(rig.kept().await.is_empty());
}

/// What is handed back is marked and counted, and the next to be delivered where the transport knows
/// how.
pub async fn what_is_released_is_next_and_counted<R: BrokerRig>(rig: &R) {
    send(rig, &["a", "b"][..if R::RELEASED_IS_NEXT { 2 } else { 1 }]).await;
    let session = rig.session_of(&[QUEUE], LONG_LEASE, 1).await;
    for count in 1..4 {
        let got = receive_exactly(&*session, 1).await;
        assert_eq!(names(&got), ["a"]);
        assert_eq!((got[0].deliveries, got[0].redelivered), (R::counted(count), count > 1));
        release(&*session, &got).await;
    }
    session.leave().await.expect("left");
    if !R::RELEASED_IS_NEXT {
        settled(rig, 1).await;
        send(rig, &["b"]).await;
    }
    settled(rig, 2).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let all = receive_exactly(&*session, 2).await;
    assert_eq!(names(&all), ["a", "b"]);
    assert_eq!((all[1].deliveries, all[1].redelivered), (1, false));
}

/// What is handed back until later comes then: not before, and less than a second after.
pub async fn what_is_released_until_later_comes_then(rig: &impl BrokerRig) {
    send(rig, &["a"]).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    let at = now().after(Duration::from_millis(1500));
    close_all(&*session, &got, &Disposal::Release(Some(at))).await;
    let again = swept(&*session, 1).await;
    let late =
        Duration::from_micros(u64::try_from(now().as_micros() - at.as_micros()).expect("late"));
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert_eq!((names(&again), again[0].deliveries), (vec!["a".to_owned()], 2));
    assert!(again[0].redelivered);
    acknowledge(&*session, &again).await;
}

/// A dead letter is the original message and the reason, and it has left the queue.
pub async fn what_is_kept_is_kept_as_it_came(rig: &impl BrokerRig) {
    let original = Bytes::from_static(b"\x00 not a message \xff");
    rig.send(QUEUE, 0, original.clone()).await;
    send(rig, &["second"]).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, 2).await;
    for (one, why) in got.iter().zip(["unreadable", "other"]) {
        close_all(&*session, std::slice::from_ref(one), &Disposal::Keep(Box::new(kept(why)))).await;
    }
    let all = rig.kept().await;
    assert_eq!(all, [(kept("unreadable"), original), (kept("other"), envelope("second"))]);
    session.leave().await.expect("left");
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

/// A publication to the default exchange reaches the queue of the key's name, whole.
pub async fn what_is_published_is_delivered(rig: &impl BrokerRig) {
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let messages: Vec<_> = (0..100).map(|number| publication(number, None)).collect();
    session.publish(&messages).await.expect("published");
    session.publish(&[]).await.expect("published nothing");
    let got = receive_exactly(&*session, 100).await;
    for (delivery, sent) in got.iter().zip(&messages) {
        let parts = match &delivery.message {
            Message::Parts(parts) => (**parts).clone(),
            Message::Envelope(bytes) => {
                lovage_celery::parts_of_envelope(bytes).expect("an envelope")
            }
        };
        assert_eq!(parts.body, sent.parts.body);
        assert_eq!(parts.content_type, sent.parts.content_type);
        assert_eq!(json(&parts.headers), json(&sent.parts.headers));
    }
}

/// A publication for later comes then, also when its publisher is gone.
pub async fn what_is_published_for_later_comes_then(rig: &impl BrokerRig) {
    let publisher = rig.session(&[QUEUE], LONG_LEASE).await;
    let at = now().after(Duration::from_millis(1500));
    publisher.publish(&[publication(1, Some(at))]).await.expect("published");
    publisher.leave().await.expect("left");
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = swept(&*session, 1).await;
    let late = now().as_micros() - at.as_micros();
    assert!((0..1_000_000).contains(&late), "{late} µs late");
    assert_eq!((got[0].deliveries, got[0].redelivered), (1, false));
}

/// Leaving hands everything back at once, and the order stays.
pub async fn a_session_that_leaves_gives_everything_back_in_order(rig: &impl BrokerRig) {
    send(rig, &["a", "b", "c", "d"]).await;
    let session = rig.session_of(&[QUEUE], LONG_LEASE, 3).await;
    receive_exactly(&*session, 3).await;
    session.leave().await.expect("left");
    let other = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*other, 4).await;
    assert_eq!(names(&got), ["a", "b", "c", "d"]);
    assert_eq!(got.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [2, 2, 2, 1]);
}

/// When a lease is over, the next sweep of anybody gives the deliveries to anybody.
pub async fn a_session_that_dies_loses_its_deliveries_to_another(rig: &impl BrokerRig) {
    send(rig, &["a", "b", "c"]).await;
    let dead = rig.session_of(&[QUEUE], SHORT_LEASE, 2).await;
    let start = Instant::now();
    receive_exactly(&*dead, 2).await;
    let other = rig.session(&[QUEUE], LONG_LEASE).await;
    assert_eq!(names(&receive_exactly(&*other, 1).await), ["c"]);
    let got = swept(&*other, 2).await;
    assert!(start.elapsed() >= SHORT_LEASE, "taken from a living session");
    assert_eq!(names(&got), ["a", "b"]);
    assert!(got.iter().all(|one| one.deliveries == 2 && one.redelivered), "{got:?}");
}

/// A session that renews in time keeps everything, however often others sweep.
pub async fn a_session_that_renews_keeps_its_deliveries(rig: &impl BrokerRig) {
    send(rig, &["a"]).await;
    let session = rig.session(&[QUEUE], SHORT_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    let other = rig.session(&[QUEUE], LONG_LEASE).await;
    let start = Instant::now();
    while start.elapsed() < SHORT_LEASE * 2 {
        assert_eq!(session.renew().await.expect("renewed"), []);
        other.sweep().await.expect("swept");
        assert!(other.receive(1, SHORT_LEASE / 8).await.expect("received").is_empty());
    }
    acknowledge(&*session, &got).await;
}

/// A session that comes too late learns what it lost, can do no harm with it, and goes on anew.
pub async fn a_session_that_renews_too_late_is_told_what_it_lost<R: BrokerRig>(rig: &R) {
    send(rig, &["a", "b"]).await;
    let late = rig.session_of(&[QUEUE], SHORT_LEASE, 2).await;
    let lost = receive_exactly(&*late, 2).await;
    let other = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = swept(&*other, 2).await;
    for disposal in [Disposal::Release(None), Disposal::Acknowledge] {
        close_all(&*late, &lost[..1], &disposal).await;
    }
    let told = late.renew().await.expect("renewed");
    assert!(told.contains(&lost[1].receipt), "{told:?}");
    assert_eq!(late.renew().await.expect("renewed"), [], "told once");
    for disposal in [Disposal::Release(None), Disposal::Acknowledge] {
        close_all(&*late, &lost, &disposal).await;
    }
    assert_eq!(rig.waiting(QUEUE).await, 0);
    acknowledge(&*other, &got[..1]).await;
    other.leave().await.expect("left");
    let again = receive_exactly(&*late, 1).await;
    assert!(lost.iter().all(|one| one.receipt != again[0].receipt));
    assert_eq!((names(&again), again[0].deliveries), (vec!["b".to_owned()], R::counted(3)));
    acknowledge(&*late, &again).await;
}

/// However many sessions take from a queue, each message goes to one of them.
pub async fn sessions_side_by_side_share_a_queue_without_doubles(rig: &impl BrokerRig) {
    const MESSAGES: usize = 3_000;
    for number in 0..MESSAGES {
        rig.send(QUEUE, 0, envelope(&number.to_string())).await;
    }
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let session = rig.session(&[QUEUE], LONG_LEASE).await;
        sessions.spawn(async move {
            let mut seen = Vec::new();
            loop {
                let got = session.receive(16, MOMENT * 10).await.expect("received");
                if got.is_empty() {
                    return seen;
                }
                acknowledge(&*session, &got).await;
                seen.extend(names(&got));
            }
        });
    }
    let all: Vec<String> = sessions.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), MESSAGES);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), MESSAGES);
}

/// A backlog is a matter of time, not of memory or of luck.
pub async fn a_backlog_of_a_hundred_thousand_is_drained_in_order<R: BrokerRig>(rig: &R) {
    let messages = R::BACKLOG;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let sent: Vec<_> = (0..messages).map(|number| publication(number, None)).collect();
    for some in sent.chunks(1_000) {
        session.publish(some).await.expect("published");
    }
    assert_eq!(rig.waiting(QUEUE).await, messages);
    let mut count = 0;
    while count < messages {
        let got = session.receive(500, PATIENCE).await.expect("received");
        assert!(!got.is_empty() && got.len() <= 500, "{count} received, then {}", got.len());
        for one in &got {
            let name = format!("\"message {count}\"");
            assert!(contains(head_of(one), &name), "{name} is not the next");
            count += 1;
        }
        acknowledge(&*session, &got).await;
    }
    assert!(session.receive(1, MOMENT).await.expect("received").is_empty());
}

/// Waits until so many messages are on the queue: some servers take a moment to put them back.
async fn settled(rig: &impl BrokerRig, count: usize) {
    let start = Instant::now();
    while rig.waiting(QUEUE).await != count {
        assert!(start.elapsed() < PATIENCE, "never {count} on the queue");
        // Sleeps because no server tells.
        tokio::time::sleep(MOMENT / 10).await;
    }
}
