//! Calls that nobody wants any more, by their ids and by what they are stamped with.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lovage_core::{Invocation, JsonPart, TaskId, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

/// What was revoked, as far as this worker knows. Ids are forgotten when they are old or too many,
/// as Celery forgets them; stamps are not, and are few.
#[derive(Debug, Default)]
pub struct Revoked {
    state: Mutex<State>,
    /// How many ids and stamps there are, to be asked without the lock.
    count: AtomicUsize,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ids: HashMap<TaskId, Timestamp>,
    /// The same ids, the oldest first; one that was revoked twice is here twice.
    order: VecDeque<(Timestamp, TaskId)>,
    stamps: BTreeMap<String, Vec<Value>>,
    /// The signal that a running call was ended with, until it has ended.
    signals: HashMap<TaskId, i32>,
}

/// Ids that are remembered, as many as Celery's default.
const IDS_MAX: usize = 50_000;

/// How long an id is remembered, as Celery's default.
const AGE_MAX: Duration = Duration::from_hours(3);

/// Stamps that are remembered, each with so many values.
const STAMPS_MAX: usize = 1_000;

impl Revoked {
    /// Adds ids.
    pub fn add(&self, ids: impl IntoIterator<Item = TaskId>, now: Timestamp) {
        let mut state = self.state();
        for id in ids {
            if state.ids.insert(id.clone(), now).is_none() {
                state.order.push_back((now, id));
            }
        }
        state.forget_old(now);
        self.count(&state);
        drop(state);
        self.changed.notify_one();
    }

    /// Adds stamps: every call is revoked that has one of these values under its name.
    pub fn add_stamps(&self, headers: &Map<String, Value>) {
        let mut state = self.state();
        for (name, value) in headers {
            if state.stamps.len() >= STAMPS_MAX && !state.stamps.contains_key(name) {
                continue;
            }
            let known = state.stamps.entry(name.clone()).or_default();
            for value in values(value) {
                if !known.contains(value) && known.len() < STAMPS_MAX {
                    known.push(value.clone());
                }
            }
        }
        self.count(&state);
        drop(state);
        self.changed.notify_one();
    }

    /// Whether this id was revoked.
    pub fn has_id(&self, id: &TaskId, now: Timestamp) -> bool {
        self.is_some() && self.state().ids.get(id).is_some_and(|at| at.after(AGE_MAX) > now)
    }

    /// Whether a call has a stamp that was revoked.
    pub fn has_stamp_of(&self, invocation: &Invocation) -> bool {
        if !self.is_some() {
            return false;
        }
        let state = self.state();
        !state.stamps.is_empty() && is_stamped(invocation, &state.stamps)
    }

    /// The ids, the oldest first.
    pub fn ids(&self, now: Timestamp) -> Vec<TaskId> {
        let mut state = self.state();
        state.forget_old(now);
        state.order.iter().map(|(_, id)| id.clone()).collect()
    }

    /// Notes which signal a running call is ended with, for its event.
    pub(crate) fn end_with(&self, id: &TaskId, signal: i32) {
        self.state().signals.insert(id.clone(), signal);
    }

    /// The signal that a call was ended with; it is forgotten with that.
    pub(crate) fn take_signal(&self, id: &TaskId) -> Option<i32> {
        self.state().signals.remove(id)
    }

    /// Waits until something is added.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What is known, as text to be [restored](Self::restore) after the worker's end.
    pub fn to_text(&self) -> String {
        let state = self.state();
        let ids: Vec<_> =
            state.order.iter().map(|(at, id)| json!([id.as_str(), at.as_micros()])).collect();
        json!({"v": 1, "ids": ids, "stamps": state.stamps}).to_string()
    }

    /// Adds what another worker of this name knew at its end. What cannot be read is passed over:
    /// `false` then.
    pub fn restore(&self, text: &str, now: Timestamp) -> bool {
        let Ok(Value::Object(known)) = serde_json::from_str(text) else { return false };
        if let Some(Value::Object(stamps)) = known.get("stamps") {
            self.add_stamps(stamps);
        }
        let Some(Value::Array(ids)) = known.get("ids") else { return false };
        let mut state = self.state();
        for entry in ids {
            let (id, at) = (entry.get(0).and_then(Value::as_str), entry.get(1));
            if let (Some(id), Some(at)) = (id, at.and_then(Value::as_i64)) {
                let (id, at) = (TaskId::from(id), Timestamp::from_micros(at).min(now));
                if state.ids.insert(id.clone(), at).is_none() {
                    state.order.push_back((at, id));
                }
            }
        }
        state.forget_old(now);
        self.count(&state);
        true
    }

