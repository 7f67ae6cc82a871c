//! Kept messages as people and as programs see them.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use lovage_core::{KeptEntry, Timestamp};
use serde_json::{Value, json};

use crate::inert::inert;

/// Characters of a body that are shown.
const BODY_MAX: usize = 4_000;

/// Many, a line each.
pub(super) fn table<'a>(entries: impl IntoIterator<Item = &'a KeptEntry>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["ID", "AT", "KIND", "REASON", "TASK", "CALL", "QUEUE", "DETAIL"]);
    for KeptEntry { id, kept, .. } in entries {
        table.add_row([
            inert(&id.0),
            time(kept.at),
            kept.kind.as_str().to_owned(),
            inert(&kept.reason),
            kept.task.as_ref().map(|task| inert(task.as_str())).unwrap_or_default(),
            kept.task_id.as_ref().map(|call| inert(call.as_str())).unwrap_or_default(),
            inert(kept.queue.as_str()),
            inert(&kept.detail.chars().take(200).collect::<String>()),
        ]);
    }
    table
}

/// One, on a page.
pub(super) fn page(entry: &KeptEntry, message: &[u8]) -> String {
    let KeptEntry { id, kept, message_bytes } = entry;
    let mut page = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a text cannot fail.
            let _ = writeln!(page, "{name:<12} {}", inert(value));
        }
    };
    line("id", &id.0);
    line("kind", kept.kind.as_str());
    line("reason", &kept.reason);
    line("detail", &kept.detail);
    line("task", kept.task.as_ref().map_or("", |task| task.as_str()));
    line("call", kept.task_id.as_ref().map_or("", |call| call.as_str()));
    line("queue", kept.queue.as_str());
    line("at", &time(kept.at));
    line("retries", &kept.retries.to_string());
    line("deliveries", &kept.deliveries.to_string());
    line("module", &kept.digest.map(|digest| digest.to_string()).unwrap_or_default());
    line("ledger key", &kept.ledger_key.map(|key| key.to_string()).unwrap_or_default());
    line("bytes", &message_bytes.to_string());
    let body: String = body(message).chars().take(BODY_MAX).collect();
    line("body", &body);
    for (number, text) in kept.traceback.iter().flat_map(|text| text.lines()).enumerate() {
        line(if number == 0 { "traceback" } else { "" }, text);
    }
    page
}

/// One, for programs.
pub(super) fn document(entry: &KeptEntry) -> Value {
    let KeptEntry { id, kept, message_bytes } = entry;
    json!({
        "id": id,
        "kind": kept.kind,
        "reason": kept.reason,
        "detail": kept.detail,
        "task": kept.task,
        "task_id": kept.task_id,
        "queue": kept.queue,
        "at": time(kept.at),
        "retries": kept.retries,
        "deliveries": kept.deliveries,
        "digest": kept.digest.map(|digest| digest.to_string()),
        "ledger_key": kept.ledger_key,
        "traceback": kept.traceback,
        "message_bytes": message_bytes,
    })
}

/// One with its message, for programs. What is no UTF-8 is shown as well as it can be.
pub(super) fn whole_document(entry: &KeptEntry, message: &[u8]) -> Value {
    let mut all = document(entry);
    if let Some(members) = all.as_object_mut() {
        members.insert("message".into(), String::from_utf8_lossy(message).into());
        members.insert("message_is_text".into(), std::str::from_utf8(message).is_ok().into());
        members.insert("body".into(), body(message).into());
    }
    all
}

/// What the call is called with, where the message can be opened; the message itself otherwise.
fn body(message: &[u8]) -> String {
    let message = bytes::Bytes::copy_from_slice(message);
    match lovage_celery::parts_of_envelope(&message) {
        Ok(parts) => String::from_utf8_lossy(&parts.body).into_owned(),
        Err(_) => String::from_utf8_lossy(&message).into_owned(),
    }
}

fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros())
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lovage_core::{Kept, KeptEntry, KeptId, KeptKind, Timestamp};

    use super::{document, page, table};

    fn hostile() -> KeptEntry {
        let at = Timestamp::from_micros(1_790_000_000_000_000);
        let detail = "\u{1b}]0;owned\u{7}\r\nDONE".to_owned();
        let mut kept = Kept::unread(KeptKind::Dead, "\u{1b}[2J", detail, "q\n".into(), at);
        kept.task = Some("\u{202e}evil".into());
        kept.task_id = Some("\u{9b}31m".into());
        kept.traceback = Some("one\n\u{1b}[31mtwo".into());
        KeptEntry { id: KeptId("1-0".into()), kept, message_bytes: 3 }
    }

    #[test]
    fn nothing_in_a_message_acts_on_the_terminal() {
        let entry = hostile();
        for text in [page(&entry, b"\x1b[1m \xff"), table([&entry]).to_string()] {
            assert!(!text.chars().any(|it| it.is_control() && it != '\n'), "{text:?}");
            assert!(!text.contains('\u{202e}'), "{text:?}");
            assert!(!text.contains("\nDONE"), "{text:?}");
        }
        let json = serde_json::to_string(&document(&entry)).unwrap();
        assert!(!json.contains('\u{1b}') && !json.contains('\u{7}'), "{json}");
    }

    #[test]
    fn a_page_tells_all_that_is_known() {
        let text = page(&hostile(), b"");
        for part in ["1-0", "dead", "\\u{202e}evil", "2026-09-21T14:13:20Z", "two", "bytes"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
