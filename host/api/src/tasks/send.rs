//! Sending a call: the message that a Celery producer would send, once per key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lovage_core::{
    Digest, Json as JsonText, OutboxCall, QueueName, Scope, Submission, Submitted, TaskId, TaskRow,
    Tenant,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::{TaskView, wait};
use crate::api::Api;
use crate::auth::Caller;
use crate::backlog;
use crate::body::{Json, Query, read};
use crate::problem::{Code, Problem, ProblemBody};

/// Where a client names the key under which its request happens once.
const KEY_HEADER: &str = "idempotency-key";

/// Bytes of such a key.
const KEY_BYTES_MAX: usize = 255;

/// A call that is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// The task's name.
    task: String,
    /// Positional arguments.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>)]
    args: Option<Box<RawValue>>,
    /// Keyword arguments.
    #[serde(default)]
    #[schema(value_type = Object)]
    kwargs: Option<Box<RawValue>>,
    /// One of the tenant's queues; its default queue, without.
    #[serde(default)]
    queue: Option<String>,
    /// Seconds before it may run.
    #[serde(default)]
    countdown: Option<f64>,
    /// Seconds after which it is no longer wanted.
    #[serde(default)]
    expires: Option<f64>,
    /// 0 to 9, in the broker's own meaning.
    #[serde(default)]
    priority: Option<u8>,
    /// The key under which the call's effect happens once, whoever sends it.
    #[serde(default)]
    idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct SendQuery {
    /// Seconds to wait until the call is over, up to 60.
    wait: Option<f64>,
}

type Answer = (StatusCode, HeaderMap, Json<TaskView>);

/// Sends a call. Under the same `Idempotency-Key` the same body is sent once; another is refused.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = Call,
    params(SendQuery, ("idempotency-key" = Option<String>, Header)),
    responses((status = 200, body = TaskView, description = "It is over."),
        (status = 202, body = TaskView, description = "It was sent."),
        (status = "default", body = ProblemBody)))]
pub(super) async fn send(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<SendQuery>,
    request: Request,
) -> Result<Answer, Problem> {
    caller.needs(Scope::TasksSend)?;
    let key = key(request.headers())?;
    let bytes = read(request).await?;
    let malformed =
        |error: serde_json::Error| Problem::new(Code::MalformedRequest, error.to_string());
    let call: Call = serde_json::from_slice(&bytes).map_err(malformed)?;
    let queue = queue(&api, &caller.tenant, call.queue.as_deref())?;
    let id = TaskId::from(uuid::Uuid::new_v4().to_string());
    let mut call = outbox_call(call, id, queue.clone())?;

    let submission = key.map(|key| Submission {
        tenant: caller.tenant.id.clone(),
        key_hash: hash(key.as_bytes()),
        body_hash: hash(&bytes),
        id: call.id.clone(),
        at: api.ports.clock.now(),
    });
    let submitted = match &submission {
        Some(submission) => api.ports.records.submit(submission).await?,
        None => Submitted::First,
    };
    let mut headers = HeaderMap::new();
    let mut is_to_send = true;
    match submitted {
        Submitted::First => {}
        Submitted::Again { id, is_sent } => {
            call.id = id;
            is_to_send = !is_sent;
            let name = HeaderName::from_static("idempotency-replayed");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        Submitted::Other => {
            return Err(Problem::new(Code::IdempotencyMismatch, "the key names another call"));
        }
    }
    let row = row(&api, &caller, &call, &queue);
    if is_to_send {
        backlog::check(&api, &caller.tenant).await?;
        publish(&api, &call, row.clone()).await?;
        if let Some(submission) = submission {
            api.ports.records.submitted(&submission).await?;
        }
    }
    let row = api.ports.records.task(&caller.tenant.id, &row.id).await?.unwrap_or(row);
    let view = wait(&api, row, query.wait.unwrap_or(0.0)).await?;
    let status = if view.is_over() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, headers, Json(view)))
}

/// Remembers the call, then sends it: one that was sent can always be asked for.
async fn publish(api: &Api, call: &OutboxCall, row: TaskRow) -> Result<(), Problem> {
    api.ports.records.remember(vec![row]).await?;
    let options = &api.options;
    let now = api.ports.clock.now();
    let message = lovage_celery::call_message(call, now, &options.default_queue, &options.hostname);
    Ok(api.ports.broker.publish(&[message]).await?)
}

