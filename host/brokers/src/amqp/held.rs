//! What a session holds, and what it answers the server.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use lovage_core::{QueueName, Receipt};

use super::parts::Incoming;

/// A delivery that is not over.
#[derive(Debug)]
pub(super) struct Holding {
    /// The queue it came from.
    pub(super) queue: QueueName,
    pub(super) message: Incoming,
    pub(super) place: Place,
    /// Whether keeping it was tried before: it may be kept already then.
    pub(super) tried: bool,
    /// Whether the store has it because it runs for long: it has a slot, and is not with the server.
    entrusted: bool,
}

/// Where a delivery's message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// With the server, which waits for an answer to this tag since then.
    Server { tag: Tag, since: Instant },
    /// With the store, under this name: it came from there, or was held for so long that the server
    /// would not wait.
    Store(String),
}

/// Everything a session holds. Receipts count up over all channels; tags are those of the channel of
/// now.
#[derive(Debug, Default)]
pub(super) struct Held {
    holdings: HashMap<Receipt, Holding>,
    /// Tags of what was taken that the server waits for an answer to.
    open: BTreeSet<u64>,
    /// Every tag up to this one was answered.
    floor: u64,
    /// Tags above that were answered.
    answered: BTreeSet<u64>,
    /// Which of the channels so far the tags are of.
    channel: u64,
    last: u64,
    lost: Vec<Receipt>,
    entrusted: usize,
}

/// The server's name for a delivery: its number on one of the channels so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    channel: u64,
    number: u64,
}

/// What the server is to be told.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    /// These are over.
    pub(super) over: Vec<Tag>,
    /// These are to be delivered again.
    pub(super) back: Vec<Tag>,
    /// These go where the queue has its dead letters go.
    pub(super) refused: Vec<Tag>,
}

impl Unsaid {
    /// That all that, too.
    pub(super) fn add(&mut self, mut more: Self) {
        self.over.append(&mut more.over);
        self.back.append(&mut more.back);
        self.refused.append(&mut more.refused);
    }
}

/// An answer to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// This one is over; with `true`, and all before it that are still open.
    Acknowledge(u64, bool),
    /// This one is to be delivered again.
    Return(u64),
    /// This one is a dead letter.
    Refuse(u64),
}

