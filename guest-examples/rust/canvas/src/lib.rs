//! Tasks that make and change canvas while they run: what Celery's `Task.replace`, `add_to_chord` and
//! `Ignore` do, from inside of a sandbox.

use lovage::prelude::*;
use serde_json::Value;

/// Sends a signature and returns its result's tuple.
#[lovage::task(name = "canvas.send")]
fn send(ctx: &Ctx, signature: Value) -> Result<Value, TaskError> {
    Ok(ctx.send_signature(&signature)?)
}

/// Has a signature take this task's place.
#[lovage::task(name = "canvas.replace")]
fn replace(signature: Value) -> Result<Value, TaskError> {
    Err(TaskError::replace(&signature)?)
}

/// Adds each of these signatures to the chord that this task is a member of; returns how many.
#[lovage::task(name = "canvas.join")]
fn join(ctx: &Ctx, signatures: Vec<Value>) -> Result<usize, TaskError> {
    for signature in &signatures {
        ctx.add_to_chord(signature)?;
    }
    Ok(signatures.len())
}

/// Ends without an end that anybody hears of.
#[lovage::task(name = "canvas.ignore")]
fn ignore() -> Result<(), TaskError> {
    Err(TaskError::ignore())
}

/// Goes back to its queue once.
#[lovage::task(name = "canvas.requeue")]
fn requeue(ctx: &Ctx) -> Result<bool, TaskError> {
    if ctx.attempt().redelivered { Ok(true) } else { Err(TaskError::requeue("once more")) }
}

/// What this task was called with first, and its tree: `[first, root, parent, group]`.
#[lovage::task(name = "canvas.tree")]
fn tree(ctx: &Ctx, first: Value) -> Result<Value, TaskError> {
    let request = ctx.request()?;
    let name = |name: &str| request.get(name).cloned().unwrap_or_default();
    Ok(serde_json::json!([first, name("root_id"), name("parent_id"), name("group")]))
}

/// Has one effect on the outside, in a step, and returns how many values it was called with, and their
/// sum: the body of a chord that is to happen once.
#[lovage::task(name = "canvas.total")]
fn total(ctx: &Ctx, values: Vec<i64>) -> Result<(usize, i64), TaskError> {
    ctx.step("total", OnDoubt::Retry, &values, |step| Ok::<_, TaskError>(step.key()))?;
    Ok((values.len(), values.iter().sum()))
}

lovage::module!();
