//! Which lists a queue is made of.

use lovage_core::{QueueName, QueueSource};

/// How kombu names and orders the lists of queues. Producers and workers must agree on all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyspace {
    /// kombu's transport option `global_keyprefix`: stands before every key. Empty by default.
    pub prefix: String,
    /// The lowest priority of each list, ascending. 0, 3, 6 and 9 by default; 0 is delivered first.
    pub priority_steps: Vec<u8>,
    /// Stands between a queue's name and its step. Bytes 6 and 22 by default.
    pub separator: String,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            priority_steps: vec![0, 3, 6, 9],
            separator: "\u{6}\u{16}".to_owned(),
        }
    }
}

impl Keyspace {
    /// The list for messages of this priority. kombu clamps priorities to 0..=9 and rounds them down
    /// to a step; the first step's list has the queue's own name.
    pub fn list(&self, queue: &str, priority: u8) -> String {
        let priority = priority.min(9);
        let step = self.priority_steps.iter().copied().filter(|step| *step <= priority).max();
        self.list_of_step(queue, step.unwrap_or(0))
    }

    /// All lists of these queues in the order in which they are asked: every queue's first step,
    /// then every queue's second.
    pub fn lists(&self, queues: &[QueueName]) -> Vec<(QueueName, String)> {
        let steps: &[u8] = if self.priority_steps.is_empty() { &[0] } else { &self.priority_steps };
        let of_step = |step: &u8| {
            let step = *step;
            queues.iter().map(move |queue| (queue.clone(), self.list_of_step(queue.as_str(), step)))
        };
        steps.iter().flat_map(of_step).collect()
    }

    /// The queue that a list belongs to.
    pub(crate) fn queue(&self, list: &str) -> QueueName {
        let name = list.strip_prefix(&self.prefix).unwrap_or(list);
        let of_step = name.rsplit_once(self.separator.as_str());
        of_step
            .filter(|(_, step)| step.parse::<u8>().is_ok())
            .map_or(name, |(queue, _)| queue)
            .into()
    }

    /// The list of what a session moved at once, from this receipt on.
    pub(crate) fn moved(&self, session: &str, first: u64) -> String {
        format!("{}lovage:inflight:{session}:{first}", self.prefix)
    }

    /// The sorted set of what waits for its time.
    pub(crate) fn schedule(&self) -> String {
        format!("{}lovage:schedule", self.prefix)
    }

    /// The set of an exchange's bindings.
    pub(crate) fn bindings(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// How kombu notes that a queue is bound: its key, the expression that a topic means, its name.
    pub(crate) fn binding(&self, source: &QueueSource) -> String {
        let QueueSource { queue, exchange_type, routing_key, .. } = source;
        let word = |word| match word {
            "*" => r".*?[^\.]",
            "#" => ".*?",
            word => word,
        };
        let pattern = if exchange_type == "topic" {
            let words: Vec<_> = routing_key.split('.').map(word).collect();
            format!("^{}$", words.join(r"\."))
        } else {
            String::new()
        };
        [routing_key, &*pattern, queue.as_str()].join(&self.separator)
    }

    fn list_of_step(&self, queue: &str, step: u8) -> String {
        let Self { prefix, separator, .. } = self;
        if step == 0 {
            format!("{prefix}{queue}")
        } else {
            format!("{prefix}{queue}{separator}{step}")
        }
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::QueueSource;

    use super::Keyspace;

    #[test]
    fn priorities_are_rounded_down_to_a_step() {
        let keys = Keyspace { prefix: "acme:".to_owned(), ..Keyspace::default() };
        for (priority, list) in [
            (0, "acme:q"),
            (2, "acme:q"),
            (3, "acme:q\u{6}\u{16}3"),
            (8, "acme:q\u{6}\u{16}6"),
            (9, "acme:q\u{6}\u{16}9"),
            (255, "acme:q\u{6}\u{16}9"),
        ] {
            assert_eq!(keys.list("q", priority), list, "{priority}");
        }
    }

    #[test]
    fn a_binding_is_noted_as_kombu_notes_it() {
        let keys = Keyspace { separator: "|".to_owned(), ..Keyspace::default() };
        let mut source = QueueSource::named("q".into());
        (source.exchange, source.routing_key) = ("media".into(), "video.*.#".into());
        assert_eq!(keys.binding(&source), "video.*.#||q");
        source.exchange_type = "topic".into();
        assert_eq!(keys.binding(&source), r"video.*.#|^video\..*?[^\.]\..*?$|q");
    }

    #[test]
    fn every_queue_is_asked_for_one_step_before_any_is_for_the_next() {
        let keys = Keyspace { priority_steps: vec![0, 5], ..Keyspace::default() };
        let lists: Vec<_> = keys.lists(&["a".into(), "b".into()]);
        let names: Vec<_> = lists.iter().map(|(queue, name)| (queue.as_str(), &**name)).collect();
        assert_eq!(names, [("a", "a"), ("b", "b"), ("a", "a\u{6}\u{16}5"), ("b", "b\u{6}\u{16}5")]);
    }

    #[test]
    fn a_list_tells_its_queue() {
        let keys = Keyspace { prefix: "acme:".to_owned(), ..Keyspace::default() };
        for queue in ["q", "a\u{6}\u{16}b", ""] {
            for priority in [0, 5, 9] {
                assert_eq!(keys.queue(&keys.list(queue, priority)).as_str(), queue);
            }
        }
    }
}