impl Held {
    /// A new channel: what the one before held at the server is lost. Returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.end(self.channel);
        self.channel += 1;
        self.channel
    }

    /// The channel of that number is gone, with everything that was held at the server.
    pub(super) fn end(&mut self, channel: u64) {
        if channel != self.channel {
            return;
        }
        self.open.clear();
        self.answered.clear();
        self.floor = 0;
        let at_server = |holding: &Holding| matches!(holding.place, Place::Server { .. });
        let gone = self.holdings.extract_if(|_, holding| at_server(holding));
        let mut gone: Vec<_> = gone.map(|(receipt, _)| receipt).collect();
        gone.sort_unstable();
        self.lost.append(&mut gone);
    }

    /// Everything is somebody else's now, and nothing more comes on this channel.
    pub(super) fn lose_all(&mut self) {
        self.begin();
        self.entrusted = 0;
        let mut gone: Vec<_> = self.holdings.drain().map(|(receipt, _)| receipt).collect();
        gone.sort_unstable();
        self.lost.append(&mut gone);
    }

    /// What was lost since the last time.
    pub(super) fn take_lost(&mut self) -> Vec<Receipt> {
        std::mem::take(&mut self.lost)
    }

    /// Everything was given back by the session's own will.
    pub(super) fn clear(&mut self) {
        self.lose_all();
        self.lost.clear();
    }

    /// Takes a delivery in; `None` when it came on a channel that is gone.
    pub(super) fn take(
        &mut self,
        channel: u64,
        queue: QueueName,
        tag: u64,
        message: Incoming,
    ) -> Option<Receipt> {
        if channel != self.channel {
            return None;
        }
        self.open.insert(tag);
        let tag = Tag { channel, number: tag };
        let place = Place::Server { tag, since: Instant::now() };
        Some(self.hold(queue, place, message))
    }

    /// Takes in what the store has under this name.
    pub(super) fn take_stored(
        &mut self,
        queue: QueueName,
        name: String,
        message: Incoming,
    ) -> Receipt {
        self.hold(queue, Place::Store(name), message)
    }

    fn hold(&mut self, queue: QueueName, place: Place, message: Incoming) -> Receipt {
        self.last += 1;
        let receipt = Receipt(self.last);
        let holding = Holding { queue, message, place, tried: false, entrusted: false };
        self.holdings.insert(receipt, holding);
        receipt
    }

    /// The store has it from now on, under this name, and it is still in work.
    pub(super) fn entrust(&mut self, receipt: Receipt, name: String) -> bool {
        let Some(holding) = self.holdings.get_mut(&receipt) else { return false };
        holding.place = Place::Store(name);
        holding.entrusted = true;
        self.entrusted += 1;
        true
    }

    /// How many have a slot that the server does not know of.
    pub(super) fn entrusted(&self) -> usize {
        self.entrusted
    }

    /// How many deliveries are not over.
    pub(super) fn count(&self) -> usize {
        self.holdings.len()
    }

    /// These were answered without ever being taken in.
    pub(super) fn pass_over(&mut self, channel: u64, tags: &[u64]) {
        if channel == self.channel {
            self.answered.extend(tags);
        }
    }

    /// How many up to that tag the server waits for an answer to.
    pub(super) fn open_until(&self, tag: u64) -> usize {
        self.open.range(..=tag).count()
    }

    pub(super) fn get_mut(&mut self, receipt: Receipt) -> Option<&mut Holding> {
        self.holdings.get_mut(&receipt)
    }

    /// The delivery is over.
    pub(super) fn remove(&mut self, receipt: Receipt) {
        let gone = self.holdings.remove(&receipt);
        self.entrusted -= usize::from(gone.is_some_and(|holding| holding.entrusted));
    }

    /// The receipts of what the server has waited for since before that moment.
    pub(super) fn older_than(&self, moment: Instant) -> Vec<Receipt> {
        let is_old = |holding: &Holding| matches!(holding.place, Place::Server { since, .. } if since < moment);
        let old = self.holdings.iter().filter(|(_, holding)| is_old(holding));
        old.map(|(receipt, _)| *receipt).collect()
    }

    /// The receipts of what the store has.
    pub(super) fn stored(&self) -> Vec<Receipt> {
        let is_stored = |holding: &Holding| matches!(holding.place, Place::Store(_));
        let stored = self.holdings.iter().filter(|(_, holding)| is_stored(holding));
        stored.map(|(receipt, _)| *receipt).collect()
    }

    /// What to tell the server, in as few words as are safe. One answer for several deliveries covers
    /// everything up to it, also what came and was not taken yet: so it is given only where every
    /// single tag before it was answered.
    pub(super) fn answers(&mut self, unsaid: &Unsaid) -> Vec<Answer> {
        let mut answers = Vec::new();
        let back = unsaid.back.iter().map(|tag| (tag, Answer::Return as fn(u64) -> Answer));
        let refused = unsaid.refused.iter().map(|tag| (tag, Answer::Refuse as fn(u64) -> Answer));
        for (tag, answer) in back.chain(refused) {
            answers.extend(self.close(*tag).map(answer));
        }
        let mut over: Vec<_> = unsaid.over.iter().filter_map(|tag| self.close(*tag)).collect();
        over.sort_unstable();
        while self.answered.remove(&(self.floor + 1)) {
            self.floor += 1;
        }
        let below = over.partition_point(|number| *number <= self.floor);
        let (together, alone) = over.split_at_checked(below).unwrap_or((&[], &over));
        if let Some(last) = together.last() {
            answers.push(Answer::Acknowledge(*last, together.len() > 1));
        }
        answers.extend(alone.iter().map(|number| Answer::Acknowledge(*number, false)));
        answers
    }

    /// The number of a tag that the server waits for an answer to; it does not from now on.
    fn close(&mut self, tag: Tag) -> Option<u64> {
        let waits = tag.channel == self.channel && self.open.remove(&tag.number);
        waits.then(|| {
            self.answered.insert(tag.number);
            tag.number
        })
    }
}

#[cfg(test)]
mod tests {
    use lapin::message::Delivery;
    use lovage_core::Receipt;

    use super::{Answer, Held, Tag, Unsaid};
    use crate::amqp::parts::Incoming;

    fn message() -> Incoming {
        Incoming::new(Delivery::mock(1, "".into(), "q".into(), false, Vec::new()))
    }

    fn holding(tags: &[u64]) -> (Held, Vec<Receipt>) {
        let mut held = Held::default();
        held.begin();
        let receipts = tags.iter().map(|tag| held.take(1, "q".into(), *tag, message()));
        let receipts = receipts.collect::<Option<_>>().unwrap();
        (held, receipts)
    }

