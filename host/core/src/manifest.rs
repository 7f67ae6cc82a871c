//! What a module says of itself.

use serde::{Deserialize, Serialize};

use crate::http::{HTTP_KIND, HostPattern, HostPatternError};
use crate::{BreakerRequest, PolicyError, RetryRequest, TaskName};

/// A module's manifest; its JSON schema is `wit/manifest.schema.json`.
///
/// Unknown fields are passed over, so that a module made for a later host still loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format; 1.
    pub v: u32,
    /// The contract it was built for, such as `lovage:task@0.1.0`.
    #[serde(default)]
    pub abi: String,
    /// The module's name.
    pub module: String,
    /// The language it was written in, for people.
    #[serde(default)]
    pub language: String,
    /// Its tasks.
    pub tasks: Vec<TaskSpec>,
}

/// One task of a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The name that producers call.
    pub name: TaskName,
    /// The names of its parameters, in order.
    #[serde(default)]
    pub params: Vec<String>,
    /// What it does, for people.
    #[serde(default)]
    pub doc: Option<String>,
    /// What becomes of its failures.
    #[serde(default)]
    pub retry: Option<RetryRequest>,
    /// When its calls are held back because it fails; never, without.
    #[serde(default)]
    pub breaker: Option<BreakerRequest>,
    /// When it counts as having happened already.
    #[serde(default)]
    pub idempotency: Option<Idempotency>,
    /// What it asks to be bounded by.
    #[serde(default)]
    pub limits: LimitRequest,
    /// Whether its results are kept, unless the call says otherwise.
    #[serde(default)]
    pub ignore_result: bool,
    /// Whether its failures are kept even when nobody wants its results.
    #[serde(default)]
    pub store_errors_even_if_ignored: bool,
    /// Whether its callers are told when an attempt begins.
    #[serde(default)]
    pub track_started: bool,
    /// The queue that calls from guests go to.
    #[serde(default)]
    pub queue: Option<String>,
    /// Celery's rate limit, such as `10/s`.
    #[serde(default)]
    pub rate_limit: Option<String>,
    /// What it wants to be granted, such as `http:api.bank.example`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// JSON schema of its arguments.
    #[serde(default)]
    pub input_schema: Option<serde_json::Value>,
    /// JSON schema of its result.
    #[serde(default)]
    pub output_schema: Option<serde_json::Value>,
    /// How many attempts, one after another, may share an instance; 1 is one of its own for each.
    #[serde(default = "own_instance")]
    pub reuse: u32,
}

/// Attempts that may share an instance at most.
pub const REUSE_MAX: u32 = 100;

const fn own_instance() -> u32 {
    1
}

impl TaskSpec {
    /// A task that asks for nothing: all a host knows of a program without a catalog.
    pub fn named(name: TaskName) -> Self {
        Self {
            name,
            params: Vec::new(),
            doc: None,
            retry: None,
            breaker: None,
            idempotency: None,
            limits: LimitRequest::default(),
            ignore_result: false,
            store_errors_even_if_ignored: false,
            track_started: false,
            queue: None,
            rate_limit: None,
            capabilities: Vec::new(),
            input_schema: None,
            output_schema: None,
            reuse: own_instance(),
        }
    }

    /// The hosts that it wants to make requests to, as it writes them.
    pub fn http_hosts(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().filter_map(|capability| {
            capability.strip_prefix(HTTP_KIND).and_then(|rest| rest.strip_prefix(':'))
        })
    }
}

/// When a task counts as having happened already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// A template over its parameters, such as `order:{order_id}`.
    pub key: String,
    /// How long that is remembered, seconds.
    #[serde(default)]
    pub ttl_s: Option<u64>,
}

