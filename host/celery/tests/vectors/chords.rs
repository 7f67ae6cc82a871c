//! Chords end as Celery's own worker ends them.

use lovage_celery::{Accept, CloseSettings, chord_closing, chord_entry, close, decode};
use lovage_core::{
    ChordMember, ChordMembers, Closing, Failure, Invocation, Json, OutboxItem, Settlement,
    TaskState, Timestamp, Verdict,
};

use crate::load::{envelope, sent, vector};

const NOW: Timestamp = Timestamp::from_micros(1_795_171_299_000_000);

fn verdict(invocation: Invocation, settlement: Settlement) -> Verdict {
    Verdict { invocation, task: None, digest: None, key_is_explicit: false, settlement, at: NOW }
}

fn success(result: &str) -> Settlement {
    Settlement::Succeed { result: Json::parse(result).unwrap(), calls: Vec::new() }
}

/// The members that the producer sent, decoded.
fn members(name: &str) -> Vec<Invocation> {
    let raw = sent(&vector(name), "producer->broker");
    raw.iter().map(|raw| decode(envelope(raw), &Accept::default()).unwrap()).collect()
}

/// What the last member brings about when all came to these states.
fn ended(members: &[Invocation], states: &[TaskState]) -> (Closing, ChordMember, bool) {
    let settings = CloseSettings::default();
    let last = members.last().unwrap();
    let settlement = match states.last().unwrap() {
        TaskState::Failure(failure) => Settlement::Bury(failure.clone()),
        _ => success("4"),
    };
    let verdict = verdict(last.clone(), settlement);
    let mut work = close(&verdict, &settings).chords.unwrap();
    let member = work.members.remove(0);
    let entries: Vec<_> =
        members.iter().zip(states).map(|(it, state)| chord_entry(&it.id, state)).collect();
    let (closing, failed) =
        chord_closing(&verdict, &settings, &member, &ChordMembers { entries, saved: None });
    (closing, member, failed)
}

fn done(result: &str) -> TaskState {
    TaskState::Success(Json::parse(result).unwrap())
}

#[test]
fn the_last_member_sends_the_body_that_celery_sends() {
    let members = members("run-chord");
    let (closing, member, failed) = ended(&members, &[done("0"), done("2"), done("4")]);
    assert!(!failed);
    assert_eq!((member.index, Some(&member.group)), (Some(2), members[2].group.as_ref()));
    let [body] = closing.publications.as_slice() else { panic!("one body") };
    let recorded = sent(&vector("run-chord"), "worker->broker").remove(0);
    let theirs = decode(envelope(&recorded), &Accept::default()).unwrap();
    let ours = Json::parse(body.parts.headers.as_str()).unwrap();
    let text = |name| ours.as_part().member(name).unwrap().as_text().unwrap().into_owned();
    assert_eq!(text("id"), theirs.id.as_str());
    assert_eq!(text("task"), theirs.task.as_str());
    assert_eq!(text("parent_id"), theirs.parent_id.unwrap().as_str());
    assert_eq!(text("root_id"), theirs.root_id.unwrap().as_str());
    assert_eq!(text("group"), theirs.group.unwrap().as_str());
    assert!(ours.as_part().member("group_index").unwrap().is_null());
    assert!(body.parts.body.starts_with(b"[[[0, 2, 4]], {}, "), "{:?}", body.parts.body);
    let (again, ..) = ended(&members, &[done("0"), done("2"), done("4")]);
    assert_eq!(again.publications, closing.publications, "twice the same");
}

#[test]
fn a_failed_member_fails_the_body_and_says_which_it_was() {
    let members = members("run-chord");
    let failure = Failure::new("builtins", "ValueError", "no");
    let (closing, _, failed) =
        ended(&members, &[done("0"), TaskState::Failure(failure), done("4")]);
    assert!(failed && closing.publications.is_empty());
    let TaskState::Failure(told) = &closing.results[0].state else { panic!("a failure") };
    let text = format!("Dependency {} raised ValueError('no')", members[1].id);
    assert_eq!(*told, Failure::new("celery.exceptions", "ChordError", &text));
}

