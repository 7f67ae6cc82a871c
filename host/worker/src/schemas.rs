//! The message contract: a call whose arguments do not fit its task's schema never starts a guest.
//!
//! A manifest's `input_schema` describes the arguments as one object: each by its parameter's name,
//! whether it came by place or by name. It is compiled once for each task of each module. Schemas
//! come from whoever uploads modules, and are checked here, in the worker: so patterns are matched in
//! linear time, references lead nowhere outside, and a schema of more than [`NODES_MAX`] parts, or
//! one that refers to itself, is refused when its module is loaded.
//!
//! Celery sends values that JSON Schema has no words for: `NaN`, numbers beyond a double's range, lone
//! surrogates. Calls with one of these are the guest's to check, as every SDK does.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonschema::{PatternOptions, Validator};
use lovage_core::ports::Resolved;
use lovage_core::{Digest, Failure, Invocation, TaskName, TaskSpec};
use serde_json::{Map, Value};

/// Parts that a schema may have, each counted as often as it is referred to.
const NODES_MAX: usize = 10_000;

/// Compiled schemas that are kept; all go when there are more.
const COMPILED_MAX: usize = 10_000;

/// Why a task's schema of arguments cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema of the arguments of `{task}` cannot be used: {why}")]
pub struct SchemaError {
    /// The task.
    pub task: TaskName,
    /// What is wrong.
    pub why: String,
}

/// Checks that a task's schema can be used, if it has one.
///
/// # Errors
/// When it is no schema, refers to itself or to elsewhere, or is too large.
pub fn check_schema(task: &TaskSpec) -> Result<(), SchemaError> {
    compile(task).map(drop)
}

/// The schemas of all tasks that were called, compiled.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    compiled: RwLock<HashMap<(Digest, TaskName), Arc<Compiled>>>,
}

type Compiled = Result<Option<Validator>, SchemaError>;

impl Schemas {
    /// What is wrong with a call's arguments; `None` when nothing is, or when its task has no schema.
    pub(crate) fn failure(&self, invocation: &Invocation, resolved: &Resolved) -> Option<Failure> {
        resolved.task.input_schema.as_ref()?;
        let wrong = |message: String| {
            let text = format!("{}(): {message}", invocation.task);
            Some(Failure::new("lovage.exceptions", "ArgumentsInvalid", &text))
        };
        match &*self.of(resolved) {
            Err(error) => wrong(error.to_string()),
            Ok(None) => None,
            Ok(Some(validator)) => {
                let (args, kwargs) = values(invocation)?;
                let named = match named(&resolved.task, args, kwargs) {
                    Ok(named) => named,
                    Err(message) => return wrong(message),
                };
                let error = validator.validate(&named).err()?;
                let path = error.instance_path().to_string();
                // The value itself may be large, or nobody's business.
                wrong(format!("arguments{path}: {}", error.masked()))
            }
        }
    }

    fn of(&self, resolved: &Resolved) -> Arc<Compiled> {
        let key = (resolved.module.digest, resolved.task.name.clone());
        let known = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let compiled = Arc::new(compile(&resolved.task));
            let mut all = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= COMPILED_MAX {
                all.clear();
            }
            all.insert(key, Arc::clone(&compiled));
            compiled
        })
    }
}

/// The arguments by place and by name, if a schema can be asked about all of them.
fn values(invocation: &Invocation) -> Option<(Vec<Value>, Map<String, Value>)> {
    let args = serde_json::from_str(invocation.args.as_str()).ok()?;
    Some((args, serde_json::from_str(invocation.kwargs.as_str()).ok()?))
}

/// The arguments as one object.
fn named(task: &TaskSpec, args: Vec<Value>, kwargs: Map<String, Value>) -> Result<Value, String> {
    let count = args.len();
    if count > task.params.len() {
        return Err(format!("takes {} arguments, {count} were given by place", task.params.len()));
    }
    let mut named: Map<String, Value> = task.params.iter().cloned().zip(args).collect();
    for (name, value) in kwargs {
        if named.contains_key(&name) {
            return Err(format!("arguments/{name}: was given by place and by name"));
        }
        named.insert(name, value);
    }
    Ok(Value::Object(named))
}

fn compile(task: &TaskSpec) -> Compiled {
    let Some(schema) = &task.input_schema else { return Ok(None) };
    let refused = |why: String| SchemaError { task: task.name.clone(), why };
    let mut room = NODES_MAX;
    measure(schema, schema, &mut Vec::new(), &mut room).map_err(|why| refused(why.into()))?;
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map(Some)
        .map_err(|error| refused(error.to_string()))
}

