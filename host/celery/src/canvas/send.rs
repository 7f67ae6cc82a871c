//! From frozen signatures to the messages that they are.

use lovage_core::{Json, JsonPart, TaskId};

use super::Ids;
use super::freeze::{Place, freeze};
use super::node::{Kind, Node};
use crate::follow_ups::{FollowUps, Source};
use crate::opened::written;
use crate::signature::Signature;

/// How many members a chord has that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChordStart {
    pub(crate) group: TaskId,
    pub(crate) members: u64,
}

/// What a signature is sent with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct With<'a> {
    /// What comes before its own arguments, unless it is immutable.
    pub(crate) first: Option<&'a Json>,
    /// What follows it, in Celery's order: the next link last.
    pub(crate) chain: &'a [Json],
}

impl<'a> With<'a> {
    /// With what came out before it.
    pub(crate) fn first(first: &'a Json) -> Self {
        Self { first: Some(first), chain: &[] }
    }
}

/// Sends signatures on behalf of a call that is over.
pub(crate) struct Canvas<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) leaving: &'a mut FollowUps,
}

impl Canvas<'_> {
    /// Freezes a signature and sends it. Answers with its result's tuple.
    pub(crate) fn send(
        &mut self,
        mut node: Node,
        place: &Place,
        ids: &mut Ids,
        with: With<'_>,
    ) -> Json {
        let result = freeze(&mut node, place, ids);
        self.send_frozen(node, with.first, with.chain);
        result
    }

    fn send_frozen(&mut self, node: Node, first: Option<&Json>, chain: &[Json]) {
        match node.kind {
            Kind::Call { .. } => self.call(&node, first, chain),
            Kind::Group(members) => {
                let (links, errbacks) = (node.options.get("link"), node.options.get("link_error"));
                for (at, mut member) in members.into_iter().enumerate() {
                    prepend(&mut member, &node.args);
                    // The callback of a group is its first member's, as Celery has it.
                    if let (0, Some(links)) = (at, links) {
                        member.options.append("link", links.as_part());
                    }
                    if let Some(errbacks) = errbacks {
                        member.link_error(errbacks.as_part());
                    }
                    self.send_frozen(member, first, &[]);
                }
            }
            Kind::Chain(mut links) => {
                let mut rest = chain.to_vec();
                rest.extend(links.drain(1.min(links.len())..).rev().map(|link| link.to_json()));
                if let Some(head) = links.pop() {
                    self.send_frozen(head, first, &rest);
                }
            }
            Kind::Chord { mut header, mut body } => {
                if !chain.is_empty() {
                    body.options.set("chain", Json::array(chain));
                }
                let members: u64 = header.iter().map(Node::members).sum();
                if members == 0 {
                    let none = Json::empty_array();
                    return self.send_frozen(*body, Some(&none), &[]);
                }
                let waiting = body.to_json();
                if let Some(group) = node.options.text("task_id") {
                    let group = TaskId::from(group);
                    if !self.source.settings.chords_are_counted {
                        self.unlock(&group, &header, &waiting);
                    }
                    self.leaving.chords.push(ChordStart { group, members });
                }
                for member in &mut header {
                    wait_for(member, &waiting);
                    prepend(member, &node.args);
                }
                for member in header {
                    self.send_frozen(member, first, &[]);
                }
            }
        }
    }

    /// Has somebody ask for the members of a chord until all have ended, as Celery does it.
    fn unlock(&mut self, group: &TaskId, header: &[Node], body: &Json) {
        let mut ids = Ids::of_role(group, "unlock");
        let results = header.iter().map(|member| {
            // They are frozen: this only tells what their results' tuples are.
            freeze(&mut member.clone(), &Place::default(), &mut ids)
        });
        let results: Vec<_> = results.collect();
        let kwargs = format!(
            "{{\"interval\": 1.0, \"max_retries\": null, \"result\": {}}}",
            Json::array(&results)
        );
        let mut unlock = Node::call("celery.chord_unlock", written(kwargs));
        unlock.args = vec![Json::string(group.as_str()), body.clone()];
        unlock.options.set("countdown", written("1".into()));
        unlock.options.set("ignore_result", written("true".into()));
        self.send(unlock, &Place::default(), &mut ids, With::default());
    }

    fn call(&mut self, node: &Node, first: Option<&Json>, chain: &[Json]) {
        let own = node.options.get("chain");
        let chain = if chain.is_empty() { own.cloned() } else { Some(Json::array(chain)) };
        let json = node.to_json();
        let Some(signature) = Signature::of(json.as_part()) else { return };
        let id = TaskId::from(node.options.text("task_id").unwrap_or_default());
        let publication = self.source.publication(
            &signature,
            &id,
            first.map(Json::as_part),
            chain.as_ref().map_or(JsonPart::NULL, Json::as_part),
        );
        self.leaving.publications.push(publication);
    }
}

fn prepend(node: &mut Node, args: &[Json]) {
    if !node.immutable {
        node.args.splice(0..0, args.iter().cloned());
    }
}

/// Has the members of a chord know the body as it is now.
fn wait_for(node: &mut Node, body: &Json) {
    match &mut node.kind {
        Kind::Call { .. } => node.options.set("chord", body.clone()),
        Kind::Chain(links) => {
            if let Some(last) = links.last_mut() {
                wait_for(last, body);
            }
        }
        Kind::Group(members) => members.iter_mut().for_each(|member| wait_for(member, body)),
        Kind::Chord { header, body: inner } => {
            wait_for(inner, body);
            let inner = inner.to_json();
            for member in header {
                wait_for(member, &inner);
            }
        }
    }
}
