//! The tasks of {{name}}.

use lovage::prelude::*;

/// Greets someone.
#[lovage::task(name = "{{module}}.hello")]
fn hello(name: Option<String>) -> String {
    format!("Hello, {}!", name.as_deref().unwrap_or("world"))
}

/// Charges an order, once.
#[lovage::task(
    name = "{{module}}.charge",
    retry(max = 5, backoff = "exponential"),
    idempotency_key = "order:{order_id}"
)]
fn charge(ctx: &Ctx, order_id: u64, cents: u64) -> Result<String, TaskError> {
    if cents == 0 {
        return Err(TaskError::reject("nothing to charge"));
    }
    // Hand step.key() to whoever is paid: it is the same over all attempts.
    ctx.step("charge", OnDoubt::Retry, &order_id, |step| {
        Ok::<_, TaskError>(format!("charged with the key {}", step.key()))
    })
}

lovage::module!();

#[cfg(test)]
mod tests {
    use lovage::testing::Host;

    #[test]
    fn an_order_is_charged_once() {
        let host = Host::new();
        let first = host.call("{{module}}.charge", "[7, 500]", "{}").unwrap();
        assert_eq!(host.call("{{module}}.charge", "[7, 500]", "{}").unwrap(), first);
        assert!(host.call("{{module}}.charge", "[8, 0]", "{}").unwrap_err().is_rejected());
    }
}
