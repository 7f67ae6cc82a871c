//! `lovage call`: sends one task and waits for its result.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lovage_core::ports::{Clock as _, ResultBackend};
use lovage_core::{Json, JsonPart, OutboxCall, TaskId};
use serde_json::Value;
use ureq::http::Method;

use crate::cli::{CallArguments, Remote};
use crate::config::{Config, Surroundings};
use crate::inert::inert_lines;
use crate::remote::{Client, quoted, text};
use crate::wiring::{self, SystemClock};

/// Seconds that the API waits at once.
const WAIT_SECONDS_MAX: f64 = 30.0;

/// How often the backend is asked. Waiting for a result is the caller's side, and this is a tool for
/// people: a poll is enough.
const POLL: Duration = Duration::from_millis(50);

/// Sends, waits, prints. Exits with 1 when the task failed.
///
/// # Errors
/// When the call cannot be sent, or nothing came in time.
pub(crate) fn run(arguments: &CallArguments) -> anyhow::Result<ExitCode> {
    let call = outbox_call(arguments)?;
    let environment = Surroundings::of_process();
    if arguments.url.is_some() || environment.variable("LOVAGE_URL").is_some() {
        return over_http(arguments);
    }
    let config = Config::read(&super::layers(&arguments.common)?)?;
    super::block_on(send(&config, arguments, call))
}

/// The same over the API: the tenant is the token's.
fn over_http(arguments: &CallArguments) -> anyhow::Result<ExitCode> {
    let (url, token) = (arguments.url.clone(), arguments.token.clone());
    let client = Client::public(&Remote { url, token, json: arguments.json })?;
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned());
    let body = serde_json::json!({
        "task": arguments.task, "args": raw(&arguments.args)?, "kwargs": raw(&arguments.kwargs)?,
        "queue": arguments.queue, "countdown": arguments.countdown, "expires": arguments.expires,
        "idempotency_key": arguments.idempotency_key,
    });
    let end = Instant::now() + Duration::try_from_secs_f64(arguments.timeout)?;
    let mut view = client.ask(Method::POST, "/v1/tasks", Some(&body))?;
    let id = text(&view, "id").to_owned();
    if arguments.timeout <= 0.0 {
        println!("{id}");
        return Ok(ExitCode::SUCCESS);
    }
    while !matches!(text(&view, "state"), "SUCCESS" | "FAILURE" | "REVOKED") {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no result of {id} within {} s", arguments.timeout);
        }
        let wait = left.as_secs_f64().min(WAIT_SECONDS_MAX);
        let path = format!("/v1/tasks/{}?wait={wait}", quoted(&id));
        view = client.ask(Method::GET, &path, None)?;
    }
    if arguments.json {
        println!("{view:#}");
    } else {
        println!("{}", view.get("result").unwrap_or(&Value::Null));
        if let Some(traceback) = view.get("traceback").and_then(Value::as_str) {
            println!("{}", inert_lines(traceback.trim_end()));
        }
    }
    let succeeded = text(&view, "state") == "SUCCESS";
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn send(
    config: &Config,
    arguments: &CallArguments,
    call: OutboxCall,
) -> anyhow::Result<ExitCode> {
    let (broker, results) = wiring::client(config).await?;
    let now = SystemClock.now();
    let publication =
        lovage_celery::call_message(&call, now, &config.default_queue, &config.hostname);
    broker.publish(&[publication]).await.context("cannot send the call")?;
    broker.leave().await.ok();
    if arguments.timeout <= 0.0 {
        println!("{}", call.id);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(results) = results else {
        bail!("there is no result backend to wait at; see --timeout")
    };
    let limit = Duration::try_from_secs_f64(arguments.timeout).context("--timeout is no time")?;
    let document = tokio::time::timeout(limit, wait(&*results, &call.id))
        .await
        .with_context(|| format!("no result of {} within {} s", call.id, arguments.timeout))??;
    show(&document, arguments.json)
}

async fn wait(results: &dyn ResultBackend, id: &TaskId) -> anyhow::Result<String> {
    loop {
        let document = results.load(id).await.context("cannot read the result")?;
        if let Some(document) = document.filter(|document| is_over(document)) {
            return Ok(document);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether a result document is a call's last.
pub(super) fn is_over(document: &str) -> bool {
    let status = serde_json::from_str::<Value>(document)
        .ok()
        .and_then(|value| Some(value.get("status")?.as_str()?.to_owned()))
        .unwrap_or_default();
    matches!(&*status, "SUCCESS" | "FAILURE" | "REVOKED")
}

/// A call of this task without arguments, with an id of its own.
pub(super) fn empty_call(task: &str) -> OutboxCall {
    OutboxCall {
        id: TaskId::from(uuid::Uuid::new_v4().to_string()),
        task: task.into(),
        args: JsonPart::EMPTY_ARRAY.to_json(),
        kwargs: JsonPart::EMPTY_OBJECT.to_json(),
        queue: None,
        countdown: None,
        expires: None,
        priority: None,
        ignore_result: false,
        headers: None,
    }
}

fn show(document: &str, json: bool) -> anyhow::Result<ExitCode> {
    let members = Json::parse(document).context("the result is malformed")?;
    let members = members.members().context("the result is malformed")?;
    let member = |name: &str| {
        members.iter().find(|(key, _)| key.trim_matches('"') == name).map_or("null", |(_, it)| it)
    };
    let succeeded = member("status") == "\"SUCCESS\"";
    if json {
        println!("{document}");
    } else {
        println!("{}", member("result"));
        if let (false, Ok(traceback)) =
            (succeeded, serde_json::from_str::<String>(member("traceback")))
        {
            println!("{}", traceback.trim_end());
        }
    }
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn outbox_call(arguments: &CallArguments) -> anyhow::Result<OutboxCall> {
    let seconds = |name: &str, value: Option<f64>| {
        let parse = |value| Duration::try_from_secs_f64(value);
        value.map(parse).transpose().with_context(|| format!("{name} is no time"))
    };
    let args = Json::parse(&*arguments.args).context("--args is no JSON")?;
    let kwargs = Json::parse(&*arguments.kwargs).context("--kwargs is no JSON")?;
    if !args.is_array() || !kwargs.is_object() {
        bail!("--args is a JSON array and --kwargs a JSON object");
    }
    let key = arguments
        .idempotency_key
        .as_deref()
        .map(|key| Json::parse(format!("{{\"idempotency-key\": {}}}", Json::string(key))));
    Ok(OutboxCall {
        args,
        kwargs,
        queue: arguments.queue.as_deref().map(Into::into),
        countdown: seconds("--countdown", arguments.countdown)?,
        expires: seconds("--expires", arguments.expires)?,
        headers: key.transpose()?,
        ..empty_call(&arguments.task)
    })
}