    fn is_some(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    fn count(&self, state: &State) {
        self.count.store(state.ids.len() + state.stamps.len(), Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_old(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.front() {
            if self.order.len() <= IDS_MAX && at.after(AGE_MAX) > now {
                break;
            }
            let Some((at, id)) = self.order.pop_front() else { break };
            match self.ids.get(&id) {
                // It was revoked again since then: it is as young as that.
                Some(latest) if *latest > at && self.order.len() < IDS_MAX => {
                    self.order.push_back((*latest, id));
                }
                _ => drop(self.ids.remove(&id)),
            }
        }
    }
}

/// Whether a call is stamped with one of these values.
pub(crate) fn is_stamped(invocation: &Invocation, wanted: &BTreeMap<String, Vec<Value>>) -> bool {
    let Some(stamps) = invocation.headers.as_part().member("stamps") else { return false };
    wanted.iter().any(|(name, wanted)| {
        let stamp = stamps.member(name).map(JsonPart::as_str);
        let stamp = stamp.and_then(|text| serde_json::from_str::<Value>(text).ok());
        stamp.is_some_and(|stamp| values(&stamp).iter().any(|value| wanted.contains(value)))
    })
}

/// A list's elements, or the one value that is no list.
pub(crate) fn values(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        value => std::slice::from_ref(value),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lovage_core::{Invocation, Json, TaskId, Timestamp};
    use serde_json::json;

    use super::{AGE_MAX, IDS_MAX, Revoked};
    use crate::samples;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

    fn stamped(stamps: &str) -> Invocation {
        let headers = Json::parse(format!(r#"{{"stamps": {stamps}}}"#)).unwrap();
        Invocation { headers, ..samples::job(0).invocation }
    }

    #[test]
    fn an_id_is_forgotten_when_it_is_old() {
        let revoked = Revoked::default();
        revoked.add(["a".into()], NOW);
        revoked.add(["b".into(), "a".into()], NOW.after(AGE_MAX / 2));
        let late = NOW.after(AGE_MAX + Duration::from_secs(1));
        assert!(revoked.has_id(&"b".into(), late));
        assert!(revoked.has_id(&"a".into(), late), "it was revoked again");
        assert_eq!(revoked.ids(late), ["b".into(), "a".into()]);
        assert!(!revoked.has_id(&"a".into(), late.after(AGE_MAX)));
        assert_eq!(revoked.ids(late.after(AGE_MAX)), []);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let revoked = Revoked::default();
        let id = |number: usize| TaskId::from(number.to_string());
        revoked.add((0..IDS_MAX + 2).map(id), NOW);
        assert_eq!(revoked.ids(NOW).len(), IDS_MAX);
        assert!(!revoked.has_id(&id(1), NOW) && revoked.has_id(&id(2), NOW));
    }

    #[test]
    fn a_stamp_revokes_whoever_has_one_of_its_values() {
        let revoked = Revoked::default();
        assert!(!revoked.has_stamp_of(&stamped(r#"{"tenant": "t1"}"#)));
        revoked.add_stamps(json!({"tenant": ["t1", "t2"], "n": 1}).as_object().unwrap());
        for stamps in [r#"{"tenant": "t2"}"#, r#"{"tenant": ["x", "t1"]}"#, r#"{"n": [1]}"#] {
            assert!(revoked.has_stamp_of(&stamped(stamps)), "{stamps}");
        }
        for stamps in [r#"{"tenant": "t3"}"#, r#"{"other": "t1"}"#, "null", r#"{"n": "1"}"#] {
            assert!(!revoked.has_stamp_of(&stamped(stamps)), "{stamps}");
        }
    }

    #[test]
    fn what_is_known_survives_the_worker() {
        let revoked = Revoked::default();
        revoked.add(["a".into(), "b".into()], NOW);
        revoked.add_stamps(json!({"tenant": "t1"}).as_object().unwrap());
        let next = Revoked::default();
        assert!(next.restore(&revoked.to_text(), NOW.after(AGE_MAX / 2)));
        assert_eq!(next.ids(NOW), ["a".into(), "b".into()]);
        assert!(next.has_stamp_of(&stamped(r#"{"tenant": "t1"}"#)));
        let old = Revoked::default();
        assert!(old.restore(&revoked.to_text(), NOW.after(AGE_MAX)));
        assert_eq!(old.ids(NOW.after(AGE_MAX)), [], "its age counts from when it was revoked");
        for nonsense in ["", "[]", "{}", r#"{"ids": 1}"#] {
            assert!(!Revoked::default().restore(nonsense, NOW), "{nonsense}");
        }
    }
}