    fn answers(held: &mut Held, over: &[u64], back: &[u64]) -> Vec<Answer> {
        let tags = |numbers: &[u64]| -> Vec<Tag> {
            numbers.iter().map(|number| Tag { channel: 1, number: *number }).collect()
        };
        let (over, back) = (tags(over), tags(back));
        held.answers(&Unsaid { over, back, ..Unsaid::default() })
    }

    #[test]
    fn one_answer_covers_what_is_over_and_nothing_that_is_open() {
        let (mut held, _) = holding(&[1, 2, 3, 4, 5, 6]);
        let said = answers(&mut held, &[5, 2, 1], &[]);
        assert_eq!(said, [Answer::Acknowledge(2, true), Answer::Acknowledge(5, false)]);
        assert_eq!(answers(&mut held, &[4], &[]), [Answer::Acknowledge(4, false)]);
        assert_eq!(answers(&mut held, &[3, 6], &[]), [Answer::Acknowledge(6, true)]);
    }

    #[test]
    fn one_answer_covers_nothing_that_came_and_was_not_taken() {
        // 2 came from another queue, which was not asked for yet.
        let (mut held, _) = holding(&[1, 3, 4]);
        held.pass_over(77, &[2]);
        let said = answers(&mut held, &[1, 3, 4], &[]);
        let alone = [1, 3, 4].map(|number| Answer::Acknowledge(number, false));
        assert_eq!(said, alone);
        held.take(1, "other".into(), 2, message()).unwrap();
        held.take(1, "q".into(), 5, message()).unwrap();
        assert_eq!(answers(&mut held, &[5, 2], &[]), [Answer::Acknowledge(5, true)]);
        held.pass_over(1, &[6, 7]);
        held.take(1, "q".into(), 8, message()).unwrap();
        held.take(1, "q".into(), 9, message()).unwrap();
        assert_eq!(answers(&mut held, &[8, 9], &[]), [Answer::Acknowledge(9, true)]);
    }

    #[test]
    fn what_goes_back_is_answered_before_what_would_cover_it() {
        let (mut held, _) = holding(&[1, 2, 3]);
        let said = answers(&mut held, &[1, 3], &[2]);
        assert_eq!(said, [Answer::Return(2), Answer::Acknowledge(3, true)]);
    }

    #[test]
    fn what_is_refused_is_covered_by_no_acknowledgement_either() {
        let (mut held, _) = holding(&[1, 2, 3]);
        let tag = |number| Tag { channel: 1, number };
        let unsaid = Unsaid { over: vec![tag(1), tag(3)], refused: vec![tag(2)], back: vec![] };
        assert_eq!(held.answers(&unsaid), [Answer::Refuse(2), Answer::Acknowledge(3, true)]);
    }

    #[test]
    fn what_runs_for_long_is_counted_until_it_is_over() {
        let (mut held, receipts) = holding(&[1, 2]);
        held.take_stored("q".into(), "came from there".to_owned(), message());
        assert!(held.entrust(receipts[0], "a".to_owned()));
        assert_eq!((held.count(), held.entrusted()), (3, 1));
        held.remove(receipts[0]);
        held.remove(receipts[0]);
        assert_eq!((held.count(), held.entrusted()), (2, 0));
    }

    #[test]
    fn nothing_is_answered_twice_and_nothing_of_another_channel() {
        let (mut held, _) = holding(&[1]);
        assert_eq!(answers(&mut held, &[1, 1, 9], &[1]), [Answer::Return(1)]);
        assert_eq!(answers(&mut held, &[1], &[]), []);
        held.begin();
        held.take(2, "q".into(), 1, message()).unwrap();
        assert_eq!(answers(&mut held, &[1], &[]), [], "this was the other channel's");
    }

    #[test]
    fn a_channel_takes_with_it_what_the_server_waited_for_and_receipts_are_never_used_twice() {
        let (mut held, receipts) = holding(&[1, 2]);
        held.entrust(receipts[1], "s".to_owned());
        held.end(77);
        assert_eq!(held.take_lost(), []);
        held.begin();
        assert_eq!((held.take_lost(), held.take_lost()), (vec![receipts[0]], vec![]));
        assert_eq!(held.stored(), [receipts[1]]);
        assert_eq!(held.take(1, "q".into(), 1, message()), None);
        let next = held.take(2, "q".into(), 1, message()).unwrap();
        assert!(!receipts.contains(&next));
        held.lose_all();
        assert_eq!(held.take_lost(), [next, receipts[1]]);
        assert_eq!(held.take(2, "q".into(), 1, message()), None);
    }
}
