//! The tasks that every language's SDK is measured by, in Rust.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lovage::prelude::*;
use serde::Deserialize;

/// Adds two numbers.
#[lovage::task(name = "conformance.add")]
fn add(x: i64, y: i64) -> i64 {
    x.wrapping_add(y)
}

/// Any JSON value, as it came.
#[lovage::task(name = "conformance.echo")]
fn echo(value: Json) -> Json {
    value
}

/// Fails with an exception of the module's own.
#[lovage::task(name = "conformance.fail", retry(on_failure = false))]
fn fail(message: Option<String>) -> Result<(), TaskError> {
    let message = message.unwrap_or_else(|| "no stock".into());
    let sku = std::collections::BTreeMap::from([("sku", "A-1")]);
    Err(TaskError::fail(&message).exception("OutOfStock").arguments(&(message, 42, sku)))
}

/// Asks to be run again until its retries are used up.
#[lovage::task(name = "conformance.retry", retry(max = 2))]
fn retry(ctx: &Ctx, after: Option<f64>) -> Result<u32, TaskError> {
    if ctx.retries() < 2 {
        let after = Duration::from_secs_f64(after.unwrap_or(0.1).clamp(0.0, 60.0));
        return Err(TaskError::retry("not yet").after(after));
    }
    Ok(ctx.retries())
}

/// Fails with what it retries on.
#[lovage::task(name = "conformance.exhaust", retry(max = 1, delay = "50ms"))]
fn exhaust() -> Result<(), TaskError> {
    Err(TaskError::fail("bank down").exception("ConnectionError"))
}

/// Is not to be run again.
#[lovage::task(name = "conformance.reject")]
fn reject(reason: Option<String>) -> Result<(), TaskError> {
    let reason = reason.unwrap_or_else(|| "never".into());
    Err(TaskError::reject(reason).exception("Reject").module("celery.exceptions"))
}

/// Charges once over two attempts.
#[lovage::task(name = "conformance.steps", retry(max = 1))]
fn steps(ctx: &Ctx, order: i64) -> Result<(String, u32), TaskError> {
    let retries = ctx.retries();
    let receipt = ctx.step("charge", OnDoubt::Retry, &order, |step| {
        Ok::<_, TaskError>(format!("{}/{retries}", step.key()))
    })?;
    if retries == 0 {
        return Err(TaskError::retry("mail is down").after(Duration::ZERO));
    }
    Ok((receipt, retries))
}

/// Calls another task, if it succeeds.
#[lovage::task(name = "conformance.outbox", retry(on_failure = false))]
fn outbox(ctx: &Ctx, good: Option<bool>) -> Result<String, TaskError> {
    let call = ctx.call("conformance.add").args((20, 22)).header("tenant", "acme").send()?;
    if good == Some(false) {
        return Err(TaskError::fail("the call must not leave").exception("ValueError"));
    }
    Ok(call)
}

/// How far a task is.
#[derive(serde::Serialize)]
struct Progress {
    done: u32,
    of: u32,
}

/// Shows how far it is.
#[lovage::task(name = "conformance.progress")]
fn progress(ctx: &Ctx, hold_ms: Option<u64>) -> Result<String, TaskError> {
    ctx.progress("PROGRESS", &Progress { done: 3, of: 10 })?;
    wait(Duration::from_millis(hold_ms.unwrap_or(0)));
    Ok("finished".into())
}

/// A line of each level.
#[lovage::task(name = "conformance.log")]
#[expect(clippy::print_stdout, reason = "what is printed is logged, too")]
fn log() {
    lovage::trace!(number = 1; "a line of trace");
    lovage::debug!(number = 1; "a line of debug");
    lovage::info!(number = 1; "a line of info");
    lovage::warn!(number = 1; "a line of warn");
    lovage::error!(number = 1; "a line of error");
    println!("a line on standard output");
}

/// Waits longer than it may, and tidies up.
#[lovage::task(name = "conformance.soft", limits(soft_time = "200ms", time = "10s"))]
fn soft(ctx: &Ctx) -> String {
    for _ in 0..800 {
        if let Err(error) = ctx.check() {
            return format!("{} after tidying up", error.failure().exception_type);
        }
        wait(Duration::from_millis(10));
    }
    "never told".into()
}

/// Happens once for an order.
#[lovage::task(name = "conformance.once", idempotency_key = "order:{order_id}")]
fn once(ctx: &Ctx, order_id: i64) -> String {
    lovage::debug!("order {order_id}");
    ctx.idempotency_key().into()
}

