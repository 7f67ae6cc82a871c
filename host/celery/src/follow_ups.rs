//! What leaves when a call is over: outbox calls, callbacks, the next link of a chain, errbacks.
//!
//! Ids are part of the contract. A signature carries the id that its result will be waited for by,
//! so that id is used; where it carries none, one is derived from the call's own id, so that a call
//! that is settled twice sends the same messages.

use lovage_core::{
    Child, ChordMember, Failure, Invocation, Json, JsonPart, OutboxCall, OutboxItem, Publication,
    QueueName, ResultRecord, TaskId, Timestamp, outbox_caller,
};

use crate::CloseSettings;
use crate::canvas::{Canvas, ChordStart, Ids, Kind, Node, Place, REPLACED, With, complete_chord};
use crate::errback::Told;
use crate::outgoing::Outgoing;
use crate::routing::{TaskRoute, route};
use crate::signature::Signature;

/// What leaves after a call, and what its result document will list as its children.
#[derive(Default)]
pub(crate) struct FollowUps {
    pub(crate) publications: Vec<Publication>,
    pub(crate) children: Vec<Child>,
    /// The chords among what leaves.
    pub(crate) chords: Vec<ChordStart>,
    /// Members that join the call's own chord.
    pub(crate) joining: Vec<TaskId>,
    /// What others are told: those behind a chord that failed.
    pub(crate) results: Vec<ResultRecord>,
    /// Members of other chords that are over without having run.
    pub(crate) members: Vec<ChordMember>,
}

/// A call that is over, as the source of others.
pub(crate) struct Source<'a> {
    pub(crate) invocation: &'a Invocation,
    pub(crate) settings: &'a CloseSettings,
    pub(crate) now: Timestamp,
}

