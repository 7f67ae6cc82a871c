//! Tasks as a worker calls them: by name, with the texts of a message.

use std::time::Duration;

use lovage::{HostError, prelude::*, testing::Host};
use serde_json::Value;

/// Greets.
///
/// This paragraph is not in the manifest.
#[lovage::task(
    name = "t.greet",
    retry(
        max = 5,
        backoff = "exponential",
        base = "500ms",
        factor = 1.5,
        cap = "10m",
        jitter = "full"
    ),
    idempotency(key = "greet:{name}:{1}", ttl = "1d"),
    limits(time = "5s", soft_time = "4s", memory = "64MiB", fuel = 2_000, output = "1KiB"),
    rate_limit = "10/s",
    queue = "slow",
    capabilities("http:a.example", "kv:read"),
    ignore_result,
    store_errors_even_if_ignored,
    acks_late = false,
    reuse = 3
)]
fn greet(name: String, polite: bool, times: Option<u8>) -> String {
    format!("{}{name}", if polite { "Dear " } else { "" }).repeat(times.unwrap_or(1).into())
}

#[lovage::task]
fn plain() {}

#[lovage::task(
    name = "t.tough",
    retry(
        max = "unlimited",
        max_elapsed = "23h",
        retry_on("trap", "returned_retryable"),
        never_on("fuel", "timeout"),
        honor_retry_after = false,
        backoff = "decorrelated",
        floor = "50ms",
        budget(ratio = 0.5, floor_per_s = 2)
    ),
    breaker(
        min_calls = 5,
        window = "10s",
        open_at = 0.25,
        open_for = "1s",
        max_open = "1m",
        probes = 2
    )
)]
fn tough() {}

#[lovage::task(name = "t.usual_breaker", breaker)]
fn usual_breaker() {}

#[lovage::task(name = "t.value")]
fn value(v: Value) -> Value {
    v
}

#[lovage::task(name = "t.json")]
#[expect(clippy::unnecessary_wraps, reason = "a result of text as it came is a result, too")]
fn json(first: Json, rest: Option<Json>) -> Result<Json, TaskError> {
    Ok(rest.unwrap_or(first))
}

#[lovage::task(name = "t.parse")]
fn parse(text: String) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

#[lovage::task(name = "t.header")]
fn header(ctx: &Ctx, name: String) -> Option<u64> {
    ctx.header(&name)
}

fn call(task: &str, args: &str, kwargs: &str) -> Result<String, String> {
    Host::new().call(task, args, kwargs).map_err(|error| {
        let failure = error.failure();
        let rejected = if error.is_rejected() { " (rejected)" } else { "" };
        format!("{}: {}{rejected}", failure.exception_type, failure.message)
    })
}

