//! Which ids everything will have.

use std::collections::VecDeque;

use lovage_core::{Json, TaskId};

use super::Ids;
use super::node::{Kind, Node};

/// Where a signature stands in those around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The id it is to have, where something waits for it under that.
    pub(crate) id: Option<TaskId>,
    /// The group it is a member of, and its place there.
    pub(crate) member: Option<(TaskId, usize)>,
    /// The body that waits for it.
    pub(crate) chord: Option<Json>,
}

/// Gives a signature and everything in it its ids, and answers with its result's tuple.
///
/// A chain is brought into the form in which it is sent: chains inside are laid out, a group that
/// something follows becomes the header of a chord.
pub(crate) fn freeze(node: &mut Node, place: &Place, ids: &mut Ids) -> Json {
    freeze_below(node, place, ids, None)
}

fn freeze_below(node: &mut Node, place: &Place, ids: &mut Ids, parent: Option<&Json>) -> Json {
    match &mut node.kind {
        Kind::Call { .. } => {
            let id = own_id(node, place, ids);
            stand(node, place);
            tuple(&id, parent, None)
        }
        Kind::Group(members) => {
            let own = node.options.text("task_id").map(TaskId::from);
            let group = place.id.clone().or(own).unwrap_or_else(|| ids.make());
            // A group inside of a group is laid out: its members are the outer one's. One at the end of
            // a chain brings along which that is.
            let noted = || Some((node.options.text("group_id")?.into(), 0));
            let outer: Option<(TaskId, usize)> = place.member.clone().or_else(noted);
            let mut children = Vec::new();
            for (index, member) in members.iter_mut().enumerate() {
                let inside =
                    outer.as_ref().map_or_else(|| group.clone(), |(group, _)| group.clone());
                let stands =
                    Place { id: None, member: Some((inside, index)), chord: place.chord.clone() };
                children.push(freeze_below(member, &stands, ids, None));
            }
            node.options.set("task_id", Json::string(group.as_str()));
            tuple(&group, parent, Some(&children))
        }
        Kind::Chain(_) => freeze_chain(node, place, ids, parent),
        Kind::Chord { header, body } => {
            // The id of a chord's signature is its header's; it is waited for by that of its body.
            let own = node.options.remove("task_id");
            let own = own.and_then(|id| Some(TaskId::from(&*id.as_part().as_text()?)));
            // What is said of the chord is said of its body.
            if let Some(errbacks) = node.options.remove("link_error") {
                body.link_error(errbacks.as_part());
            }
            body.options.inherit(&node.options);
            let group = own.unwrap_or_else(|| ids.make());
            let of_body = freeze_below(body, place, ids, None);
            if let (Kind::Call { .. }, None) = (&body.kind, &place.member) {
                body.options.or_set("group_id", || Json::string(group.as_str()));
            }
            let waiting = body.to_json();
            *header = unrolled(std::mem::take(header));
            let mut children = Vec::new();
            for (index, member) in header.iter_mut().enumerate() {
                let chord = Some(waiting.clone());
                let stands = Place { id: None, member: Some((group.clone(), index)), chord };
                children.push(freeze_below(member, &stands, ids, None));
            }
            node.options.set("task_id", Json::string(group.as_str()));
            let of_header = tuple(&group, parent, Some(&children));
            with_parent(&of_body, &of_header)
        }
    }
}

/// A header's groups become its own members, in Celery's order: those of a group backwards.
fn unrolled(header: Vec<Node>) -> Vec<Node> {
    let mut stack: VecDeque<_> = header.into();
    let mut flat = Vec::with_capacity(stack.len());
    while let Some(node) = stack.pop_front() {
        match node.kind {
            Kind::Group(members) => {
                let args = node.args;
                for member in with_args(members, &args) {
                    stack.push_front(member);
                }
            }
            kind => flat.push(Node { kind, ..node }),
        }
    }
    flat
}

/// Each link's parent is the one before it; what is said of the chain is said of its links.
fn freeze_chain(node: &mut Node, place: &Place, ids: &mut Ids, parent: Option<&Json>) -> Json {
    let Kind::Chain(links) = &mut node.kind else { return Json::null() };
    lay_out(links);
    let args = std::mem::take(&mut node.args);
    if let Some(first) = links.first_mut().filter(|first| !first.immutable) {
        first.args.splice(0..0, args);
    }
    let own = node.options.remove("task_id");
    let own = own.and_then(|id| Some(TaskId::from(&*id.as_part().as_text()?)));
    let errbacks = node.options.remove("link_error");
    let callbacks = node.options.remove("link");
    let last = links.len().saturating_sub(1);
    let mut before: Option<Json> = parent.cloned();
    for (at, link) in links.iter_mut().enumerate() {
        if let Some(errbacks) = &errbacks {
            link.link_error(errbacks.as_part());
        }
        let is_last = at == last;
        if let (true, Some(callbacks)) = (is_last, &callbacks) {
            link.options.append("link", callbacks.as_part());
        }
        let stands = if is_last {
            Place { id: place.id.clone().or_else(|| own.clone()), ..place.clone() }
        } else {
            Place::default()
        };
        before = Some(freeze_below(link, &stands, ids, before.as_ref()));
    }
    before.unwrap_or_else(Json::null)
}

