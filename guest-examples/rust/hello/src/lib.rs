//! The first tasks to try: a greeting, an exception, a retry, and two that must be stopped.

use std::{hint::black_box, time::Duration};

use lovage::prelude::*;

/// Greets someone, or the world.
#[lovage::task(name = "demo.hello")]
fn hello(name: Option<String>) -> String {
    format!("Hello, {}!", name.as_deref().unwrap_or("world"))
}

/// Adds two numbers.
#[lovage::task(name = "demo.add")]
fn add(x: i64, y: i64) -> Result<i64, TaskError> {
    x.checked_add(y)
        .ok_or_else(|| TaskError::fail("the sum is too large").exception("OverflowError"))
}

/// Fails: the caller's `get()` raises Python's own `ValueError`.
#[lovage::task(name = "demo.fail")]
fn fail(message: String) -> Result<(), TaskError> {
    Err(TaskError::fail(message).exception("ValueError").module("builtins"))
}

/// Asks to be run again at its first attempt; answers how often it was retried.
#[lovage::task(name = "demo.retry_once", retry(max = 3, on_failure = false))]
fn retry_once(ctx: &Ctx, delay_ms: Option<u64>) -> Result<u32, TaskError> {
    if ctx.retries() == 0 {
        let delay = Duration::from_millis(delay_ms.unwrap_or(100));
        return Err(TaskError::retry("the first attempt never works").after(delay));
    }
    Ok(ctx.retries())
}

/// Waits `ms` milliseconds in short naps, and stops early when its soft time limit is over.
#[lovage::task(name = "demo.nap")]
#[expect(clippy::disallowed_methods, reason = "a guest yields to its host by waiting")]
fn nap(ctx: &Ctx, ms: u64) -> Result<u64, TaskError> {
    for _ in 0..ms / NAP_MS {
        std::thread::sleep(Duration::from_millis(NAP_MS));
        ctx.check()?;
    }
    Ok(ms)
}

/// How long a nap takes, milliseconds.
const NAP_MS: u64 = 10;

/// Panics, as a mistake would.
#[lovage::task(name = "demo.panic")]
#[expect(clippy::panic, reason = "it shows what becomes of one")]
fn panic(message: String) {
    panic!("{message}");
}

/// Loops for ever, until its time is over.
#[lovage::task(name = "demo.spin", limits(time = "2s"))]
fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}

/// Takes memory, a mebibyte at a time, until there is no more.
#[lovage::task(name = "demo.bomb", limits(memory = "64MiB"))]
fn bomb() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

lovage::module!();

#[cfg(test)]
mod tests {
    use lovage::testing::Host;

    #[test]
    fn the_second_attempt_works() {
        let host = Host::new();
        assert!(host.call("demo.retry_once", "[]", "{}").unwrap_err().is_retry());
        assert_eq!(host.call("demo.retry_once", "[]", "{}").unwrap(), "1");
        assert_eq!(
            host.call("demo.hello", "[]", r#"{"name": "Ada"}"#).unwrap(),
            r#""Hello, Ada!""#
        );
    }
}
