//! Which lists a queue is made of.

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
    /// then every queue's second, each with the number of its queue.
    pub fn lists(&self, queues: &[&str]) -> Vec<(usize, String)> {
        let steps: &[u8] = if self.priority_steps.is_empty() { &[0] } else { &self.priority_steps };
        let of_step = |step: &u8| {
            let step = *step;
            queues.iter().enumerate().map(move |(n, queue)| (n, self.list_of_step(queue, step)))
        };
        steps.iter().flat_map(of_step).collect()
    }

    /// The set of an exchange's bindings.
    pub(crate) fn bindings(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
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
    fn every_queue_is_asked_for_one_step_before_any_is_for_the_next() {
        let keys = Keyspace { priority_steps: vec![0, 5], ..Keyspace::default() };
        let lists: Vec<_> = keys.lists(&["a", "b"]);
        let names: Vec<_> = lists.iter().map(|(queue, name)| (*queue, &**name)).collect();
        assert_eq!(names, [(0, "a"), (1, "b"), (0, "a\u{6}\u{16}5"), (1, "b\u{6}\u{16}5")]);
    }
}
