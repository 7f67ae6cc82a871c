//! What leaves when a call is over: outbox calls, callbacks, the next link of a chain, errbacks.
//!
//! Ids are part of the contract. A signature carries the id that its result will be waited for by,
//! so that id is used; where it carries none, one is derived from the call's own id, so that a call
//! that is settled twice sends the same messages.

use lovage_core::{
    Child, Invocation, Json, JsonPart, OutboxCall, Publication, QueueName, TaskId, Timestamp,
    outbox_task_id,
};

use crate::CloseSettings;
use crate::outgoing::Outgoing;
use crate::routing::{TaskRoute, route};
use crate::signature::{Signature, list};

/// What leaves after a call, and what its result document will list as its children.
#[derive(Default)]
pub(crate) struct FollowUps {
    pub(crate) publications: Vec<Publication>,
    pub(crate) children: Vec<Child>,
}

/// A call that is over, as the source of others.
pub(crate) struct Source<'a> {
    pub(crate) invocation: &'a Invocation,
    pub(crate) settings: &'a CloseSettings,
    pub(crate) now: Timestamp,
}

/// What a signature is sent with besides its own.
struct Sending<'a> {
    id: &'a TaskId,
    /// The group that it leaves in, and its place there.
    member: Option<(&'a TaskId, u32)>,
    /// What comes before its own arguments, unless it is immutable.
    first: JsonPart<'a>,
    /// What is to follow it.
    chain: JsonPart<'a>,
}

impl Source<'_> {
    /// After success: the calls of its outbox, its callbacks, the next link of its chain.
    pub(crate) fn after_success(&self, result: &Json, calls: &[OutboxCall]) -> FollowUps {
        let mut leaving = FollowUps::default();
        for call in calls {
            leaving.children.push(Child::Task(call.id.clone()));
            leaving.publications.push(self.outbox_call(call));
        }
        let links = &self.invocation.links;
        let result = result.as_part();
        let callbacks = links.callbacks.as_ref().and_then(|links| list(links.as_part()));
        match callbacks.as_deref() {
            None | Some([]) => {}
            Some([only]) => {
                let id = self.follow_up_id(only, "callback", 0);
                let chain = JsonPart::NULL;
                let sending = Sending { id: &id, member: None, first: result, chain };
                leaving.publications.push(self.publication(only, &sending));
                leaving.children.push(Child::Task(id));
            }
            Some(several) => self.send_group(&mut leaving, several, "callback", result),
        }
        if let Some(chain) = &links.chain {
            self.next_link(&mut leaving, chain.as_part(), result);
        }
        leaving
    }

    /// After failure: the errbacks, each with the failed call's id. They leave as one group, also
    /// when there is only one.
    pub(crate) fn after_failure(&self) -> FollowUps {
        let mut leaving = FollowUps::default();
        let links = self.invocation.links.errbacks.as_ref();
        let errbacks = links.and_then(|links| list(links.as_part())).unwrap_or_default();
        if !errbacks.is_empty() {
            let id = Json::string(self.invocation.id.as_str());
            self.send_group(&mut leaving, &errbacks, "errback", id.as_part());
        }
        leaving
    }

    /// The last element of a chain is the next link; those before it travel on with it.
    fn next_link(&self, leaving: &mut FollowUps, chain: JsonPart<'_>, result: JsonPart<'_>) {
        let mut elements = Vec::new();
        chain.each_element(|element| elements.push(element));
        let Some(link) = elements.pop().and_then(Signature::of) else { return };
        let rest = joined(&elements);
        let id = self.follow_up_id(&link, "chain", 0);
        let sending = Sending { id: &id, member: None, first: result, chain: rest.as_part() };
        leaving.publications.push(self.publication(&link, &sending));
        leaving.children.push(Child::Task(id));
    }

    fn send_group(
        &self,
        leaving: &mut FollowUps,
        signatures: &[Signature<'_>],
        role: &str,
        first: JsonPart<'_>,
    ) {
        let group = self.derived_id(&format!("{role}-group"), 0);
        let mut members = Vec::with_capacity(signatures.len());
        for (index, signature) in (0_u32..).zip(signatures) {
            let id = self.follow_up_id(signature, role, index);
            let member = Some((&group, index));
            let sending = Sending { id: &id, member, first, chain: JsonPart::NULL };
            leaving.publications.push(self.publication(signature, &sending));
            members.push(id);
        }
        leaving.children.push(Child::Group { id: group, members });
    }

    /// The message of one signature.
    fn publication(&self, signature: &Signature<'_>, sending: &Sending<'_>) -> Publication {
        let Sending { id, member, first, chain } = *sending;
        let mut arguments = if signature.immutable { Vec::new() } else { vec![first] };
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
        outgoing.group = member.map(|(group, _)| group.as_str()).or(group.as_deref());
        outgoing.group_index =
            member.map(|(_, index)| index.into()).or_else(|| number("group_index").map(whole));
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
        outgoing.reply_to = reply_to.as_deref();
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

    fn follow_up_id(&self, signature: &Signature<'_>, role: &str, index: u32) -> TaskId {
        let given = signature.option_text("task_id").map(|id| TaskId::from(&*id));
        given.unwrap_or_else(|| self.derived_id(role, index))
    }

    /// An id that depends on the call and the place alone, and is none of its outbox's.
    fn derived_id(&self, role: &str, index: u32) -> TaskId {
        let source = TaskId::from(format!("{}\0{role}", self.invocation.id));
        outbox_task_id(&source, index)
    }
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