impl Source<'_> {
    /// After success: its outbox, its callbacks, the next link of its chain.
    pub(crate) fn after_success(&self, result: &Json, calls: &[OutboxItem]) -> FollowUps {
        let mut leaving = self.outbox(calls);
        let links = &self.invocation.links;
        let callbacks = links.callbacks.as_ref().map(nodes).unwrap_or_default();
        match callbacks.len() {
            0 => {}
            1 => self.send_each(&mut leaving, callbacks, "callback", result),
            _ => {
                // Calls leave as one group, canvases each by itself.
                let is_group = |node: &Node| matches!(node.kind, Kind::Group(_));
                let (groups, calls): (Vec<_>, Vec<_>) = callbacks.into_iter().partition(is_group);
                self.send_each(&mut leaving, groups, "callback-canvas", result);
                self.send_group(&mut leaving, calls, "callback", result);
            }
        }
        if let Some(chain) = &links.chain {
            self.next_link(&mut leaving, chain, result);
        }
        leaving
    }

    /// What the task itself sent.
    pub(crate) fn outbox(&self, items: &[OutboxItem]) -> FollowUps {
        let mut leaving = FollowUps::default();
        let caller = outbox_caller(&self.invocation.id, self.invocation.replaced_task_nesting);
        for (index, item) in (0_u32..).zip(items) {
            match item {
                OutboxItem::Call(call) => {
                    leaving.children.push(Child::Task(call.id.clone()));
                    leaving.publications.push(self.outbox_call(call));
                }
                OutboxItem::Body { group, body, members } => {
                    complete_chord(self, &mut leaving, (group, body), members);
                }
                OutboxItem::Signature(signature) | OutboxItem::Member(signature) => {
                    // The executor has read it before; what it says is checked here all the same.
                    let Ok(mut node) = Node::parse(signature.as_part()) else { continue };
                    let mut place = Place::default();
                    if let OutboxItem::Member(_) = item {
                        place = self.own_place(None);
                    }
                    let ids = &mut Ids::of_item(&caller, index);
                    node.options.remove("root_id");
                    let joins = matches!(item, OutboxItem::Member(_));
                    let mut canvas = Canvas { source: self, leaving: &mut leaving };
                    let result = canvas.send(node, &place, ids, With::default());
                    let child = child_of(result.as_part());
                    if let (true, Some(Child::Task(id) | Child::Group { id, .. })) = (joins, &child)
                    {
                        leaving.joining.push(id.clone());
                    }
                    leaving.children.extend(child);
                }
            }
        }
        leaving
    }

    /// What takes the place of the call: under its id, in its group and chord, followed by what was
    /// to follow it.
    pub(crate) fn replacement(&self, signature: &Json, leaving: &mut FollowUps) {
        let Ok(mut node) = Node::parse(signature.as_part()) else { return };
        match &mut node.kind {
            Kind::Group(_) => node = into_chord(node),
            // What follows the task follows all of the group at the chain's end.
            Kind::Chain(links)
                if matches!(links.last(), Some(Node { kind: Kind::Group(_), .. })) =>
            {
                links.push(accumulate());
            }
            _ => {}
        }
        let links = &self.invocation.links;
        for (name, link) in [("link", &links.callbacks), ("link_error", &links.errbacks)] {
            if let Some(link) = link {
                node.options.append(name, link.as_part());
            }
        }
        let chain: Vec<_> = links.chain.as_ref().map(parts).unwrap_or_default();
        let nesting = self.invocation.replaced_task_nesting.saturating_add(1);
        let seed = outbox_caller(&self.invocation.id, nesting);
        node.has_replaced(nesting);
        let ids = &mut Ids::of_role(&seed, "replace");
        let place = self.own_place(Some(self.invocation.id.clone()));
        let mut canvas = Canvas { source: self, leaving };
        canvas.send(node, &place, ids, With { first: None, chain: &chain });
    }

    /// Where the call stands itself.
    fn own_place(&self, id: Option<TaskId>) -> Place {
        let index = self.invocation.group_index.and_then(|index| usize::try_from(index).ok());
        let group = self.invocation.group.clone();
        let member = group.map(|group| (group, index.unwrap_or_default()));
        Place { id, member, chord: self.invocation.links.chord.clone() }
    }

    /// After failure: the errbacks, each with the failed call's id. They leave as one group, also
    /// when there is only one.
    pub(crate) fn after_failure(&self, failure: &Failure) -> FollowUps {
        let mut leaving = FollowUps::default();
        if let Some(errbacks) = &self.invocation.links.errbacks {
            let told = Told::of(self.invocation, failure);
            self.errbacks(&mut leaving, errbacks.as_part(), &told);
        }
        leaving
    }

    /// The errbacks of a call that failed: this one, or the body of a chord of its.
    pub(crate) fn errbacks(&self, leaving: &mut FollowUps, list: JsonPart<'_>, failed: &Told) {
        let id = Json::string(failed.id.as_str());
        let role = if failed.id == self.invocation.id {
            "errback".into()
        } else {
            format!("errback\0{}", failed.id)
        };
        let mut errbacks = nodes(&list.to_json());
        for errback in errbacks.iter_mut().filter(|errback| !errback.immutable) {
            let headers = failed.headers(errback.options.get("headers"));
            errback.options.set("headers", headers);
        }
        self.send_group(leaving, errbacks, &role, &id);
    }

    /// The last element of a chain is the next link; those before it travel on with it.
    fn next_link(&self, leaving: &mut FollowUps, chain: &Json, result: &Json) {
        let mut elements = parts(chain);
        let Some(mut link) = elements.pop().and_then(|link| Node::parse(link.as_part()).ok())
        else {
            return;
        };
        if let (Kind::Call { .. }, []) = (&link.kind, elements.as_slice()) {
            // Celery's last link says that nothing follows.
            link.options.or_set("chain", Json::empty_array);
        }
        let ids = &mut Ids::of_role(&self.invocation.id, "chain");
        let mut canvas = Canvas { source: self, leaving };
        let with = With { first: Some(result), chain: &elements };
        let sent = canvas.send(link, &Place::default(), ids, with);
        leaving.children.extend(child_of(sent.as_part()));
    }

    fn send_each(&self, leaving: &mut FollowUps, nodes: Vec<Node>, role: &str, first: &Json) {
        let ids = &mut Ids::of_role(&self.invocation.id, role);
        for node in nodes {
            let mut canvas = Canvas { source: self, leaving };
            let sent = canvas.send(node, &Place::default(), ids, With::first(first));
            leaving.children.extend(child_of(sent.as_part()));
        }
    }

    fn send_group(&self, leaving: &mut FollowUps, nodes: Vec<Node>, role: &str, first: &Json) {
        if nodes.is_empty() {
            return;
        }
        let mut group = Node::call("celery.group", Json::empty_object());
        group.kind = Kind::Group(nodes);
        self.send_each(leaving, vec![group], &format!("{role}-group"), first);
    }

    /// The message of one signature.
    pub(crate) fn publication(
        &self,
        signature: &Signature<'_>,
        id: &TaskId,
        first: Option<JsonPart<'_>>,
        chain: JsonPart<'_>,
    ) -> Publication {
        let mut arguments = Vec::new();
        arguments.extend(first.filter(|_| !signature.immutable));
        signature.args.each_element(|element| arguments.push(element));
        let arguments = joined(&arguments);
        let text = |name| signature.option_text(name);
        let group = text("group_id");
        let (queue, exchange, routing_key) = (text("queue"), text("exchange"), text("routing_key"));
        let reply_to = text("reply_to");
        let stamps = signature.stamps();
        let stamps_object = stamps.as_ref().and_then(|(_, text)| JsonPart::parse(text).ok());
        let number = |name| signature.option(name).and_then(JsonPart::as_number);
        let link = |name| signature.option(name).unwrap_or(JsonPart::NULL);
        let queue = queue.as_deref().unwrap_or(self.settings.default_queue.as_str());
        let mut outgoing =
            Outgoing::new(&signature.task, id.as_str(), queue, &self.settings.hostname);
        outgoing.root_id = self.root_id();
        outgoing.parent_id = Some(self.invocation.id.as_str());
        outgoing.group = group.as_deref();
        outgoing.group_index = number("group_index").map(whole);
        let nesting = signature.option(REPLACED).and_then(|nesting| nesting.as_str().parse().ok());
        outgoing.replaced_task_nesting = nesting.unwrap_or(0);
        outgoing.eta = signature.eta(self.now);
        outgoing.expires = signature.expires(self.now);
        outgoing.time_limit = [link("time_limit"), link("soft_time_limit")];
        outgoing.shadow = link("shadow");
        outgoing.ignore_result = signature.option("ignore_result").and_then(JsonPart::as_bool);
        if let (Some((names, _)), Some(stamps)) = (&stamps, stamps_object) {
            (outgoing.stamped_headers, outgoing.stamps) = (*names, stamps);
        }
        outgoing.headers = signature.option("headers").unwrap_or(JsonPart::EMPTY_OBJECT);
        outgoing.args = arguments.as_part();
        outgoing.kwargs = signature.kwargs;
        outgoing.callbacks = link("link");
        outgoing.errbacks = link("link_error");
        outgoing.chain = chain;
        outgoing.chord = link("chord");
        outgoing.reply_to = reply_to.as_deref().or(self.invocation.reply_to.as_deref());
        outgoing.exchange = exchange.as_deref().unwrap_or_default();
        outgoing.routing_key = routing_key.as_deref().unwrap_or(queue);
        let is_placed = text("queue").is_some() || exchange.is_some() || routing_key.is_some();
        if let (false, Some(route)) = (is_placed, self.route(&signature.task)) {
            (outgoing.exchange, outgoing.routing_key) = (&route.exchange, &route.routing_key);
        }
        outgoing.priority = number("priority").map_or(0, priority);
        outgoing.publication(self.now)
    }

    fn outbox_call(&self, call: &OutboxCall) -> Publication {
        let CloseSettings { default_queue, hostname, .. } = self.settings;
        let mut outgoing = outgoing_call(call, self.now, default_queue, hostname);
        if let (None, Some(route)) = (&call.queue, self.route(call.task.as_str())) {
            (outgoing.exchange, outgoing.routing_key) = (&route.exchange, &route.routing_key);
        }
        outgoing.root_id = self.root_id();
        outgoing.parent_id = Some(self.invocation.id.as_str());
        outgoing.publication(self.now)
    }

    /// Where calls of a task go that name no place.
    fn route(&self, task: &str) -> Option<&TaskRoute> {
        route(&self.settings.routes, task)
    }

    /// The root of the tree; a call without one is its own.
    fn root_id(&self) -> &str {
        self.invocation.root_id.as_ref().unwrap_or(&self.invocation.id).as_str()
    }
}

