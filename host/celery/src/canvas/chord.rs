//! The end of a chord.

use std::borrow::Cow;
use std::collections::HashMap;

use lovage_core::{
    ChordMember, ChordMembers, Failure, Json, JsonPart, ResultRecord, TaskId, TaskState, Timestamp,
};

use super::node::Options;
use super::{Canvas, DEPTH_MAX, Ids, Node, Place, With};
use crate::errback::Told;
use crate::follow_ups::{FollowUps, Source};
use crate::repr;
use crate::signature::{Signature, list};

/// Sends the body, or tells of the first member that failed; whether one did.
pub(crate) fn complete_chord(
    source: &Source<'_>,
    leaving: &mut FollowUps,
    (group, body): (&TaskId, &Json),
    members: &ChordMembers,
) -> bool {
    let entries: Vec<_> = members.entries.iter().filter_map(|entry| Entry::of(entry)).collect();
    let failed = entries.iter().find(|entry| entry.state != "SUCCESS");
    if let Some(entry) = failed {
        let failed = Failed { source, error: entry.error(), cause: entry.cause() };
        failed.tell(leaving, body.as_part(), None, 0);
        return true;
    }
    if let Ok(body) = Node::parse(body.as_part()) {
        let results = members.saved.as_deref().and_then(|saved| nested(saved, &entries));
        let results = results.unwrap_or_else(|| {
            let flat: Vec<_> = entries.iter().map(|entry| entry.result.to_json()).collect();
            Json::array(&flat)
        });
        let ids = &mut Ids::of_role(group, "body");
        let mut canvas = Canvas { source, leaving };
        canvas.send(body, &Place::default(), ids, With::first(&results));
    }
    false
}

/// The results as the chord's sender noted their groups; `None` when one of them is not there.
fn nested(saved: &str, entries: &[Entry<'_>]) -> Option<Json> {
    let by_id: HashMap<_, _> = entries.iter().map(|it| (it.id.as_str(), it.result)).collect();
    let group = JsonPart::parse(saved).ok()?.member("result")?;
    results_of(group, &by_id, 0)
}

/// The result, or the list of results, of a result's tuple.
fn results_of(
    tuple: JsonPart<'_>,
    by_id: &HashMap<&str, JsonPart<'_>>,
    depth: u32,
) -> Option<Json> {
    let mut parts = Vec::new();
    tuple.each_element(|part| parts.push(part));
    let [own, children] = parts.as_slice() else { return None };
    if children.is_null() {
        let mut own_parts = Vec::new();
        own.each_element(|part| own_parts.push(part));
        let id = own_parts.first()?.as_text()?;
        return by_id.get(&*id).map(|result| result.to_json());
    }
    let mut results = Vec::new();
    children.each_element(|child| {
        results.push(if depth < DEPTH_MAX { results_of(child, by_id, depth + 1) } else { None });
    });
    Some(Json::array(&results.into_iter().collect::<Option<Vec<_>>>()?))
}

/// A member as it was counted.
struct Entry<'a> {
    id: String,
    state: String,
    result: JsonPart<'a>,
}

impl<'a> Entry<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut parts = Vec::new();
        JsonPart::parse(text).ok()?.each_element(|part| parts.push(part));
        let [_, id, state, result] = parts.as_slice() else { return None };
        let text = |part: &JsonPart<'_>| part.as_text().map(std::borrow::Cow::into_owned);
        Some(Self { id: text(id)?, state: text(state)?, result: *result })
    }

    /// What a chord says of this member.
    fn error(&self) -> Failure {
        let name = self.result.member("exc_type").and_then(JsonPart::as_text).unwrap_or_default();
        let mut arguments = Vec::new();
        if let Some(message) = self.result.member("exc_message")
            && !message.each_element(|argument| arguments.push(repr::value(argument)))
        {
            arguments.push(repr::value(message));
        }
        let text = format!("Dependency {} raised {name}({})", self.id, arguments.join(", "));
        Failure::new("celery.exceptions", "ChordError", &text)
    }

    /// The member's own failure.
    fn cause(&self) -> Failure {
        let text = |name| self.result.member(name).and_then(JsonPart::as_text);
        let arguments = self.result.member("exc_message").map_or_else(Json::empty_array, |it| {
            if it.is_array() { it.to_json() } else { Json::array([&it.to_json()]) }
        });
        Failure {
            exception_type: text("exc_type").unwrap_or_default().into_owned(),
            exception_module: text("exc_module").map(Cow::into_owned),
            arguments,
            traceback: None,
        }
    }
}