fn of_outbox(signature: &str) -> Closing {
    let mut invocation = members("run-chord").remove(0);
    (invocation.links, invocation.group) = Default::default();
    let calls = vec![OutboxItem::Signature(Json::parse(signature).unwrap())];
    let settlement = Settlement::Succeed { result: Json::null(), calls };
    close(&verdict(invocation, settlement), &CloseSettings::default())
}

const ADD: &str =
    r#"{"task": "add", "args": [1], "kwargs": {}, "options": {}, "subtask_type": null}"#;

fn canvas(kind: &str, kwargs: &str) -> String {
    format!(
        r#"{{"task": "celery.{kind}", "args": [], "kwargs": {kwargs}, "options": {{}}, "subtask_type": "{kind}"}}"#
    )
}

fn body_of(closing: &Closing, place: usize) -> String {
    String::from_utf8(closing.publications[place].parts.body.to_vec()).unwrap()
}

#[test]
fn a_chain_sends_its_first_link_and_a_group_in_it_is_the_header_of_a_chord() {
    let group = canvas("group", &format!(r#"{{"tasks": [{ADD}, {ADD}]}}"#));
    let chain = canvas("chain", &format!(r#"{{"tasks": [{ADD}, {group}, {ADD}]}}"#));
    let first = of_outbox(&chain);
    assert_eq!((first.publications.len(), &first.chords), (1, &None));
    let body = body_of(&first, 0);
    assert!(body.contains("\"subtask_type\": \"chord\""), "{body}");

    let direct = of_outbox(&canvas("chain", &format!(r#"{{"tasks": [{group}, {ADD}]}}"#)));
    let starts = &direct.chords.as_ref().unwrap().starts;
    assert_eq!((direct.publications.len(), starts.len(), starts[0].1), (2, 1, 2));
    assert!(body_of(&direct, 0).contains("\"chord\": {\"task\": \"add\""));
}

#[test]
fn only_the_last_link_of_a_chain_in_a_header_counts_and_a_chord_counts_by_its_body() {
    let chain = canvas("chain", &format!(r#"{{"tasks": [{ADD}, {ADD}]}}"#));
    let inner = canvas("chord", &format!(r#"{{"header": [{ADD}, {ADD}], "body": {ADD}}}"#));
    let outer =
        canvas("chord", &format!(r#"{{"header": [{chain}, {inner}, {ADD}], "body": {ADD}}}"#));
    let closing = of_outbox(&outer);
    let starts = &closing.chords.as_ref().unwrap().starts;
    assert_eq!(starts.iter().map(|start| start.1).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(closing.publications.len(), 4);
    assert!(body_of(&closing, 0).contains("\"chord\": null"), "the first link does not count");
}

#[test]
fn what_takes_a_tasks_place_has_its_id_its_place_and_what_was_to_follow() {
    let member = members("run-chord").remove(1);
    let replaced = |signature: &str| {
        let signature = Json::parse(signature).unwrap();
        let settlement = Settlement::Replace { signature, calls: Vec::new() };
        close(&verdict(member.clone(), settlement), &CloseSettings::default())
    };
    let closing = replaced(ADD);
    assert!(closing.results.is_empty() && closing.chords.is_none(), "it does not count");
    let headers = Json::parse(closing.publications[0].parts.headers.as_str()).unwrap();
    let text = |name| headers.as_part().member(name).unwrap().as_str().to_owned();
    assert_eq!(text("id"), Json::string(member.id.as_str()).to_string());
    assert_eq!((text("group_index"), text("replaced_task_nesting")), ("1".into(), "1".into()));
    assert!(body_of(&closing, 0).contains("\"chord\": {"));

    let closing = replaced(&canvas("group", &format!(r#"{{"tasks": [{ADD}, {ADD}]}}"#)));
    assert_eq!(closing.publications.len(), 2);
    let body = body_of(&closing, 0);
    assert!(body.contains("celery.accumulate") && body.contains(member.id.as_str()), "{body}");
}
