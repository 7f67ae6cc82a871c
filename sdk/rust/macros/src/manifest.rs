//! A task's entry in the manifest, written while the task is compiled.

use std::fmt::Write as _;

use syn::{Error, LitStr, Result};

use crate::{
    function::Function,
    options::Item,
    units::{bytes, milliseconds},
};

const KNOWN: [&str; 14] = [
    "name",
    "retry",
    "breaker",
    "idempotency_key",
    "idempotency",
    "limits",
    "rate_limit",
    "queue",
    "schedule",
    "capabilities",
    "ignore_result",
    "store_errors_even_if_ignored",
    "acks_late",
    "reuse",
];
const RETRY: [&str; 14] = [
    "max",
    "max_elapsed",
    "on_failure",
    "retry_on",
    "never_on",
    "honor_retry_after",
    "backoff",
    "base",
    "factor",
    "cap",
    "floor",
    "jitter",
    "delay",
    "budget",
];
const BACKOFFS: [&str; 6] =
    ["fixed", "exponential", "celery", "full_jitter", "equal_jitter", "decorrelated"];
const RETRYABLE: [&str; 6] =
    ["returned_retryable", "returned_failure", "trap", "timeout", "cpu_time", "exit"];
const NEVER_RETRIED: [&str; 11] = [
    "returned_permanent",
    "fuel",
    "memory",
    "stack_overflow",
    "output_too_large",
    "arguments_too_large",
    "host_calls",
    "invalid_result",
    "executor_lost",
    "capability_denied",
    "mismatch",
];
const BUDGET: [&str; 2] = ["ratio", "floor_per_s"];
const BREAKER: [&str; 6] = ["min_calls", "window", "open_at", "open_for", "max_open", "probes"];
const LIMITS: [&str; 6] = ["time", "soft_time", "cpu_time", "memory", "fuel", "output"];

/// The entry, and the name in it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) json: String,
}

impl Entry {
    pub(crate) fn write(function: &Function, options: &[Item]) -> Result<Self> {
        let mut object = Object::new();
        let name = match options.iter().find(|option| option.name() == "name") {
            Some(option) => option.text()?.value(),
            None => default_name(function),
        };
        object.text("name", &name);
        let labels = function.parameters.iter().map(|parameter| quoted(&parameter.label()));
        object.raw("params", &format!("[{}]", labels.collect::<Vec<_>>().join(",")));
        if let Some(doc) = &function.doc {
            object.text("doc", doc);
        }
        for option in options {
            if object.has(&option.name()) && option.name() != "name" {
                return Err(Error::new(option.span(), "given twice"));
            }
            write_option(&mut object, function, option)?;
        }
        Ok(Self { name, json: object.finish() })
    }
}

fn write_option(object: &mut Object, function: &Function, option: &Item) -> Result<()> {
    match option.name().as_str() {
        "name" => {}
        "retry" => object.raw("retry", &retry(option.list()?)?),
        "breaker" => object.raw("breaker", &breaker(option.list_or_flag()?)?),
        "idempotency_key" => {
            let mut idempotency = Object::new();
            idempotency.text("key", &template(function, option.text()?)?);
            object.raw("idempotency", &idempotency.finish());
        }
        "idempotency" => object.raw("idempotency", &idempotency(function, option.list()?)?),
        "limits" => object.raw("limits", &limits(option.list()?)?),
        name @ ("rate_limit" | "queue" | "schedule") => object.text(name, &option.text()?.value()),
        "capabilities" => {
            let texts = option.list()?.iter().map(|item| Ok(quoted(&item.text()?.value())));
            object.raw(
                "capabilities",
                &format!("[{}]", texts.collect::<Result<Vec<_>>>()?.join(",")),
            );
        }
        name @ ("ignore_result" | "store_errors_even_if_ignored" | "acks_late") => {
            object.raw(name, &option.truth()?.to_string());
        }
        "reuse" => object.raw("reuse", &option.number()?.to_string()),
        _ => return Err(option.unknown(&KNOWN)),
    }
    Ok(())
}

fn retry(options: &[Item]) -> Result<String> {
    let mut object = Object::new();
    for option in options {
        match option.name().as_str() {
            "max" => {
                let max = option.number_or_unlimited()?;
                object.raw("max", &max.map_or_else(|| "null".to_owned(), |max| max.to_string()));
            }
            name @ ("on_failure" | "honor_retry_after") => {
                object.raw(name, &option.truth()?.to_string());
            }
            "max_elapsed" => object.raw("max_elapsed_s", &seconds(option.text()?)?),
            "retry_on" => object.raw("retry_on", &words(option, &RETRYABLE)?),
            "never_on" => {
                object.raw("never_on", &words(option, &[&RETRYABLE[..], &NEVER_RETRIED].concat())?);
            }
            "backoff" => object.text("backoff", &option.word(&BACKOFFS)?),
            "base" => object.raw("base_s", &seconds(option.text()?)?),
            "factor" => object.raw("factor", &option.factor()?),
            "cap" => object.raw("cap_s", &seconds(option.text()?)?),
            "floor" => object.raw("floor_s", &seconds(option.text()?)?),
            "budget" => object.raw("budget", &budget(option.list()?)?),
            "jitter" => {
                object.text("jitter", &option.word(&["none", "full", "equal", "celery"])?);
            }
            "delay" => object.raw("delay_s", &seconds(option.text()?)?),
            _ => return Err(option.unknown(&RETRY)),
        }
    }
    Ok(object.finish())
}