/// What an order has.
#[derive(Deserialize)]
struct Item {
    sku: String,
    #[serde(default = "one")]
    count: i64,
}

fn one() -> i64 {
    1
}

/// Has a schema.
#[lovage::task(name = "conformance.typed")]
fn typed(item: Item, note: Option<String>) -> i64 {
    lovage::debug!("{}", note.unwrap_or_default());
    if item.sku.is_empty() { 0 } else { item.count }
}

/// A call of `conformance.add`, as Celery writes it.
fn addition(x: i64, y: i64, options: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({"task": "conformance.add", "args": [x, y], "kwargs": {}, "options": options})
}

/// Sends a call of this id, and says nothing of its own end.
#[lovage::task(name = "conformance.ignore")]
fn ignore(ctx: &Ctx, child: String) -> Result<(), TaskError> {
    ctx.send_signature(&addition(20, 22, &serde_json::json!({"task_id": child})))?;
    Err(TaskError::ignore())
}

/// Goes back to its queue once.
#[lovage::task(name = "conformance.requeue")]
fn requeue(ctx: &Ctx) -> Result<String, TaskError> {
    let again = ctx.attempt().redelivered;
    if again { Ok("redelivered".into()) } else { Err(TaskError::requeue("once more")) }
}

/// Has another call take its place.
#[lovage::task(name = "conformance.replace")]
fn replace(x: i64) -> Result<(), TaskError> {
    Err(TaskError::replace(&addition(x, 100, &serde_json::json!({})))?)
}

/// Asks to be run again with another word.
#[lovage::task(name = "conformance.changed", retry(max = 1))]
fn changed(ctx: &Ctx, word: String) -> Result<(String, u32), TaskError> {
    if ctx.retries() == 0 {
        let other = serde_json::json!({"args": [], "kwargs": {"word": "second"}});
        return Err(TaskError::retry("another word").after(Duration::ZERO).with_options(&other));
    }
    Ok((word, ctx.retries()))
}

/// Sends a chord, and returns its result's tuple.
#[lovage::task(name = "conformance.canvas")]
fn canvas(ctx: &Ctx, x: i64) -> Result<serde_json::Value, TaskError> {
    let plain = serde_json::json!({});
    let header = [addition(x, 1, &plain), addition(x, 2, &plain)];
    let body =
        serde_json::json!({"task": "conformance.echo", "args": [], "kwargs": {}, "options": {}});
    let chord = serde_json::json!({
        "task": "celery.chord", "args": [], "kwargs": {"header": header, "body": body}, "options": {},
        "subtask_type": "chord",
    });
    Ok(ctx.send_signature(&chord)?)
}

/// All that Celery's request has.
#[lovage::task(name = "conformance.request")]
fn request(ctx: &Ctx, word: String) -> Result<serde_json::Value, TaskError> {
    lovage::debug!("{word}");
    Ok(ctx.request()?)
}

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

/// Which attempt this is in its instance.
#[lovage::task(name = "conformance.count")]
fn count() -> u32 {
    ATTEMPTS.fetch_add(1, Ordering::Relaxed) + 1
}

/// The same in one that attempts share, and its id.
#[lovage::task(name = "conformance.shared", reuse = 100)]
fn shared(ctx: &Ctx) -> (u32, String) {
    (ATTEMPTS.fetch_add(1, Ordering::Relaxed) + 1, ctx.attempt().task_id.clone())
}

/// Waits; other tasks run meanwhile.
#[lovage::task(name = "conformance.sleep")]
fn sleep(seconds: f64) -> f64 {
    wait(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)));
    seconds
}

/// Asks a server.
#[lovage::task(name = "conformance.http", capabilities("http:127.0.0.1:*"))]
fn ask(url: String) -> Result<(u16, Option<String>, serde_json::Value), TaskError> {
    let number = std::collections::BTreeMap::from([("number", 7)]);
    let request = lovage::http::post(url).json(&number).header("X-Mine", "conformance");
    let answer = request.timeout(Duration::from_secs(10)).send()?.error_for_status()?;
    let theirs = answer.header("x-theirs").map(str::to_owned);
    Ok((answer.status(), theirs, answer.json()?))
}

#[expect(clippy::disallowed_methods, reason = "a guest yields to its host by waiting")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

lovage::module!();
