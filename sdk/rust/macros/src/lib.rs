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
/// | `idempotency_key = "order:{order_id}"` | the key under which it happens once; a name or a position in braces | the task's id |
/// | `idempotency(key = "…", ttl = "1d")` | the same, with how long the key is kept | – |
/// | `limits(time = "5s", soft_time = "4s", cpu_time = "1s", memory = "64MiB", fuel = 2_000_000_000, output = "1MiB")` | bounds of one attempt; an operator's may be lower | the operator's |
/// | `rate_limit = "10/s"` | how often it starts, in Celery's form | unlimited |
/// | `queue = "slow"` | where calls go that name no queue | the operator's |
/// | `schedule = "*/5 * * * *"` | when it runs by itself, as a cron expression | never |
/// | `capabilities("http:api.bank.example", …)` | what it asks the operator for | none |
/// | `ignore_result` | nobody wants its result | kept |
/// | `acks_late = false` | acknowledge before it runs: lost when the worker dies | `true` |
/// | `reuse = 10` | how many attempts may share an instance | 1 |
///
/// In `retry`: `max` is a number or `"unlimited"`; `on_failure = false` retries only what asks for it
/// with `TaskError::retry`; `backoff` is `"fixed"` (with `delay = "3m"`), `"exponential"` (with
/// `base = "1s"`, `factor = 2`, `cap = "10m"`, `jitter = "none"`, `"full"`, `"equal"` or `"celery"`)
/// or `"celery"` (Celery's own formula; `factor` is its `retry_backoff`).
///
/// The first paragraph of its documentation is in the manifest.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