#[test]
fn arguments_bind_by_position_and_by_name() {
    for (args, kwargs, expected) in [
        (r#"["Ada", true]"#, "{}", r#""Dear Ada""#),
        (r#" [ "Ada" ] "#, r#" { "polite" : false , "times" : 2 } "#, r#""AdaAda""#),
        ("[]", r#"{"n\u0061me": "a,]}\"\\", "polite": false, "times": null}"#, r#""a,]}\"\\""#),
    ] {
        assert_eq!(call("t.greet", args, kwargs).as_deref(), Ok(expected), "{args} {kwargs}");
    }
    assert_eq!(call("tasks.plain", "[]", "{}").as_deref(), Ok("null"));
}

#[test]
fn arguments_that_do_not_bind_are_type_errors_in_pythons_words() {
    for (args, kwargs, expected) in [
        ("[]", "{}", "missing 2 required positional arguments: 'name' and 'polite'"),
        (r#"["Ada"]"#, "{}", "missing 1 required positional argument: 'polite'"),
        ("[1, 2, 3, 4]", "{}", "takes from 2 to 3 positional arguments but 4 were given"),
        (r#"["Ada"]"#, r#"{"loud": 1}"#, "got an unexpected keyword argument 'loud'"),
        (r#"["Ada"]"#, r#"{"name": 1}"#, "got multiple values for argument 'name'"),
        ("[7, true]", "{}", "argument 'name': invalid type: integer `7`, expected a string"),
        (
            r#"["Ada", true, 256]"#,
            "{}",
            "argument 'times': invalid value: integer `256`, expected u8",
        ),
    ] {
        let expected = format!("TypeError: greet() {expected} (rejected)");
        assert_eq!(call("t.greet", args, kwargs), Err(expected), "{args} {kwargs}");
    }
    let none = "TypeError: plain() takes 0 positional arguments but 1 was given (rejected)";
    assert_eq!(call("tasks.plain", "[1]", "{}").unwrap_err(), none);
}

#[test]
fn malformed_calls_fail_and_do_not_trap() {
    for (args, kwargs) in [
        ("", "{}"),
        ("[", "{}"),
        ("[1", "{}"),
        ("[1,]", "{}"),
        ("[,1]", "{}"),
        ("[1 2]", "{}"),
        ("[]]", "{}"),
        ("{}", "{}"),
        ("[\"a]", "{}"),
        ("[[1]", "{}"),
        ("null", "{}"),
        ("[]", ""),
        ("[]", "[]"),
        ("[]", "{"),
        ("[]", "{\"a\"}"),
        ("[]", "{\"a\":}"),
        ("[]", "{a:1}"),
        ("[]", "{1:1}"),
        ("[]", "{\"name\":1"),
        ("[]", "{\"\\ud800\":1}"),
    ] {
        let error = call("t.greet", args, kwargs).unwrap_err();
        assert!(error.starts_with("ValueError: the call's "), "{args} {kwargs}: {error}");
    }
    let unknown = call("t.unknown", "[]", "{}").unwrap_err();
    assert_eq!(unknown, "NotRegistered: t.unknown (rejected)");
}

#[test]
fn what_rust_cannot_hold_is_refused_or_passed_on_as_it_came() {
    let large = "123456789012345678901234567890";
    for text in [large, "NaN", "-Infinity", r#""\ud800""#, "[1e999, {\"a\": NaN}]"] {
        let args = format!("[{text}]");
        assert_eq!(call("t.json", &args, "{}").as_deref(), Ok(text));
        assert_eq!(call("t.json", "[0]", &format!("{{\"rest\": {text}}}")).as_deref(), Ok(text));
        let refused = call("t.value", &args, "{}").unwrap_err();
        assert!(refused.starts_with("ValueError: value() argument 'v' "), "{refused}");
        assert!(
            refused.ends_with("take lovage::Json to receive it as it is (rejected)"),
            "{refused}"
        );
    }
    let held = format!("[{},{},1.5,\"{large}\"]", u64::MAX, i64::MIN);
    assert_eq!(call("t.value", &format!("[{held}]"), "{}").unwrap(), held);
}

#[test]
fn errors_have_the_names_of_their_types_and_the_place_where_they_arose() {
    assert_eq!(
        call("t.parse", r#"["many"]"#, "{}").unwrap_err(),
        "ParseIntError: invalid digit found in string"
    );
    let line = line!() + 1;
    let error = TaskError::fail("no stock").exception("StockError").arguments(&("no stock", 42));
    assert_eq!(error.failure().arguments, r#"["no stock",42]"#);
    assert_eq!(
        error.failure().traceback("shop.charge"),
        format!(
            "Traceback (most recent call last):\n  File \"{}\", line {line}, in shop.charge\n\
             StockError: no stock",
            file!()
        )
    );
    let error = Host::new().call("t.greet", "[]", "{}").unwrap_err();
    assert_eq!(error.failure().location, None, "the mistake is in the call, not in this crate");
    let name = |error: TaskError| error.failure().exception_type.clone();
    assert_eq!(name(std::io::Error::other("x").into()), "IoError");
    assert_eq!(name(serde_json::from_str::<u8>("x").unwrap_err().into()), "SerdeJsonError");
    assert_eq!(name(TaskError::retry(String::new())), "TaskError");
    assert!(TaskError::fail("x").after(Duration::from_secs(1)).is_retry());
}

#[test]
fn the_manifest_says_what_the_attribute_says() {
    let manifest: Value = serde_json::from_str(&lovage::testing::manifest("t")).unwrap();
    assert_eq!(manifest["abi"], "lovage:task@0.1.0");
    let names: Vec<&str> =
        manifest["tasks"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "t.greet",
            "t.header",
            "t.json",
            "t.parse",
            "t.tough",
            "t.usual_breaker",
            "t.value",
            "tasks.plain"
        ]
    );
    let expected = serde_json::json!({
        "name": "t.greet", "params": ["name", "polite", "times"], "doc": "Greets.",
        "retry": {"max": 5, "backoff": "exponential", "base_s": 0.5, "factor": 1.5, "cap_s": 600,
                  "jitter": "full"},
        "idempotency": {"key": "greet:{name}:{1}", "ttl_s": 86_400},
        "limits": {"time_ms": 5_000, "soft_time_ms": 4_000, "memory_bytes": 67_108_864,
                   "fuel": 2_000, "output_bytes": 1_024},
        "rate_limit": "10/s", "queue": "slow", "capabilities": ["http:a.example", "kv:read"],
        "ignore_result": true, "store_errors_even_if_ignored": true, "acks_late": false, "reuse": 3,
    });
    assert_eq!(manifest["tasks"][0], expected);
    let expected = serde_json::json!({
        "name": "t.tough", "params": [],
        "retry": {"max": null, "max_elapsed_s": 82_800, "retry_on": ["trap", "returned_retryable"],
                  "never_on": ["fuel", "timeout"], "honor_retry_after": false,
                  "backoff": "decorrelated", "floor_s": 0.05,
                  "budget": {"ratio": 0.5, "floor_per_s": 2}},
        "breaker": {"min_calls": 5, "window_s": 10, "open_at": 0.25, "open_for_s": 1,
                    "max_open_s": 60, "probes": 2},
    });
    assert_eq!(manifest["tasks"][4], expected);
    assert_eq!(manifest["tasks"][5]["breaker"], serde_json::json!({}));
}

#[test]
fn a_step_runs_once_and_one_in_doubt_does_as_it_was_told() {
    let host = Host::new();
    let charge = |ctx: &Ctx, doubt, fails: bool| {
        ctx.step("charge", doubt, &7, |step| {
            assert!(step.in_doubt() || step.key() == "task-1:charge");
            if fails { Err(TaskError::fail("lost")) } else { Ok(step.in_doubt()) }
        })
    };
    host.run(|ctx| charge(ctx, OnDoubt::Retry, true)).unwrap_err();
    host.run(|ctx| charge(ctx, OnDoubt::Fail, false)).unwrap_err();
    assert_eq!(host.run(|ctx| charge(ctx, OnDoubt::Ask, false)), Ok(true));
    assert_eq!(host.run(|ctx| charge(ctx, OnDoubt::Ask, true)), Ok(true), "it is replayed");
    let other = host.run(|ctx| ctx.step("charge", OnDoubt::Ask, &8, |_| Ok::<_, TaskError>(1)));
    assert_eq!(other.unwrap_err().failure().exception_type, "InvalidCall");
    let abandoned = host.run(|ctx| {
        ctx.step("mail", OnDoubt::Fail, &(), |step| {
            step.abandon()?;
            Err::<(), _>(TaskError::retry("later"))
        })
    });
    assert!(abandoned.unwrap_err().is_retry());
    host.run(|ctx| ctx.step("mail", OnDoubt::Fail, &(), |_| Ok::<_, TaskError>(()))).unwrap();
    assert_eq!(host.committed()["mail"], "null");
}

#[test]
fn calls_leave_when_the_attempt_succeeds() {
    let host = Host::new();
    let send = |ctx: &Ctx| {
        ctx.call("t.greet")
            .args(("Ada",))
            .kwarg("polite", &true)
            .queue("fast")
            .header("k", "v")
            .send()
    };
    host.run(|ctx| send(ctx).and(Err::<(), _>(HostError::Other("x".into())))).unwrap_err();
    assert_eq!(host.sent(), []);
    host.run(send).unwrap();
    let sent = &host.sent()[0];
    assert_eq!((sent.args.as_str(), sent.kwargs.as_str()), (r#"["Ada"]"#, r#"{"polite":true}"#));
    assert_eq!(
        (sent.queue.as_deref(), sent.headers.as_deref()),
        (Some("fast"), Some(r#"{"k":"v"}"#))
    );
    let no_list = host.run(|ctx| ctx.send("t.greet", 5));
    assert!(matches!(no_list, Err(HostError::Invalid(_))));
}

#[test]
fn the_context_says_what_the_host_says() {
    let host = Host::new().attempt(|attempt| attempt.headers = r#"{"n": 7, "s": "x"}"#.into());
    assert_eq!(host.call("t.header", r#"["n"]"#, "{}").unwrap(), "7");
    assert_eq!(host.call("t.header", r#"["s"]"#, "{}").unwrap(), "null");
    host.run(|ctx| ctx.progress("PROGRESS", &Some(1))).unwrap();
    host.run(|ctx| ctx.progress("SUCCESS", &1)).unwrap_err();
    assert_eq!(host.progress(), [("PROGRESS".to_owned(), "1".to_owned())]);
    host.run(|ctx| ctx.check()).unwrap();
    host.set_time_left(Some(Duration::ZERO), Duration::from_secs(1));
    let late = host.run(|ctx| ctx.check()).unwrap_err();
    assert_eq!(late.failure().exception_type, "SoftTimeLimitExceeded");
    assert_eq!(late.failure().arguments, "[]");
    assert_eq!(host.run(|ctx| ctx.send("t", ())), Err(HostError::SoftTimeLimit));
    host.revoke();
    assert!(host.run(|ctx| ctx.check()).unwrap_err().is_rejected());
}
