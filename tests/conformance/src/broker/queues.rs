//! Which queues a session takes from, and how much of each.

use std::time::{Duration, Instant};

use lovage_core::ports::{Broker, Demand, Share};
use lovage_core::{Delivery, QueueSource};

use super::messages::{envelope, names, now, publication, receive_exactly, swept};
use super::{MOMENT, QUEUE};
use crate::{BrokerRig, LONG_LEASE};

/// A queue that is always full does not starve its neighbour.
pub async fn queues_take_turns(rig: &impl BrokerRig) {
    for number in 0..20 {
        rig.send("loud", 0, envelope(&format!("loud {number}"))).await;
    }
    rig.send("quiet", 0, envelope("quiet")).await;
    // So few slots that no queue can fill them all with what is delivered ahead.
    let session = rig.session_of(&["loud", "quiet"], LONG_LEASE, 4).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(receive_exactly(&*session, 1).await);
    }
    assert!(names(&seen).contains(&"quiet".to_owned()), "{:?}", names(&seen));
}

/// Of each share comes as much as it says, the first one's first, and nothing of a queue that is in
/// none.
pub async fn shares_are_served_in_order_and_no_further<R: BrokerRig>(rig: &R) {
    for number in 0..10 {
        for queue in ["a", "b", "c"] {
            rig.send(queue, 0, envelope(&format!("{queue} {number}"))).await;
        }
    }
    let session = rig.session(&["a", "b", "c"], LONG_LEASE).await;
    rig.connected(&*session, &["a", "b", "c"]).await;
    let share = |queue: &str, most| Share { queues: [queue.into()].into(), most };
    let take = async |shares: &[Share], most, bytes| {
        session.take(&Demand { shares, most, bytes }).await.expect("taken")
    };
    let got = take(&[share("b", 2), share("a", 3)], 10, 1 << 20).await;
    assert_eq!(names(&got), ["b 0", "b 1", "a 0", "a 1", "a 2"]);
    assert!(
        got.iter().all(|one| names(std::slice::from_ref(one))[0].starts_with(one.queue.as_str()))
    );
    let got = take(&[share("b", 2), share("a", 3)], 3, 1 << 20).await;
    assert_eq!(names(&got), ["b 2", "b 3", "a 3"]);
    let got = take(&[share("a", 5), share("b", 5)], 10, 1).await;
    assert!(!got.is_empty() && got.len() < 10, "the bytes are an end, too: {:?}", names(&got));
    if !R::DELIVERS_AHEAD {
        assert_eq!(rig.waiting("c").await, 10);
    }
    let shares = [share("c", 20), share("a", 20)];
    assert!(take(&shares, 20, 1 << 20).await[..10].iter().all(|one| one.queue.as_str() == "c"));
}

/// A watch ends when something comes to a queue that it is about, and not for another's sake.
pub async fn only_what_is_asked_for_ends_a_watch(rig: &impl BrokerRig) {
    rig.send("loud", 0, envelope("loud")).await;
    let session = rig.session(&["loud", "quiet"], LONG_LEASE).await;
    let shares = [Share { queues: ["quiet".into()].into(), most: 1 }];
    let demand = Demand { shares: &shares, most: 1, bytes: 1 << 20 };
    assert!(session.take(&demand).await.expect("taken").is_empty());
    let early = tokio::time::timeout(MOMENT * 3, async {
        while session.take(&demand).await.expect("taken").is_empty() {
            session.watch(&demand).await.expect("watched");
        }
    });
    assert!(early.await.is_err(), "nothing came");
    let got = taken(&*session, &demand);
    let sent = async {
        // Late, because the session is to be watching by then.
        tokio::time::sleep(MOMENT).await;
        rig.send("quiet", 0, envelope("quiet")).await;
        Instant::now()
    };
    let (got, sent) = tokio::join!(got, sent);
    assert_eq!(names(&got), ["quiet"]);
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
}

/// Whoever has no room for anybody takes nothing, and stands in no message's way whose time has come.
pub async fn a_demand_without_shares_takes_nothing(rig: &impl BrokerRig) {
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    rig.connected(&*session, &[QUEUE]).await;
    let due = now().after(MOMENT * 10);
    session.publish(&[publication(1, Some(due))]).await.expect("published");
    let shares = [Share { queues: [QUEUE.into()].into(), most: 1 }];
    let demand = |shares| Demand { shares, most: 1, bytes: 1 << 20 };
    assert!(session.take(&demand(&shares)).await.expect("taken").is_empty());
    // Sleeps because it is about what is due by then.
    tokio::time::sleep(MOMENT * 11).await;
    assert!(session.take(&demand(&[])).await.expect("taken").is_empty());
    assert_eq!(swept(&*session, 1).await.len(), 1);
}

/// Which queues are taken from can be changed, and both ways to take follow.
pub async fn queues_may_be_joined_and_left(rig: &impl BrokerRig) {
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    rig.send("new", 0, envelope("first")).await;
    assert!(session.receive(1, MOMENT).await.expect("received").is_empty());
    let sources = |queues: &[&str]| -> Vec<QueueSource> {
        queues.iter().map(|queue| QueueSource::named((*queue).into())).collect()
    };
    session.take_from(&sources(&[QUEUE, "new"])).await.expect("joined");
    assert_eq!(names(&receive_exactly(&*session, 1).await), ["first"]);
    rig.send("new", 0, envelope("second")).await;
    let shares = [Share { queues: ["new".into()].into(), most: 9 }];
    let demand = Demand { shares: &shares, most: 9, bytes: 1 << 20 };
    assert_eq!(names(&taken(&*session, &demand).await), ["second"]);
    session.take_from(&sources(&[QUEUE])).await.expect("left");
    rig.send("new", 0, envelope("third")).await;
    assert!(session.take(&demand).await.expect("taken").is_empty(), "it was left");
    assert!(session.receive(1, MOMENT).await.expect("received").is_empty(), "it was left");
}

/// Takes, and watches until there is something, as a worker does.
async fn taken(session: &dyn Broker, demand: &Demand<'_>) -> Vec<Delivery> {
    loop {
        let got = session.take(demand).await.expect("taken");
        if !got.is_empty() {
            return got;
        }
        session.watch(demand).await.expect("watched");
    }
}