/// A chord that failed, and how its body is told.
struct Failed<'a> {
    source: &'a Source<'a>,
    error: Failure,
    /// The failure of the member that it failed by.
    cause: Failure,
}

impl Failed<'_> {
    /// The failure under the id of the body and of every link behind it, and the body's errbacks. A body
    /// that is a group is told through its members, of what the chord's own member died of.
    fn tell(
        &self,
        leaving: &mut FollowUps,
        body: JsonPart<'_>,
        more: Option<JsonPart<'_>>,
        depth: u32,
    ) {
        let Some(signature) = Signature::of(body) else { return };
        if let Some(inner) = signature.chord_body().filter(|_| depth < DEPTH_MAX) {
            // A chord has the result of its own body, which has the errbacks of both.
            let mut errbacks = Options::default();
            let own = signature.option("link_error");
            own.into_iter().chain(more).for_each(|it| errbacks.append("link_error", it));
            let errbacks = errbacks.get("link_error").map(Json::as_part);
            return self.tell(leaving, inner, errbacks, depth + 1);
        }
        let (source, is_group) = (self.source, body.member("kwargs").filter(|_| depth == 0));
        let is_group = is_group.filter(|_| signature.is_group());
        let failure = if depth == 0 && is_group.is_none() { &self.error } else { &self.cause };
        let state = TaskState::Failure(failure.clone());
        if let Some(members) = is_group.and_then(|kwargs| kwargs.member("tasks")) {
            let errbacks = signature.option("link_error");
            members.each_element(|member| self.tell(leaving, member, errbacks, depth + 1));
        }
        let id = signature.awaited_id();
        let at = source.now;
        leaving.results.extend(id.clone().map(|id| record(&signature, id, &state, at)));
        if let Some(chain) = signature.option("chain") {
            for link in list(chain).unwrap_or_default() {
                leaving.results.extend(link.awaited_id().map(|id| record(&link, id, &state, at)));
            }
            leaving.members.extend(members_of(chain, &state));
        }
        leaving.members.extend(member_of(&signature, &state));
        if let Some(id) = id {
            let mut errbacks = Options::default();
            let own = signature.option("link_error");
            own.into_iter().chain(more).for_each(|it| errbacks.append("link_error", it));
            if let Some(errbacks) = errbacks.get("link_error") {
                let failed = Told::of_body(&signature, &id, failure);
                source.errbacks(leaving, errbacks.as_part(), &failed);
            }
        }
    }
}

fn record(signature: &Signature<'_>, id: TaskId, state: &TaskState, at: Timestamp) -> ResultRecord {
    ResultRecord {
        state: state.clone(),
        at,
        group: signature.option_text("group_id").map(|id| (&*id).into()),
        parent_id: None,
        children: Vec::new(),
        reply_to: signature.option_text("reply_to").map(|to| Box::from(&*to)),
        correlation_id: Some(id.as_str().into()),
        extended: None,
        tenant: None,
        life: None,
        task_id: id,
    }
}

/// The links of a chain that are members of chords: they are over, too, when the chain is.
pub(crate) fn members_of(chain: JsonPart<'_>, state: &TaskState) -> Vec<ChordMember> {
    let links = list(chain).unwrap_or_default();
    links.iter().filter_map(|link| member_of(link, state)).collect()
}

fn member_of(signature: &Signature<'_>, state: &TaskState) -> Option<ChordMember> {
    let body = signature.option("chord")?;
    let group = signature.option_text("group_id")?;
    let index = signature.option("group_index").and_then(|index| index.as_str().parse().ok());
    Some(ChordMember {
        group: TaskId::from(&*group),
        id: signature.awaited_id()?,
        index,
        state: state.clone(),
        body: body.to_json(),
    })
}
