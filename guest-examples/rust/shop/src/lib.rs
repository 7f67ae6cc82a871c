//! A shop: it charges an order once, however often it is asked and whatever fails in between.

use std::time::Duration;

use lovage::prelude::*;
use serde::{Deserialize, Serialize};

/// What a customer gets for money.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Receipt {
    order_id: u64,
    cents: u64,
    charge: String,
}

/// Charges an order, then has the receipt mailed.
#[lovage::task(
    name = "shop.charge",
    retry(max = 5, backoff = "exponential", cap = "10m", jitter = "full"),
    idempotency_key = "order:{order_id}",
    limits(time = "5s", memory = "64MiB")
)]
fn charge(ctx: &Ctx, order_id: u64, cents: u64) -> Result<Receipt, TaskError> {
    let charge = pay(ctx, order_id, cents)?;
    ctx.call("shop.mail").args((order_id,)).kwarg("cents", &cents).ignore_result().send()?;
    Ok(Receipt { order_id, cents, charge })
}

/// Charges an order, then takes its time: whoever stops the worker meanwhile charges nobody twice.
#[lovage::task(name = "shop.slow_charge", idempotency_key = "slow:{order_id}")]
#[expect(clippy::disallowed_methods, reason = "a guest yields to its host by waiting")]
fn slow_charge(ctx: &Ctx, order_id: u64, cents: u64, ms: u64) -> Result<Receipt, TaskError> {
    let charge = pay(ctx, order_id, cents)?;
    std::thread::sleep(Duration::from_millis(ms));
    Ok(Receipt { order_id, cents, charge })
}

/// The charge itself, a step: once over all attempts.
fn pay(ctx: &Ctx, order_id: u64, cents: u64) -> Result<String, TaskError> {
    if cents == 0 {
        return Err(TaskError::reject("there is nothing to charge").exception("ValueError"));
    }
    // The bank de-duplicates on the key that it is sent, so a charge in doubt may be sent again.
    ctx.step("charge", OnDoubt::Retry, &(order_id, cents), |step| {
        lovage::info!(order_id = order_id, cents = cents; "charging order {order_id}");
        Ok::<_, TaskError>(format!("charged-{}", step.key()))
    })
}

/// Mails a receipt.
#[lovage::task(name = "shop.mail", ignore_result)]
fn mail(order_id: u64, cents: u64) {
    lovage::info!(order_id = order_id; "mailing a receipt over {cents} cents");
}

/// Fails `failures` times, then works; answers how often it was retried.
#[lovage::task(name = "shop.flaky", retry(max = 5, backoff = "fixed", delay = "100ms"))]
fn flaky(ctx: &Ctx, failures: u32) -> Result<u32, TaskError> {
    if ctx.retries() < failures {
        return Err(TaskError::fail("the bank is down").exception("ConnectionError"));
    }
    Ok(ctx.retries())
}

lovage::module!();

#[cfg(test)]
mod tests {
    use lovage::testing::Host;

    use super::*;

    #[test]
    fn an_order_is_charged_once_and_mailed_when_that_is_done() {
        let host = Host::new();
        let first = host.run(|ctx| charge(ctx, 7, 500)).unwrap();
        assert_eq!(host.run(|ctx| charge(ctx, 7, 500)), Ok(first));
        assert_eq!(host.logs().len(), 1, "the second attempt was handed the first one's charge");
        assert_eq!(
            (host.sent()[0].task.as_str(), host.sent()[0].args.as_str()),
            ("shop.mail", "[7]")
        );
    }

    #[test]
    fn nothing_to_charge_is_rejected_and_nothing_is_mailed() {
        let host = Host::new();
        assert!(host.call("shop.charge", "[7, 0]", "{}").unwrap_err().is_rejected());
        assert!(host.sent().is_empty() && host.committed().is_empty());
    }
}
