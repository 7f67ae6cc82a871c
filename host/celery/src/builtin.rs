//! Celery's own tasks, `celery.*`: every worker knows them, and no module has them.
//!
//! What they do is decided here, and done by the worker: some are over at once, some call another task
//! for each of their items, and one looks whether a chord's members have ended.

use std::time::Duration;

use lovage_core::{
    ChordMembers, Failure, Invocation, Json, JsonPart, OutboxItem, Outcome, Report, TaskId,
    TaskName, outbox_caller,
};

use crate::canvas::{Ids, Node, Place, freeze, frozen_result};
use crate::opened::written;

/// The names that are Celery's own.
const NAMES: [&str; 9] = [
    "celery.accumulate",
    "celery.backend_cleanup",
    "celery.chain",
    "celery.chord",
    "celery.chord_unlock",
    "celery.chunks",
    "celery.group",
    "celery.map",
    "celery.starmap",
];

/// What a task of Celery's own comes to.
#[derive(Debug)]
pub enum Builtin {
    /// It is over.
    Over(Box<Report>),
    /// It calls a task for each of its items, one after the other, and returns the list of what they
    /// return. They are no calls of their own.
    Map {
        /// The task.
        task: TaskName,
        /// The arguments of each call, JSON arrays.
        calls: Vec<Json>,
    },
    /// It looks whether all members of a chord have ended.
    Unlock(Box<Unlock>),
    /// Expired results are to go.
    CleanUp,
}

/// `celery.chord_unlock`: where a backend does not count the members of chords, it asks for them until
/// all have ended, and then sends the body.
#[derive(Debug)]
pub struct Unlock {
    /// The members, in order: all must have ended.
    pub members: Vec<TaskId>,
    group: TaskId,
    body: Json,
    /// The members' results as Celery's tuple of their group.
    saved: String,
    interval: Duration,
    max_retries: Option<Json>,
}

/// Whether a task is Celery's own.
pub fn is_builtin(task: &str) -> bool {
    task.starts_with("celery.") && NAMES.contains(&task)
}

/// What a call of a task of Celery's own comes to.
pub fn builtin(invocation: &Invocation) -> Builtin {
    let call = Call::of(invocation);
    let made = match invocation.task.as_str() {
        "celery.accumulate" => call.accumulate(),
        "celery.backend_cleanup" => return Builtin::CleanUp,
        "celery.chord" => call.chord(),
        "celery.chord_unlock" => call.unlock(),
        "celery.chunks" => call.chunks(),
        "celery.group" => call.group(),
        "celery.map" => call.map(false),
        "celery.starmap" => call.map(true),
        _ => Err(Failure::new("builtins", "NotImplementedError", "chain is not a real task")),
    };
    made.unwrap_or_else(|failure| over(Outcome::Reject(failure), Vec::new()))
}

impl Unlock {
    /// What it comes to, given the members' result documents in order; `None` for those that have not
    /// ended.
    pub fn decide(&self, documents: &[Option<String>]) -> Report {
        let entries: Option<Vec<_>> = self.members.iter().zip(documents).map(entry).collect();
        let Some(entries) = entries.filter(|entries| entries.len() == self.members.len()) else {
            let failure = Failure::new("celery.exceptions", "Retry", "members have not ended");
            let most = self.max_retries.as_ref();
            let options =
                most.map(|most| written(format!("{{\"max_retries\": {}}}", most.as_str())));
            return Report::of(Outcome::Retry { failure, after: Some(self.interval), options });
        };
        let members = ChordMembers { entries, saved: Some(self.saved.clone()) };
        let (group, body) = (self.group.clone(), self.body.clone());
        let mut report = Report::of(Outcome::Succeed(Json::null()));
        report.outbox.push(OutboxItem::Body { group, body, members });
        report
    }
}

/// A member's entry as backends that count keep it.
fn entry((id, document): (&TaskId, &Option<String>)) -> Option<String> {
    let document = JsonPart::parse(document.as_deref()?).ok()?;
    let state = document.member("status")?;
    let is_over = ["SUCCESS", "FAILURE", "REVOKED"].contains(&&*state.as_text()?);
    let result = document.member("result").map_or("null", JsonPart::as_str);
    let id = Json::string(id.as_str());
    is_over.then(|| format!("[1, {id}, {}, {result}]", state.as_str()))
}

