//! What a new version may do that the one which answers calls may not.

use std::collections::BTreeSet;

use crate::{LimitRequest, Version};

/// In words, everything that `new` may do and `old` may not: imports, capabilities, larger limits,
/// queues. Empty when it may do no more.
pub fn permission_changes(old: &Version, new: &Version) -> Vec<String> {
    let mut changes = Vec::new();
    let before: BTreeSet<&str> = old.imports.iter().map(|name| unversioned(name)).collect();
    let after: BTreeSet<&str> = new.imports.iter().map(|name| unversioned(name)).collect();
    changes.extend(after.difference(&before).map(|import| format!("imports {import}")));
    for task in &new.manifest.tasks {
        let former = old.manifest.tasks.iter().find(|former| former.name == task.name);
        let before: BTreeSet<&String> =
            former.iter().flat_map(|former| &former.capabilities).collect();
        let after: BTreeSet<&String> = task.capabilities.iter().collect();
        let more = after.difference(&before);
        changes.extend(more.map(|wish| format!("{} wants {wish}", task.name)));
        if let Some(former) = former {
            let larger = larger_limits(&former.limits, &task.limits);
            changes.extend(larger.into_iter().map(|it| format!("{} raises {it}", task.name)));
        }
    }
    changes
}

/// An interface without its patch version, which gives nothing new.
fn unversioned(import: &str) -> &str {
    import.split_once('@').map_or(import, |(name, _)| name)
}

/// Limits that are larger than before; none is the largest.
fn larger_limits(old: &LimitRequest, new: &LimitRequest) -> Vec<String> {
    let limits = [
        ("time_ms", old.time_ms, new.time_ms),
        ("soft_time_ms", old.soft_time_ms, new.soft_time_ms),
        ("cpu_time_ms", old.cpu_time_ms, new.cpu_time_ms),
        ("memory_bytes", old.memory_bytes, new.memory_bytes),
        ("fuel", old.fuel, new.fuel),
        ("output_bytes", old.output_bytes.map(u64::from), new.output_bytes.map(u64::from)),
    ];
    let shown = |limit: Option<u64>| limit.map_or("the host's".to_owned(), |it| it.to_string());
    let mut larger = Vec::new();
    for (name, old, new) in limits {
        if new.unwrap_or(u64::MAX) > old.unwrap_or(u64::MAX) {
            larger.push(format!("{name} from {} to {}", shown(old), shown(new)));
        }
    }
    larger
}

#[cfg(test)]
mod tests {
    use super::permission_changes;
    use crate::{Digest, Manifest, Timestamp, Version};

    fn version(imports: &[&str], task: &str) -> Version {
        let text = format!(r#"{{"v":1,"module":"m","tasks":[{task}]}}"#);
        Version {
            digest: Digest::from_bytes([1; 32]),
            bytes: 1,
            at: Timestamp::from_micros(0),
            by: String::new(),
            manifest: Manifest::parse(&text).unwrap(),
            imports: imports.iter().map(|name| (*name).into()).collect(),
            signed_by: None,
        }
    }

    #[test]
    fn imports_capabilities_and_limits_that_grow_are_told() {
        let old = version(
            &["lovage:task/log@0.1.0", "wasi:io/streams@0.2.0"],
            r#"{"name":"a","limits":{"time_ms":10,"memory_bytes":5},"capabilities":["kv:read"]}"#,
        );
        let new = version(
            &["lovage:task/log@0.1.0", "wasi:io/streams@0.2.3", "lovage:task/outbox@0.1.0"],
            r#"{"name":"a","limits":{"time_ms":20},"capabilities":["kv:read","http:x"]},
               {"name":"b","capabilities":["kv:read"]}"#,
        );
        assert_eq!(
            permission_changes(&old, &new),
            [
                "imports lovage:task/outbox",
                "a wants http:x",
                "a raises time_ms from 10 to 20",
                "a raises memory_bytes from 5 to the host's",
                "b wants kv:read",
            ]
        );
        assert_eq!(permission_changes(&old, &old), Vec::<String>::new());
        assert_eq!(permission_changes(&new, &old), Vec::<String>::new());
    }
}