fn budget(options: &[Item]) -> Result<String> {
    let mut object = Object::new();
    for option in options {
        match option.name().as_str() {
            name @ ("ratio" | "floor_per_s") => object.raw(name, &option.factor()?),
            _ => return Err(option.unknown(&BUDGET)),
        }
    }
    Ok(object.finish())
}

fn breaker(options: &[Item]) -> Result<String> {
    let mut object = Object::new();
    for option in options {
        match option.name().as_str() {
            name @ ("min_calls" | "probes") => object.raw(name, &option.number()?.to_string()),
            "window" => object.raw("window_s", &seconds(option.text()?)?),
            "open_at" => object.raw("open_at", &option.factor()?),
            "open_for" => object.raw("open_for_s", &seconds(option.text()?)?),
            "max_open" => object.raw("max_open_s", &seconds(option.text()?)?),
            _ => return Err(option.unknown(&BREAKER)),
        }
    }
    Ok(object.finish())
}

/// A JSON list of some of a few words.
fn words(option: &Item, known: &[&str]) -> Result<String> {
    let words = option.list()?.iter().map(|item| Ok(quoted(&item.word(known)?)));
    Ok(format!("[{}]", words.collect::<Result<Vec<_>>>()?.join(",")))
}

fn idempotency(function: &Function, options: &[Item]) -> Result<String> {
    let mut object = Object::new();
    for option in options {
        match option.name().as_str() {
            "key" => object.text("key", &template(function, option.text()?)?),
            "ttl" => object.raw("ttl_s", &whole_seconds(option.text()?)?.to_string()),
            _ => return Err(option.unknown(&["key", "ttl"])),
        }
    }
    Ok(object.finish())
}

fn limits(options: &[Item]) -> Result<String> {
    let mut object = Object::new();
    for option in options {
        let (name, value) = match option.name().as_str() {
            "time" => ("time_ms", milliseconds(option.text()?)?),
            "soft_time" => ("soft_time_ms", milliseconds(option.text()?)?),
            "cpu_time" => ("cpu_time_ms", milliseconds(option.text()?)?),
            "memory" => ("memory_bytes", bytes(option.text()?)?),
            "fuel" => ("fuel", option.number()?),
            "output" => ("output_bytes", bytes(option.text()?)?),
            _ => return Err(option.unknown(&LIMITS)),
        };
        object.raw(name, &value.to_string());
    }
    Ok(object.finish())
}

/// Seconds as a JSON number. The manifest has seconds where Celery has them.
fn seconds(text: &LitStr) -> Result<String> {
    let milliseconds = milliseconds(text)?;
    let (whole, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    Ok(if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") })
}

fn whole_seconds(text: &LitStr) -> Result<u64> {
    match milliseconds(text)? {
        short if short % 1_000 != 0 => Err(Error::new(text.span(), "expected whole seconds")),
        milliseconds => Ok(milliseconds / 1_000),
    }
}

/// Checks that every `{…}` of a key template names a parameter, or one by its position.
fn template(function: &Function, text: &LitStr) -> Result<String> {
    let value = text.value();
    let wrong = |message: String| Error::new(text.span(), message);
    let mut rest = value.as_str();
    while let Some(start) = rest.find(['{', '}']) {
        let (_, from) = rest.split_at(start);
        let inside = from.strip_prefix('{').and_then(|from| from.split_once('}'));
        let Some((name, after)) = inside else {
            return Err(wrong("a brace is left open".to_owned()));
        };
        let root = name.split('.').next().unwrap_or(name);
        let known = match root.parse::<usize>() {
            Ok(position) => position < function.parameters.len(),
            Err(_) => function.parameters.iter().any(|parameter| parameter.label() == root),
        };
        if !known {
            return Err(wrong(format!("the task has no parameter `{root}`")));
        }
        rest = after;
    }
    Ok(value)
}

/// Celery's own default: the module and the function.
#[expect(clippy::disallowed_methods, reason = "cargo tells a macro so which crate it is in")]
fn default_name(function: &Function) -> String {
    let name = function.name.to_string();
    match std::env::var("CARGO_CRATE_NAME") {
        Ok(module) => format!("{module}.{name}"),
        Err(_) => name,
    }
}

/// A JSON object as it is written.
struct Object {
    text: String,
    names: Vec<String>,
}

impl Object {
    fn new() -> Self {
        Self { text: String::from("{"), names: Vec::new() }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn raw(&mut self, name: &str, json: &str) {
        if !self.names.is_empty() {
            self.text.push(',');
        }
        self.names.push(name.to_owned());
        self.text.push_str(&quoted(name));
        self.text.push(':');
        self.text.push_str(json);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