/// A call, and what it was given.
struct Call<'a> {
    invocation: &'a Invocation,
    args: Vec<JsonPart<'a>>,
    kwargs: JsonPart<'a>,
}

type Made = Result<Builtin, Failure>;

impl<'a> Call<'a> {
    fn of(invocation: &'a Invocation) -> Self {
        let mut args = Vec::new();
        invocation.args.as_part().each_element(|argument| args.push(argument));
        Self { invocation, args, kwargs: invocation.kwargs.as_part() }
    }

    /// The parameter `name`, which is also the `index`-th.
    fn optional(&self, index: usize, name: &str) -> Result<Option<JsonPart<'a>>, Failure> {
        match (self.args.get(index), self.kwargs.member(name)) {
            (Some(_), Some(_)) => {
                let task = &self.invocation.task;
                let text = format!("{task}() got multiple values for argument '{name}'");
                Err(Failure::new("builtins", "TypeError", &text))
            }
            (given, named) => Ok(given.copied().or(named)),
        }
    }

    fn given(&self, index: usize, name: &str) -> Result<JsonPart<'a>, Failure> {
        self.optional(index, name)?.ok_or_else(|| {
            let task = &self.invocation.task;
            let text = format!("{task}() missing 1 required positional argument: '{name}'");
            Failure::new("builtins", "TypeError", &text)
        })
    }

    /// `accumulate(*args, index=None)`.
    fn accumulate(&self) -> Made {
        let args = &self.invocation.args;
        let index = self.kwargs.member("index").filter(|index| !index.is_null());
        let Some(index) = index else {
            return Ok(over(Outcome::Succeed(args.clone()), Vec::new()));
        };
        let index: Option<i64> = index.as_str().parse().ok();
        let at = index.and_then(|index| {
            let count = i64::try_from(self.args.len()).ok()?;
            usize::try_from(if index < 0 { count + index } else { index }).ok()
        });
        let element = at
            .and_then(|at| self.args.get(at))
            .ok_or_else(|| Failure::new("builtins", "IndexError", "tuple index out of range"))?;
        Ok(over(Outcome::Succeed(element.to_json()), Vec::new()))
    }

    /// `group(tasks, result, group_id, partial_args)`.
    fn group(&self) -> Made {
        let tasks = self.given(0, "tasks")?;
        let partial = self.optional(3, "partial_args")?.filter(|args| args.is_array());
        let id = self.optional(2, "group_id")?.filter(|id| !id.is_null());
        let options = id.map_or("{}".into(), |id| format!("{{\"task_id\": {}}}", id.as_str()));
        self.send(&format!(
            "{{\"task\": \"celery.group\", \"subtask_type\": \"group\", \"args\": {}, \"kwargs\": \
             {{\"tasks\": {}}}, \"options\": {options}}}",
            partial.map_or("[]", JsonPart::as_str),
            tasks.as_str()
        ))
    }

    /// `chord(header, body, partial_args=())`.
    fn chord(&self) -> Made {
        let (header, body) = (self.given(0, "header")?, self.given(1, "body")?);
        let partial = self.optional(2, "partial_args")?.filter(|args| args.is_array());
        self.send(&format!(
            "{{\"task\": \"celery.chord\", \"subtask_type\": \"chord\", \"args\": {}, \"kwargs\": \
             {{\"header\": {}, \"body\": {}}}, \"options\": {{}}}}",
            partial.map_or("[]", JsonPart::as_str),
            header.as_str(),
            body.as_str()
        ))
    }

    /// `chunks(task, it, n)`: a group of lots.
    fn chunks(&self) -> Made {
        let (task, items) = (self.given(0, "task")?, self.given(1, "it")?);
        let size = self.given(2, "n")?;
        self.send(&format!(
            "{{\"task\": \"celery.chunks\", \"subtask_type\": \"chunks\", \"kwargs\": {{\"task\": \
             {}, \"it\": {}, \"n\": {}}}, \"options\": {{}}}}",
            task.as_str(),
            items.as_str(),
            size.as_str()
        ))
    }

    /// Sends a canvas; its result is the tuple of what it will come to.
    fn send(&self, signature: &str) -> Made {
        let signature = written(signature.to_owned());
        let invocation = self.invocation;
        let caller = outbox_caller(&invocation.id, invocation.replaced_task_nesting);
        let result = frozen_result(&signature, &caller, 0);
        let result =
            result.map_err(|error| Failure::new("builtins", "ValueError", &error.to_string()))?;
        Ok(over(Outcome::Succeed(result), vec![OutboxItem::Signature(signature)]))
    }

    /// `map(task, it)` and `starmap(task, it)`.
    fn map(&self, is_star: bool) -> Made {
        let (task, items) = (self.given(0, "task")?, self.given(1, "it")?);
        let name = task.as_text().or_else(|| task.member("task").and_then(JsonPart::as_text));
        let wrong = |text: &str| Failure::new("builtins", "TypeError", text);
        let name = name.ok_or_else(|| wrong("a map has a signature of its task"))?;
        let mut calls = Vec::new();
        let mut all_are_lists = true;
        let is_list = items.each_element(|item| {
            all_are_lists &= !is_star || item.is_array();
            calls.push(if is_star {
                item.to_json()
            } else {
                written(format!("[{}]", item.as_str()))
            });
        });
        match (is_list, all_are_lists) {
            (true, true) => Ok(Builtin::Map { task: (&*name).into(), calls }),
            (true, false) => Err(wrong("argument after * must be an iterable")),
            (false, _) => Err(wrong("the items of a map are a list")),
        }
    }

    /// `unlock_chord(group_id, callback, interval=1, max_retries=None, result=[…])`.
    fn unlock(&self) -> Made {
        let (group, body) = (self.given(0, "group_id")?, self.given(1, "callback")?);
        let interval = self.optional(2, "interval")?.and_then(JsonPart::as_number);
        let interval = interval.and_then(|wait| Duration::try_from_secs_f64(wait).ok());
        let max_retries = self.optional(3, "max_retries")?.filter(|most| !most.is_null());
        let results = self.given(4, "result")?;
        let mut members = Vec::new();
        results.each_element(|tuple| leaves(tuple, &mut members, 0));
        let text = group.as_text().unwrap_or_default();
        let saved = format!("{{\"result\": [[{}, null], {}]}}", group.as_str(), results.as_str());
        Ok(Builtin::Unlock(Box::new(Unlock {
            members,
            group: (&*text).into(),
            body: body.to_json(),
            saved,
            interval: interval.unwrap_or(UNLOCK_INTERVAL),
            max_retries: max_retries.map(JsonPart::to_json),
        })))
    }
}

