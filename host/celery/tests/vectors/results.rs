//! Result documents, rebuilt from what they say and compared byte for byte.

use lovage_celery::{database_row, parse_timestamp, result_document};
use lovage_core::{Child, Extended, Failure, JsonPart, ResultRecord, TaskId, TaskState};
use serde_json::Value;

use crate::load::{meaning, vector, vectors};

/// The record that a document describes; `None` for the two forms that are never written here: a
/// revoke command's document of a call that nobody has seen, and a retry without an exception.
fn record(text: &str) -> Option<ResultRecord> {
    let document = JsonPart::parse(text).unwrap();
    let part = |name| document.member(name).filter(|part| !part.is_null());
    let id = |name| part(name).and_then(JsonPart::as_text).map(|id| TaskId::from(&*id));
    let result = document.member("result").unwrap();
    let owned = |part: JsonPart<'_>| part.as_text().unwrap().into_owned();
    let failure = || -> Option<Failure> {
        Some(Failure {
            exception_type: owned(result.member("exc_type")?),
            exception_module: result.member("exc_module").map(owned),
            arguments: result.member("exc_message")?.to_json(),
            traceback: part("traceback").map(owned),
        })
    };
    let state = match &*document.member("status")?.as_text()? {
        "SUCCESS" => TaskState::Success(result.to_json()),
        "FAILURE" => TaskState::Failure(failure()?),
        "RETRY" => TaskState::Retry(failure()?),
        "STARTED" => TaskState::Started {
            process_id: result.member("pid")?.as_str().parse().ok()?,
            hostname: owned(result.member("hostname")?),
        },
        "REVOKED" => TaskState::Revoked(match failure()?.arguments.as_str() {
            r#"["revoked"]"# => "revoked",
            r#"["expired"]"# => "expired",
            r#"["terminated"]"# => "terminated",
            other => panic!("{other}"),
        }),
        name => TaskState::Custom { name: name.into(), meta: result.to_json() },
    };
    let at = part("date_done").and_then(JsonPart::as_text).and_then(|text| parse_timestamp(&text));
    Some(ResultRecord {
        task_id: id("task_id")?,
        state,
        at: at.unwrap_or(lovage_core::Timestamp::from_micros(0)),
        group: id("group_id"),
        parent_id: id("parent_id"),
        children: children(part("children")?),
        reply_to: None,
        correlation_id: None,
        tenant: None,
        extended: extended(document),
        life: None,
    })
}

fn children(list: JsonPart<'_>) -> Vec<Child> {
    let list: Value = serde_json::from_str(list.as_str()).unwrap();
    let id = |child: &Value| TaskId::from(child[0][0].as_str().unwrap());
    let child = |child: &Value| match child[1].as_array() {
        None => Child::Task(id(child)),
        Some(members) => Child::Group { id: id(child), members: members.iter().map(id).collect() },
    };
    list.as_array().unwrap().iter().map(child).collect()
}

fn extended(document: JsonPart<'_>) -> Option<Box<Extended>> {
    let text = |name| Some(document.member(name)?.as_text()?.into_owned());
    let mut stamps = String::from("{");
    let mut after_queue = false;
    document.each_quoted_member(|name, value| {
        if after_queue && name != "\"task_id\"" {
            let separator = if stamps.len() > 1 { ", " } else { "" };
            stamps.push_str(&format!("{separator}{name}: {}", value.as_str()));
        }
        after_queue |= name == "\"queue\"";
    });
    Some(Box::new(Extended {
        name: text("name")?.into(),
        args: document.member("args")?.to_json(),
        kwargs: document.member("kwargs")?.to_json(),
        worker: text("worker")?,
        retries: document.member("retries")?.as_str().parse().ok()?,
        queue: text("queue")?.into(),
        stamps: lovage_core::Json::parse(stamps + "}").unwrap(),
    }))
}

/// Every document of the recordings, as text.
fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    for vector in vectors("result-").values() {
        for document in vector["documents"].as_array().into_iter().flatten() {
            documents.push(document["raw"].as_str().unwrap().to_owned());
        }
        for document in vector["docs"].as_object().into_iter().flat_map(|docs| docs.values()) {
            documents.extend(document["value"].as_str().map(str::to_owned));
        }
    }
    documents.retain(|text| text.starts_with("{\"status\""));
    documents
}

#[test]
fn documents_are_written_byte_for_byte_as_celery_writes_them() {
    let (mut same, mut left_out) = (0, Vec::new());
    for text in documents() {
        let is_unknown_extended = text.contains("\"name\": null");
        match record(&text) {
            Some(record) if !is_unknown_extended => {
                assert_eq!(result_document(&record), text);
                same += 1;
            }
            _ => left_out.push(text),
        }
    }
    assert!(same > 45, "only {same} documents");
    assert!(left_out.len() <= 4, "{left_out:#?}");
}

#[test]
fn database_rows_have_the_columns_that_celery_fills() {
    let mut count = 0;
    for name in ["backend-db", "backend-db-extended"] {
        for row in vector(name)["db"]["celery_taskmeta"]["rows"].as_array().unwrap() {
            let text = |column: &str| row[column]["text"].as_str().or(row[column].as_str());
            let mut document = format!(
                "{{\"status\": {}, \"result\": {}, \"traceback\": {}, \"children\": {}, \"date_done\": {}",
                row["status"],
                text("result").unwrap(),
                row["traceback"],
                text("children").unwrap_or("[]"),
                row["date_done"],
            );
            if let Some(name) = row["name"].as_str() {
                let (args, kwargs) = (text("args").unwrap(), text("kwargs").unwrap());
                document.push_str(&format!(
                    ", \"name\": {name:?}, \"args\": {args}, \"kwargs\": {kwargs}, \"worker\": {}, \
                     \"retries\": {}, \"queue\": {}",
                    row["worker"], row["retries"], row["queue"]
                ));
            }
            if let Some(stamps) = text("stamps") {
                let stamps: Value = serde_json::from_str(stamps).unwrap();
                document.push_str(&format!(", \"stamped_headers\": {}", stamps["stamped_headers"]));
                for (name, value) in stamps["stamps"].as_object().unwrap() {
                    document.push_str(&format!(", {name:?}: {value}"));
                }
            }
            document.push_str(&format!(", \"task_id\": {}}}", row["task_id"]));
            let written = database_row(&record(&document).unwrap());
            assert_eq!(written.task_id, row["task_id"]);
            assert_eq!(written.status, row["status"]);
            assert_eq!(written.result, text("result").unwrap());
            assert_eq!(written.date_done.as_deref(), row["date_done"].as_str());
            assert_eq!(written.traceback.as_deref(), row["traceback"].as_str());
            assert_eq!(written.children.as_deref(), text("children"));
            for (column, value) in [
                ("name", &written.name),
                ("args", &written.args),
                ("kwargs", &written.kwargs),
                ("worker", &written.worker),
                ("queue", &written.queue),
            ] {
                assert_eq!(value.as_deref(), text(column), "{column}");
            }
            assert_eq!(written.retries.map(u64::from), row["retries"].as_u64());
            assert_eq!(written.stamps.as_deref().map(meaning), text("stamps").map(meaning));
            count += 1;
        }
    }
    assert!(count > 10);
}
