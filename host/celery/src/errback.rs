//! What an errback is told.
//!
//! Celery calls an errback in the worker with the failed request, the exception and the traceback when it
//! knows the task there and the task takes that many; else it sends it a call with the failed id. No guest
//! can be called with Python's objects, so here every errback is such a call. The three travel in a
//! header as data, and whoever runs a task that takes three has them put in the id's place. A worker of
//! Celery's passes the header over.

use lovage_core::{Failure, Invocation, Json, JsonPart, TaskId, write_json_string};

use crate::exception;
use crate::opened::written;
use crate::outgoing::Object;
use crate::signature::Signature;

/// The header.
pub(crate) const HEADER: &str = "lovage-errback";

/// Bytes of the failed call's arguments above which an errback is not told them.
const ARGUMENTS_MAX: usize = 16 << 10;

/// A call that failed, as its errbacks are told.
pub(crate) struct Told {
    pub(crate) id: TaskId,
    /// The header's value.
    header: String,
}

impl Told {
    /// A call of this worker's.
    pub(crate) fn of(invocation: &Invocation, failure: &Failure) -> Self {
        let id = &invocation.id;
        let header = header(failure, |request| {
            request.text("id", Some(id.as_str()));
            request.text("task", Some(invocation.task.as_str()));
            let size = invocation.args.as_str().len() + invocation.kwargs.as_str().len();
            if size <= ARGUMENTS_MAX {
                request.json("args", invocation.args.as_str());
                request.json("kwargs", invocation.kwargs.as_str());
            }
            for (name, id) in [
                ("root_id", &invocation.root_id),
                ("parent_id", &invocation.parent_id),
                ("group", &invocation.group),
            ] {
                request.text(name, id.as_ref().map(TaskId::as_str));
            }
            request.json("retries", &invocation.retries.to_string());
        });
        Self { id: id.clone(), header }
    }

    /// The body of a chord, which never ran.
    pub(crate) fn of_body(body: &Signature<'_>, id: &TaskId, failure: &Failure) -> Self {
        let header = header(failure, |request| {
            request.text("id", Some(id.as_str()));
            request.text("task", Some(&body.task));
            request.text("root_id", body.option_text("root_id").as_deref());
            request.text("group", body.option_text("group_id").as_deref());
        });
        Self { id: id.clone(), header }
    }

    /// The headers of an errback that has these.
    pub(crate) fn headers(&self, own: Option<&Json>) -> Json {
        let mut text = String::with_capacity(self.header.len() + 32);
        let own = own.map_or(JsonPart::EMPTY_OBJECT, Json::as_part);
        let mut headers = Object::new(&mut text, own);
        headers.json(HEADER, &self.header);
        headers.end();
        written(text)
    }
}

fn header(failure: &Failure, fill: impl FnOnce(&mut Object<'_, '_>)) -> String {
    let mut text = String::from("{\"request\": ");
    let mut request = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
    fill(&mut request);
    request.end();
    text.push_str(", \"exc\": ");
    exception::push(&mut text, failure);
    text.push_str(", \"tb\": ");
    match &failure.traceback {
        Some(traceback) => write_json_string(&mut text, traceback),
        None => text.push_str("null"),
    }
    text.push('}');
    text
}

/// The arguments of an errback that takes three besides its own: `[request, exc, tb, …]` in place of
/// `[id, …]`. `None` when the call is no errback, or its task takes fewer.
pub fn errback_arguments(invocation: &Invocation, params: usize) -> Option<Json> {
    let told = invocation.errback.as_ref()?.as_part();
    let args = invocation.args.elements()?;
    let named = invocation.kwargs.members()?.len();
    let (_id, own) = args.split_first()?;
    if params < own.len() + named + 3 {
        return None;
    }
    let three = [told.member("request")?, told.member("exc")?, told.member("tb")?];
    let all: Vec<_> = three.iter().map(|part| part.as_str()).chain(own.iter().copied()).collect();
    Some(written(format!("[{}]", all.join(", "))))
}