fn row(api: &Api, caller: &Caller, call: &OutboxCall, queue: &QueueName) -> TaskRow {
    let now = api.ports.clock.now();
    TaskRow {
        tenant: caller.tenant.id.clone(),
        id: call.id.clone(),
        task: call.task.clone(),
        queue: queue.clone(),
        state: "PENDING".into(),
        sent_at: now,
        changed_at: now,
        digest: None,
        error: None,
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.into())),
        _ => {
            let what = format!("the key has 1 to {KEY_BYTES_MAX} visible characters");
            Err(Problem::new(Code::MalformedRequest, what))
        }
    }
}

fn hash(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The queue that is named, if the tenant owns it; else its default one. Somebody else's queue does
/// not exist.
fn queue(api: &Api, tenant: &Tenant, named: Option<&str>) -> Result<QueueName, Problem> {
    let tenants = api.ports.tenants.now();
    let owns = |queue: &QueueName| tenants.owner(queue).id == tenant.id;
    if let Some(named) = named {
        let queue = QueueName::from(named);
        return if owns(&queue) { Ok(queue) } else { Err(Problem::not_found("queue")) };
    }
    if tenant.id.is_default() {
        return Ok(api.options.default_queue.clone());
    }
    let exact = tenant.queues.iter().find(|glob| glob.is_exact());
    let named = || exact.map(|glob| glob.as_str().into());
    tenants.usual_queue(tenant).or_else(named).ok_or_else(|| {
        Problem::new(Code::MalformedRequest, "the tenant has no default queue: name a queue")
    })
}

fn outbox_call(call: Call, id: TaskId, queue: QueueName) -> Result<OutboxCall, Problem> {
    let malformed = |what: &str| Problem::new(Code::MalformedRequest, what);
    let seconds = |seconds: Option<f64>, what| {
        let parse = |seconds| Duration::try_from_secs_f64(seconds).map_err(|_| malformed(what));
        seconds.map(parse).transpose()
    };
    let json = |text: Option<Box<RawValue>>, empty: &str, what| {
        let text = text.map_or_else(|| empty.to_owned(), |text| text.get().to_owned());
        JsonText::parse(text).map_err(|_| malformed(what))
    };
    let args = json(call.args, "[]", "args is no JSON")?;
    let kwargs = json(call.kwargs, "{}", "kwargs is no JSON")?;
    if !args.is_array() || !kwargs.is_object() {
        return Err(malformed("args is an array and kwargs an object"));
    }
    if call.task.is_empty() || call.task.len() > 255 || call.task.chars().any(char::is_control) {
        return Err(malformed("a task's name has 1 to 255 bytes and no control characters"));
    }
    let headers = match call.idempotency_key.as_deref() {
        None => None,
        Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => {
            return Err(malformed("an idempotency key has 1 to 255 bytes"));
        }
        Some(key) => {
            let text = format!("{{\"idempotency-key\": {}}}", JsonText::string(key));
            Some(JsonText::parse(text).map_err(|_| malformed("the idempotency key is no text"))?)
        }
    };
    Ok(OutboxCall {
        id,
        task: call.task.into(),
        args,
        kwargs,
        queue: Some(queue),
        countdown: seconds(call.countdown, "countdown is no number of seconds")?,
        expires: seconds(call.expires, "expires is no number of seconds")?,
        priority: call.priority.filter(|priority| *priority <= 9),
        ignore_result: false,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use super::{Call, outbox_call};

    #[test]
    fn arguments_keep_every_digit() {
        let text =
            r#"{"task": "t", "args": [12345678901234567890123, 1.10], "kwargs": {"a": 1e400}}"#;
        let call: Call = serde_json::from_str(text).unwrap();
        let call = outbox_call(call, "1".into(), "q".into()).unwrap();
        assert_eq!(call.args.as_str(), "[12345678901234567890123, 1.10]");
        assert_eq!(call.kwargs.as_str(), r#"{"a": 1e400}"#);
    }

    #[test]
    fn what_cannot_be_a_call_is_malformed() {
        for text in [
            r#"{"task": "", "args": []}"#,
            r#"{"task": "t", "args": {}}"#,
            r#"{"task": "t", "kwargs": []}"#,
            r#"{"task": "t", "countdown": -1}"#,
            r#"{"task": "t", "idempotency_key": ""}"#,
        ] {
            let call: Call = serde_json::from_str(text).unwrap();
            let problem = outbox_call(call, "1".into(), "q".into()).unwrap_err();
            assert_eq!(problem.code.as_str(), "malformed-request", "{text}");
        }
    }
}