/// The limits that a task asks for. They may only be tighter than the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitRequest {
    /// Hard time limit, milliseconds.
    #[serde(default)]
    pub time_ms: Option<u64>,
    /// Soft time limit, milliseconds.
    #[serde(default)]
    pub soft_time_ms: Option<u64>,
    /// CPU time, milliseconds.
    #[serde(default)]
    pub cpu_time_ms: Option<u64>,
    /// Memories and tables together, bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Fuel.
    #[serde(default)]
    pub fuel: Option<u64>,
    /// The result, bytes.
    #[serde(default)]
    pub output_bytes: Option<u32>,
}

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON of this shape.
    #[error("the manifest has not the form of its schema")]
    Form(#[source] serde_json::Error),
    /// It is of a version that this host does not know.
    #[error("the manifest has version {0}; this host knows version 1")]
    Version(u32),
    /// A name has not the form that it must have.
    #[error("the manifest names a task {0:?}; a name has 1 to 255 bytes and no control characters")]
    Name(String),
    /// Two entries have the same name.
    #[error("the manifest names the task {0:?} twice")]
    Twice(String),
    /// What a task asks for when it fails cannot be meant.
    #[error("the manifest's task {task:?} asks for what cannot be")]
    Policy {
        /// The task's name.
        task: String,
        /// What is wrong.
        source: PolicyError,
    },
    /// A task's instances would be shared by none, or by too many.
    #[error("the manifest's task {task:?} has `reuse` {reuse}; it may be 1 to {REUSE_MAX}")]
    Reuse {
        /// The task's name.
        task: String,
        /// What it asks for.
        reuse: u32,
    },
    /// A task wants to make requests to what is no host.
    #[error("the manifest's task {task:?} asks for a host that is none")]
    Host {
        /// The task's name.
        task: String,
        /// What is wrong.
        source: HostPatternError,
    },
    /// More tasks than a module may have.
    #[error("the manifest names {0} tasks; at most {TASKS_MAX} are taken")]
    TooMany(usize),
}

/// Tasks that one module may have.
const TASKS_MAX: usize = 1_000;

impl Manifest {
    /// The hosts that any of its tasks wants to make requests to, each once.
    pub fn http_hosts(&self) -> std::collections::BTreeSet<&str> {
        self.tasks.iter().flat_map(TaskSpec::http_hosts).collect()
    }

    /// Reads a manifest that a guest gave: from anyone, so everything in it is checked.
    ///
    /// # Errors
    /// When it is malformed, of another version, or names a task twice or badly.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_str(text).map_err(ManifestError::Form)?;
        if manifest.v != 1 {
            return Err(ManifestError::Version(manifest.v));
        }
        if manifest.tasks.len() > TASKS_MAX {
            return Err(ManifestError::TooMany(manifest.tasks.len()));
        }
        let mut names = std::collections::HashSet::new();
        for task in &manifest.tasks {
            let name = task.name.as_str();
            if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
                return Err(ManifestError::Name(name.into()));
            }
            if !names.insert(name) {
                return Err(ManifestError::Twice(name.into()));
            }
            if !(1..=REUSE_MAX).contains(&task.reuse) {
                return Err(ManifestError::Reuse { task: name.into(), reuse: task.reuse });
            }
            let hosts =
                task.http_hosts().try_for_each(|host| host.parse::<HostPattern>().map(drop));
            hosts.map_err(|source| ManifestError::Host { task: name.into(), source })?;
            let checked = task.retry.as_ref().map_or(Ok(()), RetryRequest::check);
            checked
                .and_then(|()| task.breaker.as_ref().map_or(Ok(()), BreakerRequest::check))
                .map_err(|source| ManifestError::Policy { task: name.into(), source })?;
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::{Manifest, ManifestError};

