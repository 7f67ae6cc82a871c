//! Arguments of commands: those that must be there, and how they are read.

use std::time::Duration;

use serde_json::{Map, Value};

/// The arguments without which a command means nothing, in the order in which Celery's tools pass
/// them.
const REQUIRED: [(&str, &[&str]); 11] = [
    ("add_consumer", &["queue"]),
    ("cancel_consumer", &["queue"]),
    ("election", &["id", "topic"]),
    ("hello", &["from_node"]),
    ("query_task", &["ids"]),
    ("rate_limit", &["task_name", "rate_limit"]),
    ("revoke", &["task_id"]),
    ("revoke_by_stamped_headers", &["headers"]),
    ("terminate", &["signal", "task_id"]),
    ("time_limit", &[]),
    ("ping", &[]),
];

/// What Python says of a command whose arguments are not all there; `None` when they are.
pub(super) fn missing(method: &str, arguments: &Map<String, Value>) -> Option<String> {
    let (_, required) = REQUIRED.iter().find(|(name, _)| *name == method)?;
    let absent: Vec<_> = required
        .iter()
        .filter(|name| !arguments.contains_key(**name))
        .map(|name| format!("'{name}'"))
        .collect();
    let (last, before) = absent.split_last()?;
    let names = match before {
        [] => last.clone(),
        [one] => format!("{one} and {last}"),
        more => format!("{}, and {last}", more.join(", ")),
    };
    let plural = if before.is_empty() { "" } else { "s" };
    let count = absent.len();
    Some(format!("{method}() missing {count} required positional argument{plural}: {names}"))
}

/// The arguments of one command.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Arguments<'a> {
    pub(super) fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.value(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A list of texts, or the one text that is no list.
    pub(super) fn texts(self, name: &str) -> Vec<&'a str> {
        match self.value(name) {
            Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    pub(super) fn flag(self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            _ => false,
        }
    }

    /// A count, also where it was typed as text.
    pub(super) fn count(self, name: &str) -> Option<usize> {
        let value = self.value(name)?;
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
        usize::try_from(number).ok()
    }

    /// Seconds, also where they were typed as text.
    pub(super) fn seconds(self, name: &str) -> Option<Duration> {
        let value = self.value(name)?;
        let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::missing;

    #[test]
    fn what_is_missing_is_told_as_python_tells_it() {
        let told = |method, arguments: serde_json::Value| {
            missing(method, arguments.as_object().unwrap()).unwrap_or_default()
        };
        assert_eq!(
            told("rate_limit", json!({"bogus": 1})),
            "rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'"
        );
        assert_eq!(
            told("revoke", json!({})),
            "revoke() missing 1 required positional argument: 'task_id'"
        );
        assert_eq!(told("rate_limit", json!({"task_name": "a", "rate_limit": null})), "");
        assert_eq!(told("stats", json!({})), "");
    }
}