/// A call's id: the one it must have, the one it has, or a new one.
fn own_id(node: &mut Node, place: &Place, ids: &mut Ids) -> TaskId {
    let own = node.options.text("task_id").map(TaskId::from);
    let id = place.id.clone().or(own).unwrap_or_else(|| ids.make());
    node.options.set("task_id", Json::string(id.as_str()));
    id
}

/// Notes in a call where it stands.
fn stand(node: &mut Node, place: &Place) {
    if let Some((group, index)) = &place.member {
        node.options.set("group_id", Json::string(group.as_str()));
        node.options.set("group_index", crate::opened::written(index.to_string()));
    }
    if let Some(chord) = &place.chord {
        node.options.set("chord", chord.clone());
    }
}

/// Chains in a chain become its links, a group of one its member, and a group that something follows
/// the header of a chord.
fn lay_out(links: &mut Vec<Node>) {
    let mut flat = Vec::with_capacity(links.len());
    for link in links.drain(..) {
        flatten(link, &mut flat);
    }
    while let Some(link) = flat.pop() {
        let follows = links.last().is_some();
        match (link.kind, follows) {
            (Kind::Group(header), true) => {
                let Some(body) = links.pop() else { continue };
                let kind =
                    Kind::Chord { header: with_args(header, &link.args), body: Box::new(body) };
                let (args, kwargs, options) = (Vec::new(), link.kwargs, link.options);
                links.push(Node { kind, args, kwargs, options, immutable: false });
            }
            (kind, _) => links.push(Node { kind, ..link }),
        }
    }
    links.reverse();
}

fn with_args(mut members: Vec<Node>, args: &[Json]) -> Vec<Node> {
    for member in members.iter_mut().filter(|member| !member.immutable) {
        member.args.splice(0..0, args.iter().cloned());
    }
    members
}

fn flatten(mut link: Node, flat: &mut Vec<Node>) {
    match link.kind {
        Kind::Chain(inner) => {
            let from = flat.len();
            for node in inner {
                flatten(node, flat);
            }
            if let Some(first) = flat.get_mut(from).filter(|first| !first.immutable) {
                first.args.splice(0..0, link.args);
            }
            if let Some(errbacks) = link.options.get("link_error") {
                for node in flat.iter_mut().skip(from) {
                    node.options.append("link_error", errbacks.as_part());
                }
            }
            if let (Some(last), Some(callbacks)) = (flat.last_mut(), link.options.get("link")) {
                last.options.append("link", callbacks.as_part());
            }
        }
        Kind::Group(mut members) if members.len() == 1 => {
            let args = std::mem::take(&mut link.args);
            if let Some(mut only) = members.pop() {
                if !only.immutable {
                    only.args.splice(0..0, args);
                }
                flatten(only, flat);
            }
        }
        kind => flat.push(Node { kind, ..link }),
    }
}

/// `[[id, parent], children]`.
fn tuple(id: &TaskId, parent: Option<&Json>, children: Option<&[Json]>) -> Json {
    let mut text = format!(
        "[[{}, {}], ",
        Json::string(id.as_str()),
        parent.map_or("null", |parent| parent.as_str())
    );
    match children {
        None => text.push_str("null"),
        Some(children) => {
            let children: Vec<_> = children.iter().map(Json::as_str).collect();
            text.push('[');
            text.push_str(&children.join(", "));
            text.push(']');
        }
    }
    text.push(']');
    crate::opened::written(text)
}

/// A result's tuple with a parent at the very beginning of its line of parents.
fn with_parent(result: &Json, parent: &Json) -> Json {
    let mut outer = Vec::new();
    result.as_part().each_element(|element| outer.push(element));
    let [own, children] = outer.as_slice() else { return result.clone() };
    let mut inner = Vec::new();
    own.each_element(|element| inner.push(element));
    let [id, before] = inner.as_slice() else { return result.clone() };
    let parent =
        if before.is_null() { parent.clone() } else { with_parent(&before.to_json(), parent) };
    crate::opened::written(format!("[[{}, {parent}], {}]", id.as_str(), children.as_str()))
}
