//! Celery's own tasks come to what Celery makes of them.

use lovage_core::{
    Delivery, Invocation, Json, Message, OutboxItem, Outcome, Parts, Receipt, Report, TaskId,
};

use super::{Builtin, builtin, is_builtin};
use crate::{Accept, decode};

fn call(task: &str, args: &str, kwargs: &str) -> Invocation {
    let parts = Parts {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        headers: format!("{{\"task\": \"{task}\", \"id\": \"1\"}}"),
        properties: "{}".into(),
        body: format!("[{args}, {kwargs}, {{}}]").into(),
    };
    let delivery = Delivery {
        queue: "celery".into(),
        receipt: Receipt(1),
        message: Message::Parts(parts.into()),
        redelivered: false,
        deliveries: 1,
    };
    decode(delivery, &Accept::default()).unwrap()
}

fn over(task: &str, args: &str, kwargs: &str) -> Report {
    match builtin(&call(task, args, kwargs)) {
        Builtin::Over(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_names_are_celerys() {
    assert!(is_builtin("celery.map") && is_builtin("celery.backend_cleanup"));
    assert!(!is_builtin("celery.ping") && !is_builtin("map"));
}

#[test]
fn accumulate_returns_its_arguments_or_one_of_them() {
    let result = |args, kwargs| match over("celery.accumulate", args, kwargs).outcome {
        Outcome::Succeed(result) => result.as_str().to_owned(),
        Outcome::Reject(failure) => failure.exception_type,
        other => panic!("{other:?}"),
    };
    assert_eq!(result("[1, [2]]", "{}"), "[1, [2]]");
    assert_eq!(result("[[3, 4]]", "{\"index\": 0}"), "[3, 4]");
    assert_eq!(result("[1, 2]", "{\"index\": -1}"), "2");
    assert_eq!(result("[]", "{\"index\": 0}"), "IndexError");
}

#[test]
fn a_canvas_by_name_is_sent_and_told_as_its_tuple() {
    let tasks = "[{\"task\": \"a\", \"options\": {\"task_id\": \"x\"}}, {\"task\": \"b\"}]";
    let group = over("celery.group", &format!("[{tasks}, null, \"g\", [7]]"), "{}");
    let Outcome::Succeed(result) = group.outcome else { panic!("{:?}", group.outcome) };
    assert!(result.as_str().starts_with("[[\"g\", null], [[[\"x\", null], null], "), "{result}");
    assert!(matches!(group.outbox.as_slice(), [OutboxItem::Signature(_)]));
    let chain = over("celery.chain", "[]", "{}");
    assert!(
        matches!(chain.outcome, Outcome::Reject(it) if it.exception_type == "NotImplementedError")
    );
    let missing = over("celery.chord", "[]", "{}");
    assert!(matches!(missing.outcome, Outcome::Reject(it) if it.exception_type == "TypeError"));
}

#[test]
fn a_map_calls_its_task_for_each_item_and_a_starmap_with_its_items() {
    let calls = |task, items: &str| {
        let kwargs = format!("{{\"task\": {{\"task\": \"a\"}}, \"it\": {items}}}");
        match builtin(&call(task, "[]", &kwargs)) {
            Builtin::Map { task, calls } => {
                assert_eq!(task.as_str(), "a");
                calls.iter().map(|call| call.as_str().to_owned()).collect::<Vec<_>>()
            }
            Builtin::Over(report) => vec![format!("{:?}", report.outcome)],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(calls("celery.map", "[1, [2]]"), ["[1]", "[[2]]"]);
    assert_eq!(calls("celery.starmap", "[[1, 2], []]"), ["[1, 2]", "[]"]);
    assert!(calls("celery.starmap", "[1]")[0].contains("TypeError"));
}

#[test]
fn a_chord_is_unlocked_when_all_its_members_have_ended() {
    let args = "[\"g\", {\"task\": \"body\", \"options\": {\"task_id\": \"b\"}}]";
    let kwargs = "{\"interval\": 2, \"max_retries\": null, \"result\": [[[\"x\", null], null], \
                  [[\"h\", null], [[[\"y\", null], null]]]]}";
    let Builtin::Unlock(unlock) = builtin(&call("celery.chord_unlock", args, kwargs)) else {
        panic!("an unlock")
    };
    assert_eq!(unlock.members, [TaskId::from("x"), TaskId::from("y")]);
    let done = |result: &str| Some(format!("{{\"status\": \"SUCCESS\", \"result\": {result}}}"));
    let waits = unlock.decide(&[done("1"), None]);
    assert!(
        matches!(waits.outcome, Outcome::Retry { after: Some(it), options: None, .. } if it.as_secs() == 2)
    );
    let started = Some("{\"status\": \"STARTED\", \"result\": null}".to_owned());
    assert!(matches!(unlock.decide(&[done("1"), started]).outcome, Outcome::Retry { .. }));
    let report = unlock.decide(&[done("1"), done("[2]")]);
    assert_eq!(report.outcome, Outcome::Succeed(Json::null()));
    let [OutboxItem::Body { group, members, .. }] = report.outbox.as_slice() else {
        panic!("{:?}", report.outbox)
    };
    assert_eq!(group.as_str(), "g");
    assert_eq!(members.entries, ["[1, \"x\", \"SUCCESS\", 1]", "[1, \"y\", \"SUCCESS\", [2]]"]);
}