/// How often it is asked for the members of a chord, unless its sender says otherwise.
const UNLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// Groups inside of groups, when their members are gathered.
const DEPTH_MAX: u32 = 32;

/// The calls whose results a result's tuple is made of.
fn leaves(tuple: JsonPart<'_>, ids: &mut Vec<TaskId>, depth: u32) {
    let mut parts = Vec::new();
    tuple.each_element(|part| parts.push(part));
    let [own, children] = parts.as_slice() else { return };
    if children.is_null() {
        let mut own_parts = Vec::new();
        own.each_element(|part| own_parts.push(part));
        let id = own_parts.first().and_then(|id| id.as_text());
        ids.extend(id.map(|id| TaskId::from(&*id)));
    } else if depth < DEPTH_MAX {
        children.each_element(|child| leaves(child, ids, depth + 1));
    }
}

fn over(outcome: Outcome, outbox: Vec<OutboxItem>) -> Builtin {
    let mut report = Report::of(outcome);
    report.outbox = outbox;
    Builtin::Over(Box::new(report))
}

/// What an attempt put in its outbox, with all ids fixed, when it is one of several of the same call
/// whose outboxes leave together: `caller` is whose ids they have.
pub fn fixed(items: Vec<OutboxItem>, caller: &TaskId) -> Vec<OutboxItem> {
    let fix = |index: u32, signature: &Json| {
        let mut node = Node::parse(signature.as_part()).ok()?;
        freeze(&mut node, &Place::default(), &mut Ids::of_item(caller, index));
        Some(node.to_json())
    };
    (0_u32..)
        .zip(items)
        .map(|(index, item)| match item {
            OutboxItem::Signature(it) => OutboxItem::Signature(fix(index, &it).unwrap_or(it)),
            OutboxItem::Member(it) => OutboxItem::Member(fix(index, &it).unwrap_or(it)),
            item => item,
        })
        .collect()
}

#[cfg(test)]
mod tests;
