//! Which lists are known to be empty, so that they need not be asked.
//!
//! Beside one tenant that floods, hundreds have nothing waiting. Asking all their lists whenever a slot
//! is free costs more than what is taken then. But a server that tracks what was read tells when it
//! changes: a list that was read and empty is empty until the server speaks up.
//!
//! What is known is forgotten every second, and when the connection ends, so that nothing waits longer
//! than that for a word that was lost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lovage_core::ports::PortError;
use lovage_redis::{Link, Pipeline, Pushed, Value};
use tokio::time::{Duration, Instant};

use super::turn::look;

/// How long a list is taken to be empty without having been read again.
const TRUSTED: Duration = Duration::from_secs(1);

/// As many lists are not worth a second question when one of them is not empty.
const FEW: usize = 16;

/// What is known of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is being read, by the question of this number.
    Asked(u64),
    /// It was empty when it was read, and has not changed.
    Empty,
}

/// The lists that are known to be empty.
#[derive(Debug, Default)]
pub(super) struct Idle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lists: HashMap<Box<str>, Known>,
    questions: u64,
    since: Option<Instant>,
}

impl Idle {
    /// What the server said unasked.
    pub(super) fn heard(&self, pushed: &Pushed) {
        let mut state = self.state();
        match pushed {
            Pushed::Changed(keys) => {
                for key in keys.iter().filter_map(|key| std::str::from_utf8(key).ok()) {
                    state.lists.remove(key);
                }
            }
            Pushed::Lost => state.lists.clear(),
            Pushed::Other => {}
        }
    }

    /// Those of the lists that have to be asked.
    pub(super) fn unknown<'a>(&self, lists: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut state = self.state();
        state.forget_what_is_old();
        lists.filter(|list| state.lists.get(*list) != Some(&Known::Empty)).collect()
    }

    /// Whether a list has to be asked, of many.
    pub(super) fn filter(&self) -> impl Fn(&str) -> bool {
        let mut state = self.state();
        state.forget_what_is_old();
        move |list| state.lists.get(list) != Some(&Known::Empty)
    }

    /// Asks whether one of the lists is there that may be, and what the schedule begins with; and
    /// remembers which are not.
    pub(super) async fn look(
        &self,
        link: &Link,
        lists: &[&str],
        schedule: &str,
    ) -> Result<Vec<Value>, PortError> {
        let unknown = self.unknown(lists.iter().copied());
        let number = self.ask(&unknown);
        let seen = link.run_all(WHAT, &look(unknown.iter().copied(), schedule)).await?;
        match seen.first() {
            Some(Value::Int(0)) => self.learn(number, unknown.iter().copied()),
            _ if unknown.len() > FEW => {
                let mut each = Pipeline::new();
                for list in &unknown {
                    each.cmd("EXISTS").arg(list);
                }
                let lengths = link.run_all(WHAT, &each).await?;
                let read = unknown.iter().zip(lengths);
                let empty = read.filter(|(_, length)| *length == Value::Int(0));
                self.learn(number, empty.map(|(list, _)| *list));
            }
            _ => {}
        }
        Ok(seen)
    }

    /// Notes that these are being read. What changes from now on is not learnt from that.
    fn ask(&self, lists: &[&str]) -> u64 {
        let mut state = self.state();
        state.questions += 1;
        let number = state.questions;
        for list in lists {
            state.lists.insert((*list).into(), Known::Asked(number));
        }
        number
    }

    /// Notes that these were empty when the question was answered.
    fn learn<'a>(&self, number: u64, empty: impl Iterator<Item = &'a str>) {
        let mut state = self.state();
        for list in empty {
            if let Some(known) = state.lists.get_mut(list)
                && *known == Known::Asked(number)
            {
                *known = Known::Empty;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_what_is_old(&mut self) {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= TRUSTED) {
            self.since = Some(now);
            self.lists.clear();
        }
    }
}

/// What is done, as errors say it.
const WHAT: &str = "watching the queues";

#[cfg(test)]
mod tests {
    use lovage_redis::Pushed;

    use super::{Idle, TRUSTED};

    fn unknown<'a>(idle: &Idle, lists: &[&'a str]) -> Vec<&'a str> {
        idle.unknown(lists.iter().copied())
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_empty_until_the_server_says_otherwise_and_not_for_long() {
        let (idle, both) = (Idle::default(), ["a", "b"]);
        assert_eq!(unknown(&idle, &both), both);
        let number = idle.ask(&both);
        idle.learn(number, both.into_iter());
        assert!(unknown(&idle, &both).is_empty());
        idle.heard(&Pushed::Changed(vec![b"b".to_vec(), b"c".to_vec()]));
        assert_eq!(unknown(&idle, &both), ["b"]);
        assert!(!idle.filter()("a") && idle.filter()("b"));
        idle.heard(&Pushed::Other);
        assert_eq!(unknown(&idle, &both), ["b"]);
        idle.heard(&Pushed::Lost);
        assert_eq!(unknown(&idle, &both), both);
        let number = idle.ask(&both);
        idle.learn(number, both.into_iter());
        tokio::time::advance(TRUSTED).await;
        assert_eq!(unknown(&idle, &both), both);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_while_it_was_read_is_not_taken_for_empty() {
        let idle = Idle::default();
        assert_eq!(unknown(&idle, &["a", "b", "c"]), ["a", "b", "c"]);
        let number = idle.ask(&["a", "b", "c"]);
        idle.heard(&Pushed::Changed(vec![b"a".to_vec()]));
        let later = idle.ask(&["b"]);
        idle.learn(number, ["a", "b", "c"].into_iter());
        assert_eq!(unknown(&idle, &["a", "b", "c"]), ["a", "b"]);
        idle.learn(later, ["b"].into_iter());
        assert_eq!(unknown(&idle, &["a", "b", "c"]), ["a"]);
    }
}