/// The signatures of a list, or the one that stands in its place; what is none is passed over.
fn nodes(list: &Json) -> Vec<Node> {
    parts(list).iter().filter_map(|part| Node::parse(part.as_part()).ok()).collect()
}

/// The elements of a list.
fn parts(list: &Json) -> Vec<Json> {
    let mut parts = Vec::new();
    let is_list = list.as_part().each_element(|element| parts.push(element.to_json()));
    if !is_list && list.is_object() {
        parts.push(list.clone());
    }
    parts
}

/// What makes one result of a group's.
fn accumulate() -> Node {
    Node::call("celery.accumulate", crate::opened::written("{\"index\": 0}".into()))
}

/// A group that takes a call's place: its results come together under the call's id.
fn into_chord(group: Node) -> Node {
    let Kind::Group(header) = group.kind else { return group };
    let body = accumulate();
    let mut options = group.options;
    options.remove("task_id");
    Node {
        kind: Kind::Chord { header, body: Box::new(body) },
        args: group.args,
        kwargs: Json::empty_object(),
        options,
        immutable: false,
    }
}

/// What a result's tuple is as somebody's child.
fn child_of(tuple: JsonPart<'_>) -> Option<Child> {
    let mut outer = Vec::new();
    tuple.each_element(|element| outer.push(element));
    let [own, children] = outer.as_slice() else { return None };
    let mut inner = Vec::new();
    own.each_element(|element| inner.push(element));
    let id = TaskId::from(&*inner.first()?.as_text()?);
    if children.is_null() {
        return Some(Child::Task(id));
    }
    let mut members = Vec::new();
    children.each_element(|child| match child_of(child) {
        Some(Child::Task(id) | Child::Group { id, .. }) => members.push(id),
        None => {}
    });
    Some(Child::Group { id, members })
}

