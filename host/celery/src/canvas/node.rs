//! Signatures as values.

use lovage_core::{Json, JsonPart};

use super::{CALLS_MAX, DEPTH_MAX, SignatureError};
use crate::outgoing::Object;

/// The option, and the header, that counts how often a task under one id was replaced.
pub(crate) const REPLACED: &str = "replaced_task_nesting";

/// A signature of any form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Arguments that it already has; of a chain they are its first link's, of a group its members'.
    pub(crate) args: Vec<Json>,
    pub(crate) kwargs: Json,
    pub(crate) options: Options,
    pub(crate) immutable: bool,
}

/// What a signature is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// One call of the task of this name; the type that Celery notes for some.
    Call { task: String, subtask_type: Option<String> },
    /// One after the other.
    Chain(Vec<Node>),
    /// All at once.
    Group(Vec<Node>),
    /// All at once, and then the body.
    Chord { header: Vec<Node>, body: Box<Node> },
}

/// A signature's options, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Options(Vec<(String, Json)>);

impl Options {
    fn parse(part: Option<JsonPart<'_>>) -> Self {
        let mut options = Vec::new();
        if let Some(part) = part {
            part.each_quoted_member(|name, value| {
                let name = JsonPart::parse(name).ok().and_then(JsonPart::as_text);
                if let Some(name) = name {
                    options.push((name.into_owned(), value.to_json()));
                }
            });
        }
        Self(options)
    }