    #[test]
    fn a_manifest_of_today_is_read_and_fields_of_tomorrow_are_passed_over() {
        let manifest = Manifest::parse(
            r#"{"v": 1, "abi": "lovage:task@0.1.0", "module": "shop", "new": {}, "tasks": [
                {"name": "shop.charge", "params": ["order_id"], "retry": {"max": null, "jitter": "full"},
                 "limits": {"time_ms": 5000}, "idempotency": {"key": "order:{order_id}"}, "new": 1}]}"#,
        )
        .unwrap();
        let task = &manifest.tasks[0];
        assert_eq!(task.limits.time_ms, Some(5_000));
        assert_eq!(task.retry.as_ref().unwrap().max, Some(None));
    }

    #[test]
    fn the_hosts_that_it_asks_for_can_be_read() {
        let task = |name, hosts| format!(r#"{{"name":"{name}","capabilities":[{hosts}]}}"#);
        let one = task("a", r#""http:b.example","kv:read","https:x""#);
        let two = task("b", r#""http:b.example","http:*.a.example:*""#);
        let manifest = format!(r#"{{"v":1,"module":"m","tasks":[{one},{two}]}}"#);
        let manifest = Manifest::parse(&manifest).unwrap();
        assert!(manifest.http_hosts().into_iter().eq(["*.a.example:*", "b.example"]));
    }

    #[test]
    fn bad_manifests_are_told_apart() {
        let named = |name: &str| format!(r#"{{"v":1,"module":"m","tasks":[{{"name":{name:?}}}]}}"#);
        assert!(matches!(Manifest::parse("{"), Err(ManifestError::Form(_))));
        assert!(matches!(
            Manifest::parse(r#"{"v":2,"module":"m","tasks":[]}"#),
            Err(ManifestError::Version(2))
        ));
        assert!(matches!(Manifest::parse(&named("")), Err(ManifestError::Name(_))));
        assert!(matches!(Manifest::parse(&named(&"a".repeat(256))), Err(ManifestError::Name(_))));
        let twice = r#"{"v":1,"module":"m","tasks":[{"name":"a"},{"name":"a"}]}"#;
        assert!(matches!(Manifest::parse(twice), Err(ManifestError::Twice(_))));
        let host = r#"{"v":1,"module":"m","tasks":[{"name":"a","capabilities":["http:a b"]}]}"#;
        assert!(matches!(Manifest::parse(host), Err(ManifestError::Host { .. })));
        let reuse = r#"{"v":1,"module":"m","tasks":[{"name":"a","reuse":101}]}"#;
        assert!(matches!(Manifest::parse(reuse), Err(ManifestError::Reuse { reuse: 101, .. })));
    }

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused_by_name() {
        let refused = |policy: &str| {
            let text = format!(r#"{{"v":1,"module":"m","tasks":[{{"name":"a",{policy}}}]}}"#);
            match Manifest::parse(&text) {
                Err(ManifestError::Policy { task, source }) if task == "a" => source.to_string(),
                other => panic!("{policy}: {other:?}"),
            }
        };
        for (policy, words) in [
            (r#""retry":{"retry_on":["tarp"]}"#, "did you mean \"trap\"?"),
            (r#""retry":{"never_on":["fule"]}"#, "did you mean \"fuel\"?"),
            (r#""retry":{"retry_on":["memory"]}"#, "\"memory\", which is never retried"),
            (r#""retry":{"backoff":"full-jitter"}"#, "did you mean \"full_jitter\"?"),
            (r#""retry":{"max_elapsed_s":0.5}"#, "`max_elapsed_s` is 0.5; it may be 1 to 1209600"),
            (r#""retry":{"base_s":-1}"#, "`base_s` is -1"),
            (r#""retry":{"budget":{"floor_per_s":0}}"#, "`floor_per_s` is 0"),
            (r#""breaker":{"open_at":1.5}"#, "`open_at` is 1.5"),
        ] {
            assert!(refused(policy).contains(words), "{policy}: {}", refused(policy));
        }
        let known = r#"{"v":1,"module":"m","tasks":[{"name":"a","breaker":{},"retry":
            {"retry_on":["trap"],"never_on":["fuel","memory","output_too_large",
            "capability_denied","mismatch","returned_permanent"],"backoff":"decorrelated"}}]}"#;
        assert_eq!(Manifest::parse(known).unwrap().tasks[0].breaker.unwrap().min_calls, 20);
    }
}
