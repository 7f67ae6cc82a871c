//! The attribute `#[lovage::task]`.
//!
//! Everything that can be known when a task is compiled is done then: its entry in the manifest is a
//! literal, durations and sizes are numbers, and a key template that names no parameter does not
//! compile. What remains at run time is to bind the arguments and call the function.

mod expand;
mod function;
mod manifest;
mod options;
mod units;

use proc_macro::TokenStream;

/// Makes a function a task of the module.
///
/// The function stays an ordinary one. It may take `&Ctx` first; its other parameters are whatever
/// implements `serde::Deserialize`, or `lovage::Json` for a value as it came, and may be left out by
/// the caller when they are `Option`s. It returns what implements `serde::Serialize`, or
/// `lovage::Json`, or a `Result` of those (any type whose name ends in `Result` is taken for one)
/// whose error turns into a `TaskError`.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `name = "shop.charge"` | the name that callers use | crate and function: `shop.charge` |
/// | `retry(max = 5, …)` | what becomes of its failures, see below | only what asks for a retry gets one |
/// | `breaker(…)` | when its calls are held back because it fails, see below | never |
/// | `idempotency_key = "order:{order_id}"` | the key under which it happens once; a name or a position in braces | the task's id |
/// | `idempotency(key = "…", ttl = "1d")` | the same, with how long the key is kept | – |
/// | `limits(time = "5s", soft_time = "4s", cpu_time = "1s", memory = "64MiB", fuel = 2_000_000_000, output = "1MiB")` | bounds of one attempt; an operator's may be lower | the operator's |
/// | `rate_limit = "10/s"` | how often it starts, in Celery's form | unlimited |
/// | `queue = "slow"` | where calls go that name no queue | the operator's |
/// | `schedule = "*/5 * * * *"` | when it runs by itself, as a cron expression | never |
/// | `capabilities("http:api.bank.example", …)` | what it asks the operator for | none |
/// | `ignore_result` | nobody wants its result | kept |
/// | `store_errors_even_if_ignored` | its failures are kept all the same | as `ignore_result` says |
/// | `acks_late = false` | acknowledge before it runs: lost when the worker dies | `true` |
/// | `reuse = 10` | how many attempts may share an instance | 1 |
///
/// In `retry`:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `max = 5` | retries, or `"unlimited"` | 3 |
/// | `max_elapsed = "23h"` | no retry starts later after the first attempt | no bound |
/// | `on_failure = false` | only what asks for it with `TaskError::retry` is retried | plain failures, traps, timeouts and exits, too |
/// | `retry_on("trap", …)` | exactly this is: `returned_retryable`, `returned_failure`, `trap`, `timeout`, `cpu_time`, `exit` | by `on_failure` |
/// | `never_on("timeout", …)` | this is not, of those | – |
/// | `honor_retry_after = false` | the task's own `.after(…)` does not count | it does, up to `cap` |
/// | `backoff = "fixed"` | always the same: `delay = "3m"` | this |
/// | `backoff = "full_jitter"`, `"equal_jitter"` | up to `base × factor^retries` (`base = "1s"`, `factor = 2`, `cap = "10m"`, `floor = "100ms"`); from zero, or from half of it | |
/// | `backoff = "decorrelated"` | from `base` to three times the delay before | |
/// | `backoff = "exponential"` | with `jitter = "none"`, `"full"`, `"equal"` or `"celery"` | |
/// | `backoff = "celery"` | Celery's own formula; `factor` is its `retry_backoff` | |
/// | `budget(ratio = 0.2, floor_per_s = 1)` | retries for each call, and per second in any case; more are deferred | these |
///
/// `breaker`, alone or as `breaker(min_calls = 20, window = "30s", open_at = 0.5, open_for = "30s",
/// max_open = "5m", probes = 1)`, has calls wait in their queue while most of them fail.
///
/// The first paragraph of its documentation is in the manifest.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
