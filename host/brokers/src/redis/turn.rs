//! Which lists one reservation asks, in which order.

use std::collections::HashMap;

use lovage_core::QueueName;
use lovage_core::ports::{Demand, Share};
use lovage_redis::Pipeline;

use super::keys::Keyspace;

/// A list, and the queue that it is a part of.
pub(super) type List = (QueueName, String);

/// Queues that are taken from, and the lists that they are made of.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) queues: Vec<QueueName>,
    /// Every queue's first step, then every queue's second.
    pub(super) lists: Vec<List>,
    places: HashMap<QueueName, usize>,
    /// Asks whether one of them has anything.
    pub(super) look: Pipeline,
}

impl Sources {
    pub(super) fn new(keys: &Keyspace, queues: Vec<QueueName>) -> Self {
        let lists = keys.lists(&queues);
        let look = look(lists.iter().map(|(_, list)| &**list), &keys.schedule());
        let places = queues.iter().cloned().zip(0..).collect();
        Self { queues, lists, places, look }
    }

    /// The lists of all queues as they are asked in one turn: within each step the queues are rotated.
    fn in_turn(&self, rotation: usize) -> Vec<&List> {
        let queues = self.queues.len().max(1);
        let turn = rotation % queues;
        let mut lists = Vec::with_capacity(self.lists.len());
        for step in self.lists.chunks(queues) {
            let (before, after) = step.split_at_checked(turn).unwrap_or((step, &[]));
            lists.extend(after.iter().chain(before));
        }
        lists
    }

    /// The same of some queues; those that are not taken from are passed over.
    fn of(&self, queues: &[QueueName], rotation: usize) -> Vec<&List> {
        let count = self.queues.len().max(1);
        let turn = rotation.checked_rem(queues.len()).unwrap_or(0);
        let (before, after) = queues.split_at_checked(turn).unwrap_or_default();
        let in_turn = after.iter().chain(before);
        let places: Vec<_> = in_turn.filter_map(|queue| self.places.get(queue)).collect();
        let steps = self.lists.chunks(count);
        steps.flat_map(|step| places.iter().filter_map(|place| step.get(**place))).collect()
    }
}

/// What one reservation asks for.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) most: usize,
    pub(super) bytes: u64,
    /// Of which lists, and how many messages of each share at most.
    pub(super) shares: Vec<(usize, Vec<&'a List>)>,
}

impl<'a> Turn<'a> {
    /// From all queues alike.
    pub(super) fn of_all(sources: &'a Sources, rotation: usize, most: usize) -> Self {
        Self { most, bytes: u64::MAX, shares: vec![(most, sources.in_turn(rotation))] }
    }

    /// What a demand says, of those lists that may have something.
    pub(super) fn of(
        demand: &Demand<'_>,
        sources: &'a Sources,
        rotation: usize,
        may_have_some: impl Fn(&str) -> bool,
    ) -> Self {
        let share = |share: &Share| {
            let mut lists = sources.of(&share.queues, rotation);
            lists.retain(|(_, list)| may_have_some(list));
            (!lists.is_empty()).then_some((share.most, lists))
        };
        let shares = demand.shares.iter().filter_map(share).collect();
        Self { most: demand.most, bytes: demand.bytes, shares }
    }

    /// All of its lists, in their order.
    pub(super) fn lists(&self) -> impl Iterator<Item = &'a List> {
        self.shares.iter().flat_map(|(_, lists)| lists.iter().copied())
    }
}

/// The question whether one of these lists is there, and what the schedule begins with.
pub(super) fn look<'a>(lists: impl Iterator<Item = &'a str>, schedule: &str) -> Pipeline {
    let mut names: Vec<&str> = lists.collect();
    // A worker that left all its queues asks for a key that is never there.
    let nothing = format!("{schedule}:none");
    if names.is_empty() {
        names.push(&nothing);
    }
    let mut look = Pipeline::new();
    look.cmd("EXISTS").arg(names);
    look.cmd("ZRANGE").arg(schedule).arg(0).arg(0);
    look
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lovage_core::QueueName;
    use lovage_core::ports::{Demand, Share};

    use super::super::keys::Keyspace;
    use super::{Sources, Turn};

    fn sources() -> Sources {
        let keys =
            Keyspace { priority_steps: vec![0, 5], separator: "|".into(), ..Keyspace::default() };
        Sources::new(&keys, vec!["a".into(), "b".into(), "c".into()])
    }

    fn names<'a>(turn: &Turn<'a>) -> Vec<&'a str> {
        turn.lists().map(|(_, list)| &**list).collect()
    }

    #[test]
    fn queues_take_turns_within_each_step() {
        let sources = sources();
        assert_eq!(names(&Turn::of_all(&sources, 0, 9)), ["a", "b", "c", "a|5", "b|5", "c|5"]);
        assert_eq!(names(&Turn::of_all(&sources, 4, 9)), ["b", "c", "a", "b|5", "c|5", "a|5"]);
        let none = Sources::new(&Keyspace::default(), Vec::new());
        assert!(names(&Turn::of_all(&none, 3, 9)).is_empty());
    }

    #[test]
    fn a_share_has_its_own_queues_lists_and_no_others() {
        let sources = sources();
        let share = |queues: &[&str], most| Share {
            queues: queues.iter().map(|queue| QueueName::from(*queue)).collect::<Arc<[_]>>(),
            most,
        };
        let shares = [share(&["c", "foreign"], 1), share(&[], 2), share(&["a", "b"], 3)];
        let demand = Demand { shares: &shares, most: 5, bytes: 6 };
        let turn = Turn::of(&demand, &sources, 1, |_| true);
        assert_eq!(names(&turn), ["c", "c|5", "b", "a", "b|5", "a|5"]);
        assert_eq!(turn.shares.iter().map(|(most, _)| *most).collect::<Vec<_>>(), [1, 3]);
        let turn = Turn::of(&demand, &sources, 1, |list| !["c", "c|5", "a"].contains(&list));
        assert_eq!(names(&turn), ["b", "b|5", "a|5"]);
    }
}
