//! The promises about what was [kept](KeptMessages).

use std::collections::HashSet;

use bytes::Bytes;
use lovage_core::ports::KeptMessages;
use lovage_core::{Disposal, Kept, KeptEntry, KeptFilter, KeptId, KeptKind, LedgerKey, Timestamp};

use crate::broker::{acknowledge, bytes_of, envelope, names, receive_exactly};
use crate::{BrokerRig, LONG_LEASE, Priorities};

const QUEUE: &str = "celery";

/// A record whose moment is its number.
fn record(number: i64) -> Kept {
    let at = Timestamp::from_micros(number);
    let kind = if number % 2 == 0 { KeptKind::Dead } else { KeptKind::Parked };
    let mut kept = Kept::unread(kind, "failed", String::new(), QUEUE.into(), at);
    kept.task = Some(format!("demo.{}", number % 3).into());
    kept.task_id = Some(number.to_string().into());
    kept.ledger_key = Some(LedgerKey::from_bytes([7; 16]));
    kept
}

/// Sends and keeps this many messages, named by their numbers.
async fn keep(rig: &impl BrokerRig, count: i64) {
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    for number in 0..count {
        rig.send(QUEUE, 0, envelope(&number.to_string())).await;
    }
    let mut number = 0;
    while number < count {
        let got = session.receive(200, crate::PATIENCE).await.expect("received");
        let mut batch = Vec::new();
        for one in &got {
            batch.push((one.receipt, Disposal::Keep(Box::new(record(number)))));
            number += 1;
        }
        assert!(session.close(&batch).await.iter().all(Result::is_ok));
    }
    session.leave().await.expect("left");
}

/// All pages.
async fn all(keeper: &dyn KeptMessages, filter: &KeptFilter, most: usize) -> Vec<KeptEntry> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = keeper.list(filter, after.as_ref(), most).await.expect("listed");
        assert!(page.entries.len() <= most, "{} entries", page.entries.len());
        all.extend(page.entries);
        after = page.last;
        if !page.more {
            return all;
        }
    }
}

async fn ids(keeper: &dyn KeptMessages) -> Vec<KeptId> {
    all(keeper, &KeptFilter::default(), 100).await.into_iter().map(|entry| entry.id).collect()
}

fn moments(entries: &[KeptEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.kept.at.as_micros()).collect()
}

/// However large the pages are, each kept message is told once and in order.
pub async fn everything_kept_is_listed_once_oldest_first(rig: &impl BrokerRig) {
    let keeper = rig.keeper().await;
    assert!(ids(&*keeper).await.is_empty());
    keep(rig, 700).await;
    for most in [1, 7, 10_000] {
        let entries = all(&*keeper, &KeptFilter::default(), most).await;
        assert_eq!(moments(&entries), (0..700).collect::<Vec<_>>(), "pages of {most}");
        assert!(entries.iter().all(|entry| entry.kept == record(entry.kept.at.as_micros())));
        assert!(entries[7].message_bytes >= envelope("7").len() as u64);
    }
    // Whoever comes back later sees what came since.
    let mut page = keeper.list(&KeptFilter::default(), None, 100).await.expect("listed");
    while page.more {
        page = keeper.list(&KeptFilter::default(), page.last.as_ref(), 100).await.expect("listed");
    }
    let last = page.last;
    assert!(last.is_some());
    let again = keeper.list(&KeptFilter::default(), last.as_ref(), 100).await.expect("listed");
    assert_eq!((again.entries, &again.last, again.more), (Vec::new(), &last, false));
    keep(rig, 1).await;
    let since = keeper.list(&KeptFilter::default(), last.as_ref(), 100).await.expect("listed");
    assert_eq!(moments(&since.entries), [0]);
}

/// What a filter means is found on whichever page it is.
pub async fn a_filter_chooses_and_pages_go_on(rig: &impl BrokerRig) {
    keep(rig, 700).await;
    let keeper = rig.keeper().await;
    let filter = KeptFilter {
        kind: Some(KeptKind::Dead),
        task: Some("*.2".into()),
        since: Some(Timestamp::from_micros(600)),
        ..KeptFilter::default()
    };
    for most in [1, 10, 1_000] {
        let found = moments(&all(&*keeper, &filter, most).await);
        let expected: Vec<_> = (600..700).filter(|n| n % 2 == 0 && n % 3 == 2).collect();
        assert_eq!(found, expected, "pages of {most}");
    }
    let page = keeper.list(&filter, None, 1_000).await.expect("listed");
    assert!(page.entries.is_empty() && page.more, "a call looks at a part only");
    let one = KeptFilter { task_id: Some("699".into()), ..KeptFilter::default() };
    assert_eq!(moments(&all(&*keeper, &one, 5).await), [699]);
}

/// One message is shown as it came, and one that is not there is not an error.
pub async fn one_is_shown_with_its_bytes(rig: &impl BrokerRig) {
    let original = Bytes::from_static(b"\x00 not a message \xff");
    rig.send(QUEUE, 0, original.clone()).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    session.close(&[(got[0].receipt, Disposal::Keep(Box::new(record(4))))]).await;
    let keeper = rig.keeper().await;
    let id = ids(&*keeper).await.remove(0);
    let (entry, message) = keeper.get(&id).await.expect("asked").expect("there");
    assert_eq!((entry.id, entry.kept), (id.clone(), record(4)));
    assert_eq!(rig.as_sent(message), original);
    assert_eq!(keeper.purge(std::slice::from_ref(&id)).await.expect("purged"), 1);
    for gone in [id, KeptId("12-34".into()), KeptId("77".into()), KeptId("no id".into())] {
        assert_eq!(keeper.get(&gone).await.expect("asked"), None);
    }
}