    /// An option that is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value).filter(|value| value.as_str() != "null")
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name)?.as_part().as_text()?.into_owned())
    }

    pub(crate) fn set(&mut self, name: &str, value: Json) {
        self.remove(name);
        self.0.push((name.into(), value));
    }

    /// Sets what is not there.
    pub(crate) fn or_set(&mut self, name: &str, value: impl FnOnce() -> Json) {
        if self.get(name).is_none() {
            self.set(name, value());
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Puts signatures behind those that a list (`link`, `link_error`) has; one that is there already
    /// is not put there twice.
    pub(crate) fn append(&mut self, name: &str, more: JsonPart<'_>) {
        let mut list = Vec::new();
        for part in self.get(name).map(Json::as_part).into_iter().chain([more]) {
            if !part.each_element(|element| list.push(element.to_json())) && part.is_object() {
                list.push(part.to_json());
            }
        }
        let mut unique: Vec<Json> = Vec::new();
        for element in list {
            if !unique.contains(&element) {
                unique.push(element);
            }
        }
        if !unique.is_empty() {
            self.set(name, Json::array(&unique));
        }
    }

    /// What `other` has and this has not.
    pub(crate) fn inherit(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            self.or_set(name, || value.clone());
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        let mut text = String::new();
        let mut object = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
        for (name, value) in &self.0 {
            object.json(name, value.as_str());
        }
        object.end();
        crate::opened::written(text)
    }
}

impl Node {
    /// Reads a signature.
    pub(crate) fn parse(part: JsonPart<'_>) -> Result<Self, SignatureError> {
        let mut calls = 0;
        parse(part, 0, &mut calls)
    }

    /// A call of a task of Celery's own.
    pub(crate) fn call(task: &str, kwargs: Json) -> Self {
        Self {
            kind: Kind::Call { task: task.into(), subtask_type: None },
            args: Vec::new(),
            kwargs,
            options: Options::default(),
            immutable: false,
        }
    }

    /// The signature in Celery's JSON.
    pub(crate) fn to_json(&self) -> Json {
        let list = |nodes: &[Self]| {
            let nodes: Vec<_> = nodes.iter().map(Self::to_json).collect();
            Json::array(&nodes)
        };
        let tasks = |nodes| format!("{{\"tasks\": {}}}", list(nodes));
        let kwargs;
        let (task, kwargs, subtask_type) = match &self.kind {
            Kind::Call { task, subtask_type } => {
                (task.as_str(), self.kwargs.as_str(), subtask_type.as_deref())
            }
            Kind::Chain(nodes) => {
                kwargs = tasks(nodes);
                ("celery.chain", kwargs.as_str(), Some("chain"))
            }
            Kind::Group(nodes) => {
                kwargs = tasks(nodes);
                ("celery.group", kwargs.as_str(), Some("group"))
            }
            Kind::Chord { header, body } => {
                kwargs = format!(
                    "{{\"header\": {}, \"body\": {}, \"kwargs\": {}}}",
                    list(header),
                    body.to_json(),
                    self.kwargs
                );
                ("celery.chord", kwargs.as_str(), Some("chord"))
            }
        };
        let mut text = String::new();
        let mut object = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
        object.text("task", Some(task));
        object.json("args", Json::array(&self.args).as_str());
        object.json("kwargs", kwargs);
        object.json("options", self.options.to_json().as_str());
        object.text("subtask_type", subtask_type);
        object.json("immutable", if self.immutable { "true" } else { "false" });
        object.end();
        crate::opened::written(text)
    }

    /// Notes in the call whose result it will be that it takes another task's place.
    pub(crate) fn has_replaced(&mut self, nesting: u32) {
        match &mut self.kind {
            Kind::Call { .. } | Kind::Group(_) => {
                self.options.set(REPLACED, crate::opened::written(nesting.to_string()));
            }
            Kind::Chain(links) => {
                if let Some(last) = links.last_mut() {
                    last.has_replaced(nesting);
                }
            }
            Kind::Chord { body, .. } => body.has_replaced(nesting),
        }
    }

    /// Adds errbacks where they are called from: a chain's are its links', a chord's are its body's.
    pub(crate) fn link_error(&mut self, errbacks: JsonPart<'_>) {
        match &mut self.kind {
            Kind::Call { .. } | Kind::Group(_) => self.options.append("link_error", errbacks),
            Kind::Chain(links) => links.iter_mut().for_each(|link| link.link_error(errbacks)),
            Kind::Chord { body, .. } => body.link_error(errbacks),
        }
    }

    /// How many members of a chord it is: those that come back to be counted.
    pub(crate) fn members(&self) -> u64 {
        match &self.kind {
            Kind::Call { .. } => 1,
            Kind::Chain(nodes) => nodes.last().map_or(0, Self::members),
            Kind::Group(nodes) => nodes.iter().map(Self::members).sum(),
            Kind::Chord { body, .. } => body.members(),
        }
    }
}

fn parse(part: JsonPart<'_>, depth: u32, calls: &mut u32) -> Result<Node, SignatureError> {
    if depth > DEPTH_MAX {
        return Err(SignatureError::Deep);
    }
    *calls += 1;
    if *calls > CALLS_MAX {
        return Err(SignatureError::Many);
    }
    let malformed = SignatureError::Malformed;
    let task = part.member("task").and_then(JsonPart::as_text);
    let task = task.ok_or(malformed("a signature is an object that names its task"))?;
    let subtask_type = part.member("subtask_type").and_then(JsonPart::as_text);
    let kwargs =
        part.member("kwargs").filter(|it| it.is_object()).unwrap_or(JsonPart::EMPTY_OBJECT);
    let mut args = Vec::new();
    if let Some(given) = part.member("args") {
        given.each_element(|element| args.push(element.to_json()));
    }
    let mut options = Options::parse(part.member("options"));
    let immutable = part.member("immutable").and_then(JsonPart::as_bool) == Some(true);
    let form = subtask_type.as_deref().or_else(|| task.strip_prefix("celery."));
    let mut inner = |part: Option<JsonPart<'_>>| nodes(part, depth, calls);
    let mut own_kwargs = Json::empty_object();
    let kind = match form {
        Some("chain") => Kind::Chain(inner(kwargs.member("tasks"))?),
        Some("group") => Kind::Group(inner(kwargs.member("tasks"))?),
        Some("chord") => {
            let header = inner(kwargs.member("header"))?;
            let group = kwargs.member("header").and_then(|header| header.member("options"));
            if let Some(id) = group.and_then(|options| options.member("task_id")) {
                options.set("task_id", id.to_json());
            }
            let body = kwargs.member("body").ok_or(malformed("a chord has a body"))?;
            let more = kwargs.member("kwargs").filter(|more| more.is_object());
            own_kwargs = more.unwrap_or(JsonPart::EMPTY_OBJECT).to_json();
            Kind::Chord { header, body: Box::new(parse(body, depth + 1, calls)?) }
        }
        Some("chunks") => Kind::Group(chunks(kwargs, calls)?),
        _ => {
            own_kwargs = kwargs.to_json();
            let subtask_type = subtask_type.map(std::borrow::Cow::into_owned);
            Kind::Call { task: task.into_owned(), subtask_type }
        }
    };
    Ok(Node { kind, args, kwargs: own_kwargs, options, immutable })
}

/// A list of signatures, or a group in its place.
fn nodes(
    part: Option<JsonPart<'_>>,
    depth: u32,
    calls: &mut u32,
) -> Result<Vec<Node>, SignatureError> {
    let part = part.ok_or(SignatureError::Malformed("a canvas has its tasks in its kwargs"))?;
    if part.is_object() {
        let node = parse(part, depth + 1, calls)?;
        return Ok(match node.kind {
            Kind::Group(nodes) => nodes,
            _ => vec![node],
        });
    }
    let mut elements = Vec::new();
    if !part.each_element(|element| elements.push(element)) {
        return Err(SignatureError::Malformed("a canvas has a list of tasks"));
    }
    elements.into_iter().map(|element| parse(element, depth + 1, calls)).collect()
}

/// Lots of `n` items, each of which is one call of `celery.starmap`.
fn chunks(kwargs: JsonPart<'_>, calls: &mut u32) -> Result<Vec<Node>, SignatureError> {
    let malformed =
        SignatureError::Malformed("chunks have a task, a list of items and their number");
    let (Some(task), Some(items)) = (kwargs.member("task"), kwargs.member("it")) else {
        return Err(malformed);
    };
    let size = kwargs.member("n").and_then(|n| n.as_str().parse::<usize>().ok());
    let size = size.filter(|size| *size > 0).ok_or(malformed.clone())?;
    let mut all = Vec::new();
    if !items.each_element(|item| all.push(item.as_str())) {
        return Err(malformed);
    }
    let lots = all.chunks(size).map(|lot| {
        let text = format!("{{\"task\": {}, \"it\": [{}]}}", task.as_str(), lot.join(", "));
        let mut node = Node::call("celery.starmap", crate::opened::written(text));
        if let Kind::Call { subtask_type, .. } = &mut node.kind {
            *subtask_type = Some("starmap".into());
        }
        node
    });
    let lots: Vec<_> = lots.collect();
    *calls = calls.saturating_add(u32::try_from(lots.len()).unwrap_or(u32::MAX));
    if *calls > CALLS_MAX { Err(SignatureError::Many) } else { Ok(lots) }
}
