//! The crash table: a worker dies right after something has become true, another one goes on, and
//! outside is seen what the table says.
//!
//! Of 25 calls, one after the other, the thirteenth's worker dies. Broker and results are apart, as
//! far as names tell, so that settling is a step after the other and there is a place between any two.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use lovage_test_support::{LovageCommand, Process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{Place, pause, together, wait_until};

pub(crate) const CALLS: usize = 25;
pub(crate) const LEASE_S: &str = "1";

/// What a sink says: how often guests were begun, and effects by call.
pub(crate) struct Seen {
    pub(crate) runs: usize,
    pub(crate) effects: HashMap<String, Vec<String>>,
}

impl Seen {
    pub(crate) fn sends(&self) -> usize {
        self.effects.values().map(Vec::len).sum()
    }

    /// Effects as a receiver counts them that de-duplicates on their keys.
    pub(crate) fn distinct(&self) -> usize {
        self.effects.values().flatten().collect::<HashSet<_>>().len()
    }
}

pub(crate) struct Sink(TempDir);

impl Sink {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("sink")
    }

    pub(crate) fn seen(&self) -> Seen {
        let mut seen = Seen { runs: 0, effects: HashMap::new() };
        for line in read(&self.path()).lines() {
            // Where a page of the file ends, a line may be there in part: it is being written, or its
            // writer was killed, and the next one goes on behind it.
            let whole = line.rfind("run ").max(line.rfind("effect ")).unwrap_or_default();
            match line[whole..].split(' ').collect::<Vec<_>>()[..] {
                ["run", _, _, _] => seen.runs += 1,
                ["effect", key, call, _] => {
                    seen.effects.entry(call.into()).or_default().push(key.into());
                }
                _ => {}
            }
        }
        seen
    }

    /// A worker that counts here what it does, and is soon taken for dead when it is.
    pub(crate) fn worker(&self, place: &Place, arguments: &[&str]) -> LovageCommand {
        let command = place.start_worker(arguments).env("LOVAGE_WORKER__LEASE", LEASE_S);
        command.env("LOVAGE_WORKER__EFFECT_SINK", self.path())
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What 25 calls came to, of which one died at a failpoint.
struct Story {
    place: Place,
    ids: Value,
    sink: Sink,
    worker: Process,
}

fn story(place: Place, failpoint: &str, task: &str, arguments: &str) -> Story {
    let sink = Sink::new();
    let ids = place.see("send", &[task, arguments, &CALLS.to_string()]);
    let alone = ["-c", "1", "--executors", "1"];
    let armed = sink.worker(&place, &alone).env("LOVAGE_WORKER__FAILPOINT", failpoint);
    let status = armed.start().wait();
    assert_eq!(status.code(), None, "it was killed");
    let worker = sink.worker(&place, &alone).start_until("ready:");
    Story { place, ids, sink, worker }
}

impl Story {
    /// Waits for the end of all calls, and answers what was seen.
    fn end(self, states: &Value) -> Seen {
        assert_eq!(self.place.see("states", &[&self.ids.to_string()]), *states);
        self.quiet()
    }

    /// Waits until nothing is in work or to come, and answers what was seen.
    fn quiet(self) -> Seen {
        // What was not acknowledged comes again when the lease is over: it must not run then.
        pause(std::time::Duration::from_millis(1_500));
        wait_until("an empty queue", || self.place.waiting() == 0);
        assert!(self.worker.terminate().success());
        assert_eq!(self.place.waiting(), 0);
        self.sink.seen()
    }
}

/// A row whose calls all succeed: how often guests were begun and effects sent; a receiver that
/// de-duplicates sees one each.
fn row(place: Place, failpoint: &str, runs: usize, sends: usize) {
    let _machine = together();
    let story = story(place, &format!("{failpoint}:13"), "bench.effect", r#"["retry", 0, 0]"#);
    let seen = story.end(&json!({"SUCCESS": CALLS}));
    assert_eq!((seen.runs, seen.sends(), seen.distinct()), (runs, sends, CALLS), "{failpoint}");
}

#[test]
fn reserved_or_decoded_is_as_if_nothing_had_been() {
    row(Place::redis(), "reserved", CALLS, CALLS);
    row(Place::redis(), "decoded", CALLS, CALLS);
}

#[test]
fn claimed_is_run_by_another_once_the_lease_is_over() {
    row(Place::redis(), "claimed", CALLS, CALLS);
    row(Place::sqlite(), "claimed", CALLS, CALLS);
}

#[test]
fn instantiated_is_run_again_and_its_receiver_sees_one_effect() {
    let _machine = together();
    let story = story(Place::redis(), "instantiated:13", "bench.effect", r#"["retry", 0, 0]"#);
    let seen = story.end(&json!({"SUCCESS": CALLS}));
    assert_eq!((seen.runs, seen.distinct()), (CALLS + 1, CALLS));
}

#[test]
fn a_step_in_doubt_is_sent_again_with_the_same_key() {
    row(Place::redis(), "step_begun", CALLS + 1, CALLS);
    row(Place::redis(), "effect_sent", CALLS + 1, CALLS + 1);
    row(Place::sqlite(), "effect_sent", CALLS + 1, CALLS + 1);
}

#[test]
fn a_step_in_doubt_that_must_not_be_sent_again_waits_for_a_person() {
    let _machine = together();
    for (failpoint, sends) in [("step_begun:13", CALLS - 1), ("effect_sent:13", CALLS)] {
        let story = story(Place::redis(), failpoint, "bench.effect", r#"["fail", 0, 0]"#);
        wait_until("all results but one", || story.place.results() == CALLS - 1);
        wait_until("a parked call", || kept(&story.place) == 1);
        let seen = story.quiet();
        assert_eq!((seen.runs, seen.sends(), seen.distinct()), (CALLS + 1, sends, sends));
    }
}

#[test]
fn a_committed_step_is_replayed() {
    row(Place::redis(), "step_committed", CALLS + 1, CALLS);
    row(Place::redis(), "guest_returned", CALLS + 1, CALLS);
    row(Place::sqlite(), "guest_returned", CALLS + 1, CALLS);
}

#[test]
fn what_has_ended_is_finished_and_not_run_again() {
    for failpoint in ["ended", "result_stored", "settled", "acked"] {
        row(Place::redis(), failpoint, CALLS, CALLS);
    }
    row(Place::sqlite(), "acked", CALLS, CALLS);
}

#[test]
fn beside_rabbitmq_what_has_ended_is_recorded_and_told_in_one_step() {
    for failpoint in ["claimed", "ended", "settled"] {
        row(Place::rabbit_beside_one("classic"), failpoint, CALLS, CALLS);
    }
}

#[test]
fn what_follows_follows_once() {
    let _machine = together();
    for failpoint in ["ended:13", "successors_published:13", "settled:13"] {
        let story = story(Place::redis(), failpoint, "bench.effect_then", "[1]");
        wait_until("all results and those of what follows", || story.place.results() == 2 * CALLS);
        let seen = story.quiet();
        assert_eq!((seen.runs, seen.distinct()), (2 * CALLS, 2 * CALLS), "{failpoint}");
    }
}

#[test]
fn a_retry_is_run_once_whether_its_message_left_or_not() {
    let _machine = together();
    for failpoint in ["retry_recorded:13", "retry_published:13"] {
        for place in [Place::redis(), Place::rabbit_beside_one("quorum")] {
            let story = story(place, failpoint, "bench.effect", r#"["retry", 0, 1]"#);
            let seen = story.end(&json!({"SUCCESS": CALLS}));
            assert_eq!((seen.runs, seen.sends()), (2 * CALLS, CALLS), "{failpoint}");
        }
    }
}

#[test]
fn a_dead_letter_is_kept_once() {
    let _machine = together();
    let story = story(Place::redis(), "dlq_published:13", "demo.fail", "[]");
    assert_eq!(story.place.see("states", &[&story.ids.to_string()]), json!({"FAILURE": CALLS}));
    assert_eq!(kept(&story.place), CALLS);
    assert_eq!(story.quiet().runs, CALLS);
}

#[test]
fn what_nobody_can_read_is_kept_once() {
    let _machine = together();
    let place = Place::redis();
    let _length: usize = place.ask(0, redis::cmd("LPUSH").arg("celery").arg("not JSON"));
    let story = story(place, "decoded:1", "bench.effect", r#"["retry", 0, 0]"#);
    assert_eq!(kept(&story.place), 0, "it died before that");
    let place = &story.place;
    wait_until("the message to be put aside", || kept(place) == 1);
    assert_eq!(story.end(&json!({"SUCCESS": CALLS})).runs, CALLS);
}

/// Messages that were put aside.
fn kept(place: &Place) -> usize {
    place.ask(0, redis::cmd("XLEN").arg("lovage:kept"))
}
