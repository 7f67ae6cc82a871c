//! The tasks that benchmarks and tests call.

use std::time::Duration;

use lovage::prelude::*;
use serde_json::Number;
use sha2::{Digest, Sha256};

/// Adds two numbers, whole or not.
#[lovage::task(name = "bench.add")]
fn add(x: Number, y: Number) -> Result<Number, TaskError> {
    let sum = match (x.as_i64(), y.as_i64()) {
        (Some(x), Some(y)) => x.checked_add(y).map(Number::from),
        _ => x.as_f64().zip(y.as_f64()).and_then(|(x, y)| Number::from_f64(x + y)),
    };
    sum.ok_or_else(|| TaskError::fail("the sum is too large").exception("OverflowError"))
}

/// Returns what it is sent, as it was sent.
#[lovage::task(name = "bench.echo")]
fn echo(v: Json) -> Json {
    v
}

/// Waits without using the processor, and returns how long.
#[lovage::task(name = "bench.sleep")]
#[expect(clippy::disallowed_methods, reason = "a guest yields to its host by waiting")]
fn sleep(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Hashes `seed`, then each digest again, `rounds` times in all; the last digest in hexadecimal.
#[lovage::task(name = "bench.sha")]
fn sha(rounds: u64) -> String {
    let mut digest = b"seed".to_vec();
    for _ in 0..rounds {
        digest = Sha256::digest(&digest).to_vec();
    }
    hex::encode(digest)
}

/// Counts the primes below `n`.
#[lovage::task(name = "bench.sieve")]
fn sieve(n: usize) -> usize {
    let mut composite = vec![false; n];
    let mut primes = 0;
    for candidate in 2..n {
        if composite.get(candidate) == Some(&false) {
            primes += 1;
            let multiples = composite.iter_mut().skip(candidate * candidate).step_by(candidate);
            multiples.for_each(|multiple| *multiple = true);
        }
    }
    primes
}

/// Has one effect on the outside, in a step, waits, and then fails `failures` times before it
/// returns the key that the receiver was sent. `doubt` is what becomes of an effect that may have
/// happened: `retry`, or else it is left to a person.
#[lovage::task(name = "bench.effect", retry(max = 5, backoff = "fixed", delay = "100ms"))]
#[expect(clippy::disallowed_methods, reason = "a guest yields to its host by waiting")]
fn effect(ctx: &Ctx, doubt: String, ms: u64, failures: u32) -> Result<String, TaskError> {
    let doubt = if doubt == "retry" { OnDoubt::Retry } else { OnDoubt::Fail };
    let key = ctx.step("effect", doubt, &(), |step| Ok::<_, TaskError>(step.key()))?;
    std::thread::sleep(Duration::from_millis(ms));
    if ctx.retries() < failures {
        return Err(TaskError::fail("not yet").exception("ConnectionError"));
    }
    Ok(key)
}

/// As [`effect`], and then calls [`add`] as the last thing it does.
#[lovage::task(name = "bench.effect_then", retry(max = 5, backoff = "fixed", delay = "100ms"))]
fn effect_then(ctx: &Ctx, x: i64) -> Result<i64, TaskError> {
    ctx.step("effect", OnDoubt::Retry, &x, |step| Ok::<_, TaskError>(step.key()))?;
    ctx.call("bench.effect").args(("retry", 0, 0)).send()?;
    Ok(x)
}

lovage::module!();

#[cfg(test)]
mod tests {
    use lovage::testing::Host;

    use super::effect;

    #[test]
    fn an_effect_fails_as_often_as_it_is_told_and_keeps_its_key() {
        let host = Host::new();
        assert!(host.run(|ctx| effect(ctx, "retry".into(), 0, 1)).is_err());
        let key = host.run(|ctx| effect(ctx, "retry".into(), 0, 0)).unwrap();
        assert_eq!(host.run(|ctx| effect(ctx, "fail".into(), 0, 0)), Ok(key));
    }

    #[test]
    fn answers_are_those_of_python() {
        for (task, args, expected) in [
            ("bench.add", "[2, 3]", "5"),
            (
                "bench.echo",
                r#"[[NaN, 123456789012345678901234567890, "\ud800"]]"#,
                r#"[NaN, 123456789012345678901234567890, "\ud800"]"#,
            ),
            ("bench.sha", "[0]", r#""73656564""#),
            (
                "bench.sha",
                "[2]",
                r#""a7e130694166cdb95b1e1bbce3f21e4dbd63f46df42b48c5a1f8295033d57d04""#,
            ),
            ("bench.sieve", "[100]", "25"),
            ("bench.sieve", "[2]", "0"),
            ("bench.sieve", "[3]", "1"),
            ("bench.sleep", "[1]", "1"),
        ] {
            assert_eq!(Host::new().call(task, args, "{}").unwrap(), expected, "{task}({args})");
        }
    }
}