/// Takes the parts of a schema from the room there is, references followed.
fn measure<'a>(
    root: &'a Value,
    part: &'a Value,
    followed: &mut Vec<&'a str>,
    room: &mut usize,
) -> Result<(), &'static str> {
    *room = room.checked_sub(1).ok_or("it is too large")?;
    match part {
        Value::Array(parts) => {
            parts.iter().try_for_each(|part| measure(root, part, followed, room))
        }
        Value::Object(members) => {
            for (name, member) in members {
                let is_definitions = matches!(&**name, "$defs" | "definitions");
                if matches!(&**name, "$dynamicRef" | "$recursiveRef") {
                    return Err("it refers to itself");
                }
                if let ("$ref", Some(to)) = (&**name, member.as_str()) {
                    let pointer = to.strip_prefix('#').ok_or("it refers to elsewhere")?;
                    if followed.contains(&to) {
                        return Err("it refers to itself");
                    }
                    let part = root.pointer(pointer).ok_or("it refers to what is not there")?;
                    followed.push(to);
                    measure(root, part, followed, room)?;
                    followed.pop();
                } else if !is_definitions {
                    measure(root, member, followed, room)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lovage_core::ports::Resolved;
    use lovage_core::{Json, TaskSpec};
    use serde_json::{Value, json};

    use super::{Schemas, check_schema};
    use crate::samples;

    fn task(schema: Value) -> TaskSpec {
        let mut task = TaskSpec::named("demo.add".into());
        task.params = vec!["a".into(), "b".into()];
        task.input_schema = Some(schema);
        task
    }

    fn failure(schema: Value, args: &str, kwargs: &str) -> Option<String> {
        let job = samples::job(0);
        let mut invocation = job.invocation.clone();
        invocation.args = Json::parse(args).unwrap();
        invocation.kwargs = Json::parse(kwargs).unwrap();
        let resolved = Resolved { module: job.module, task: Arc::new(task(schema)) };
        let schemas = Schemas::default();
        let first = schemas.failure(&invocation, &resolved).map(|it| it.to_string());
        let again = schemas.failure(&invocation, &resolved).map(|it| it.to_string());
        assert_eq!(first, again);
        first
    }

    #[test]
    fn arguments_are_checked_by_their_names_and_the_error_says_where() {
        let schema = || {
            json!({"type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"type": "object",
            "properties": {"c": {"type": "array", "items": {"type": "string"}}}}}})
        };
        assert_eq!(failure(schema(), r#"[1, {"c": ["x"]}]"#, "{}"), None);
        assert_eq!(failure(schema(), "[1]", r#"{"b": {}}"#), None);
        for odd in ["NaN", "1e999", r#""\ud800""#] {
            assert_eq!(failure(schema(), &format!("[{odd}, {{}}]"), "{}"), None);
        }
        for (args, kwargs, where_) in [
            (r#"["1", {}]"#, "{}", "arguments/a: "),
            (r#"[1, {"c": ["x", 2]}]"#, "{}", "arguments/b/c/1: "),
            ("[1]", "{}", "arguments: \\\"b\\\" is a required property"),
            ("[1, {}]", r#"{"d": 1}"#, "arguments: "),
            ("[1, {}]", r#"{"a": 1}"#, "arguments/a: was given by place and by name"),
            ("[1, {}, 3]", "{}", "takes 2 arguments, 3 were given by place"),
        ] {
            let text = failure(schema(), args, kwargs).unwrap();
            assert!(text.contains(where_), "{text}");
            assert!(text.starts_with("ArgumentsInvalid(\"demo.add()"), "{text}");
        }
    }

    #[test]
    fn schemas_that_would_cost_the_worker_its_time_are_refused() {
        let refused = |schema| check_schema(&task(schema)).unwrap_err().why;
        let mut doubling = json!({"$defs": {"n0": {"type": "null"}}, "$ref": "#/$defs/n40"});
        for n in 1..=40 {
            let before = json!({"$ref": format!("#/$defs/n{}", n - 1)});
            doubling["$defs"][format!("n{n}")] = json!({"anyOf": [before, before]});
        }
        assert_eq!(refused(doubling), "it is too large");
        assert_eq!(refused(json!({"properties": {"a": {"$ref": "#"}}})), "it refers to itself");
        assert_eq!(refused(json!({"$ref": "http://a.example/b"})), "it refers to elsewhere");
        assert_eq!(refused(json!({"$ref": "#/$defs/x"})), "it refers to what is not there");
        assert!(!refused(json!({"type": "nothing"})).is_empty());
        assert!(!refused(json!({"properties": {"a": {"pattern": "(a)\\1"}}})).is_empty());
        assert_eq!(check_schema(&TaskSpec::named("plain".into())), Ok(()));
    }
}