/// The message of a call that nobody's task sends: a client's own. Times count from `now`; `origin`
/// says who sends it, for people.
pub fn call_message(
    call: &OutboxCall,
    now: Timestamp,
    default_queue: &QueueName,
    origin: &str,
) -> Publication {
    outgoing_call(call, now, default_queue, origin).publication(now)
}

fn outgoing_call<'a>(
    call: &'a OutboxCall,
    now: Timestamp,
    default_queue: &'a QueueName,
    origin: &'a str,
) -> Outgoing<'a> {
    let queue = call.queue.as_ref().unwrap_or(default_queue);
    let mut outgoing = Outgoing::new(call.task.as_str(), call.id.as_str(), queue.as_str(), origin);
    outgoing.eta = call.countdown.map(|countdown| now.after(countdown));
    outgoing.expires = call.expires.map(|expires| now.after(expires));
    outgoing.ignore_result = Some(call.ignore_result);
    outgoing.args = call.args.as_part();
    outgoing.kwargs = call.kwargs.as_part();
    outgoing.headers = call.headers.as_ref().map_or(JsonPart::EMPTY_OBJECT, Json::as_part);
    outgoing.priority = call.priority.unwrap_or(0);
    outgoing
}

/// An array of parts.
fn joined(elements: &[JsonPart<'_>]) -> Json {
    let mut text = String::from("[");
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        text.push_str(element.as_str());
    }
    text.push(']');
    crate::opened::written(text)
}

#[expect(clippy::cast_possible_truncation, reason = "a float is cut to whole numbers")]
fn whole(number: f64) -> i64 {
    number as i64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn priority(number: f64) -> u8 {
    number as u8
}