/// A replayed message is delivered once more, unmarked and uncounted, however often it was before.
pub async fn what_is_replayed_is_delivered_as_if_for_the_first_time<R: BrokerRig>(rig: &R) {
    rig.send(QUEUE, 0, envelope("a")).await;
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    for _ in 0..2 {
        let got = receive_exactly(&*session, 1).await;
        session.close(&[(got[0].receipt, Disposal::Release(None))]).await;
    }
    let got = receive_exactly(&*session, 1).await;
    assert_eq!(got[0].deliveries, R::counted(3));
    session.close(&[(got[0].receipt, Disposal::Keep(Box::new(record(0))))]).await;
    let keeper = rig.keeper().await;
    assert_eq!(keeper.replay(&ids(&*keeper).await).await.expect("replayed"), 1);
    assert!(rig.kept().await.is_empty() && ids(&*keeper).await.is_empty());
    let again = receive_exactly(&*session, 1).await;
    assert_eq!((names(&again), again[0].deliveries), (vec!["a".to_owned()], 1));
    assert!(!again[0].redelivered);
    let text = String::from_utf8_lossy(bytes_of(&again[0])).into_owned();
    assert!(!text.contains(r#""redelivered": true"#), "{text}");
    acknowledge(&*session, &again).await;
    assert_eq!(rig.waiting(QUEUE).await, 0);
}

/// Its own queue and its own priority, and nobody is overtaken.
pub async fn a_replay_goes_to_the_queue_it_came_from_behind_what_waits<R: BrokerRig>(rig: &R) {
    rig.send("other", 6, envelope("six")).await;
    let session = rig.session(&["other"], LONG_LEASE).await;
    let got = receive_exactly(&*session, 1).await;
    // The record names another queue: what counts is where the message was.
    session.close(&[(got[0].receipt, Disposal::Keep(Box::new(record(0))))]).await;
    session.leave().await.expect("left");
    for (priority, name) in [(9, "nine"), (6, "before"), (0, "zero")] {
        rig.send("other", priority, envelope(name)).await;
    }
    let keeper = rig.keeper().await;
    assert_eq!(keeper.replay(&ids(&*keeper).await).await.expect("replayed"), 1);
    assert_eq!((rig.waiting("other").await, rig.waiting(QUEUE).await), (4, 0));
    let session = rig.session(&["other"], LONG_LEASE).await;
    let order = match R::PRIORITIES {
        Priorities::None => ["nine", "before", "zero", "six"],
        Priorities::LowFirst => ["zero", "before", "six", "nine"],
        Priorities::HighFirst => ["nine", "before", "six", "zero"],
    };
    assert_eq!(names(&receive_exactly(&*session, 4).await), order);
}

/// What is no longer kept is passed over, and what is replayed cannot be purged any more.
pub async fn replaying_and_purging_may_be_repeated(rig: &impl BrokerRig) {
    keep(rig, 5).await;
    let keeper = rig.keeper().await;
    let ids = ids(&*keeper).await;
    assert_eq!(keeper.replay(&[]).await.expect("nothing"), 0);
    assert_eq!(keeper.replay(&ids[..2]).await.expect("replayed"), 2);
    assert_eq!(keeper.replay(&ids[..3]).await.expect("replayed"), 1);
    assert_eq!(keeper.purge(&ids[..4]).await.expect("purged"), 1);
    assert_eq!(keeper.purge(&ids[..4]).await.expect("purged"), 0);
    let strange = [KeptId("no id".into()), KeptId("99-99".into()), KeptId("999".into())];
    assert_eq!(keeper.replay(&strange).await.expect("nothing"), 0);
    assert_eq!(keeper.purge(&strange).await.expect("nothing"), 0);
    assert_eq!((rig.waiting(QUEUE).await, rig.kept().await.len()), (3, 1));
}

/// Two workers with the same new module replay the same messages, and each comes back once.
pub async fn whoever_replays_side_by_side_doubles_nothing(rig: &impl BrokerRig) {
    const COUNT: i64 = 500;
    keep(rig, COUNT).await;
    let (one, two) = (rig.keeper().await, rig.keeper().await);
    let ids = ids(&*one).await;
    let replay = |keeper: std::sync::Arc<dyn KeptMessages>| {
        let ids = ids.clone();
        tokio::spawn(async move {
            let mut count = 0;
            for some in ids.chunks(20) {
                count += keeper.replay(some).await.expect("replayed");
            }
            count
        })
    };
    let (one, two) = (replay(one), replay(two));
    assert_eq!(one.await.expect("ended") + two.await.expect("ended"), ids.len());
    let session = rig.session(&[QUEUE], LONG_LEASE).await;
    let got = receive_exactly(&*session, ids.len()).await;
    assert_eq!(names(&got).into_iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!((rig.waiting(QUEUE).await, rig.kept().await.len()), (0, 0));
}
