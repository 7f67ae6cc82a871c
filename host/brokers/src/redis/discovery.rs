//! Which queues there are.
//!
//! kombu notes no list of queues, but a producer that declares one notes its binding, in a set for
//! each exchange. These sets are looked for among all keys, some thousands a call, so that a
//! database of millions of results costs time and no more.

use lovage_core::QueueName;
use lovage_core::ports::PortError;
use lovage_redis::{Cmd, Link, Pipeline, Value};

use super::keys::Keyspace;

/// Keys that one question looks at, roughly.
const COUNT: u64 = 1_000;

/// Questions of one call.
const STEPS_MAX: usize = 10;

/// The queues that the next part of all keys names; `cursor` remembers where that is.
pub(super) async fn discover(
    link: &Link,
    keys: &Keyspace,
    cursor: &mut u64,
) -> Result<Vec<QueueName>, PortError> {
    let mut sets = Vec::new();
    for _ in 0..STEPS_MAX {
        let mut scan = Cmd::new();
        scan.arg("SCAN").arg(*cursor).arg("MATCH").arg(pattern(keys)).arg("COUNT").arg(COUNT);
        let Value::Array(answer) = link.run("looking for queues", &scan).await? else { break };
        let mut values = answer.into_iter();
        *cursor = values.next().and_then(text).and_then(|it| it.parse().ok()).unwrap_or(0);
        if let Some(Value::Array(found)) = values.next() {
            sets.extend(found.into_iter().filter_map(text));
        }
        if *cursor == 0 {
            break;
        }
    }
    if sets.is_empty() {
        return Ok(Vec::new());
    }
    let mut members = Pipeline::new();
    for set in &sets {
        members.cmd("SMEMBERS").arg(set);
    }
    let answers = link.run_all("reading bindings", &members).await?;
    let bindings = answers.into_iter().flat_map(|answer| match answer {
        Value::Array(members) | Value::Set(members) => members,
        _ => Vec::new(),
    });
    let queue = |binding: String| Some(binding.split(&keys.separator).nth(2)?.into());
    let mut queues: Vec<QueueName> = bindings.filter_map(text).filter_map(queue).collect();
    queues.sort_unstable();
    queues.dedup();
    Ok(queues)
}

/// The sets of bindings, the prefix taken as it is.
fn pattern(keys: &Keyspace) -> String {
    let mut pattern = String::new();
    for letter in keys.bindings("").chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "*"
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}
