//! `lovage inspect`, `lovage control` and `lovage status`: the same commands as Celery's, understood
//! by Celery's workers, too.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lovage_celery::{ControlReply, ControlRequest, ReplyTo, control_question, decode_reply};
use lovage_core::Question;
use lovage_core::ports::{Clock as _, Fanout};
use serde_json::{Map, Value, json};

use crate::cli::{AskArguments, StatusArguments, Whom};
use crate::config::Config;
use crate::inert::inert;
use crate::wiring::{self, SystemClock};

/// What Celery's tools exit with when no worker answered (`EX_UNAVAILABLE`).
const NOBODY: u8 = 69;

/// What each command's words are, in order; the last one takes all that are left if it ends in `*`.
const WORDS: [(&str, &[&str]); 14] = [
    ("query_task", &["ids*"]),
    ("registered", &["taskinfoitems*"]),
    ("conf", &["with_defaults"]),
    ("memdump", &["samples"]),
    ("revoke", &["task_id*"]),
    ("terminate", &["signal", "task_id*"]),
    ("revoke_by_stamped_headers", &["headers*"]),
    ("rate_limit", &["task_name", "rate_limit"]),
    ("time_limit", &["task_name", "soft", "hard"]),
    ("add_consumer", &["queue", "exchange", "exchange_type", "routing_key"]),
    ("cancel_consumer", &["queue"]),
    ("pool_grow", &["n"]),
    ("pool_shrink", &["n"]),
    ("autoscale", &["max", "min"]),
];

/// Commands that are only questions, and those that change something; each group is refused the
/// other's, as in Celery.
const QUESTIONS: [&str; 15] = [
    "active",
    "active_queues",
    "clock",
    "conf",
    "hello",
    "memdump",
    "memsample",
    "objgraph",
    "ping",
    "query_task",
    "registered",
    "report",
    "reserved",
    "revoked",
    "scheduled",
];

/// Asks workers something.
///
/// # Errors
/// When the question makes no sense, or cannot be sent.
pub(crate) fn inspect(arguments: &AskArguments) -> anyhow::Result<ExitCode> {
    let method = arguments.command.as_str();
    if !QUESTIONS.contains(&method) && method != "stats" {
        bail!("`{method}` is no question: {}, stats", QUESTIONS.join(", "));
    }
    command(arguments)
}

/// Has workers do something.
///
/// # Errors
/// When the command makes no sense, or cannot be sent.
pub(crate) fn control(arguments: &AskArguments) -> anyhow::Result<ExitCode> {
    if QUESTIONS.contains(&arguments.command.as_str()) || arguments.command == "stats" {
        bail!("`{}` is a question: see `lovage inspect`", arguments.command);
    }
    command(arguments)
}

fn command(arguments: &AskArguments) -> anyhow::Result<ExitCode> {
    let config = config(&arguments.whom)?;
    let mut named = named(&arguments.command, &arguments.words)?;
    if arguments.terminate {
        named.insert("terminate".into(), true.into());
    }
    if let Some(signal) = &arguments.signal {
        named.insert("signal".into(), signal.as_str().into());
    }
    let replies = super::block_on(ask(&config, &arguments.whom, &arguments.command, named))?;
    // A worker that was told to end says nothing.
    let silent = arguments.command == "shutdown" && replies.is_empty();
    show(&replies, arguments.whom.json, |reply| {
        let word = if reply.answer.get("error").is_some() { "ERROR" } else { "OK" };
        println!("->  {}: {word}\n{}", inert(&reply.node), indented(&reply.answer));
    })?;
    if replies.is_empty() && !silent {
        eprint_nobody();
        return Ok(ExitCode::from(NOBODY));
    }
    let failed = replies.iter().any(|reply| reply.answer.get("error").is_some());
    Ok(ExitCode::from(u8::from(failed)))
}

/// Says which workers answer.
///
/// # Errors
/// When they cannot be asked.
pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let config = config(&arguments.whom)?;
    let replies = super::block_on(ask(&config, &arguments.whom, "ping", Map::new()))?;
    show(&replies, arguments.whom.json, |reply| println!("->  {}: OK", inert(&reply.node)))?;
    if replies.is_empty() {
        eprint_nobody();
        return Ok(ExitCode::from(NOBODY));
    }
    if !arguments.whom.json {
        let plural = if replies.len() == 1 { "" } else { "s" };
        println!("\n{} node{plural} online.", replies.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn config(whom: &Whom) -> anyhow::Result<Config> {
    Config::read(&super::layers(&whom.common)?)
}

/// Words as the arguments that the command has.
fn named(method: &str, words: &[String]) -> anyhow::Result<Map<String, Value>> {
    let names = WORDS.iter().find(|(name, _)| *name == method).map_or(&[][..], |(_, names)| names);
    let mut named = Map::new();
    let mut words = words.iter();
    for name in names {
        if let Some(name) = name.strip_suffix('*') {
            let rest: Vec<_> = words.by_ref().map(|word| typed(word)).collect();
            if !rest.is_empty() {
                let texts = rest.iter().map(|value| match value {
                    Value::String(text) => text.as_str().into(),
                    other => other.to_string().into(),
                });
                named.insert(name.into(), Value::Array(texts.collect()));
            }
        } else if let Some(word) = words.next() {
            named.insert((*name).into(), typed(word));
        }
    }
    if let Some(word) = words.next() {
        bail!("`{method}` has no place for `{word}`");
    }
    Ok(named)
}

/// A word as a number or a truth if it looks like one.
fn typed(word: &str) -> Value {
    match serde_json::from_str(word) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => word.into(),
    }
}

async fn ask(
    config: &Config,
    whom: &Whom,
    method: &str,
    arguments: Map<String, Value>,
) -> anyhow::Result<Vec<ControlReply>> {
    let fanout = wiring::fanout(config)?;
    let fanout: &dyn Fanout =
        &*fanout.context("this broker has no way to reach workers beside its queues")?;
    let wait = Duration::try_from_secs_f64(whom.timeout).context("--timeout is no time")?;
    let mailbox = uuid::Uuid::new_v4().to_string();
    let request = ControlRequest {
        method: method.into(),
        arguments,
        destination: whom.destination.clone(),
        pattern: whom.pattern.clone().map(|pattern| (pattern, whom.matcher.clone())),
        reply_to: Some(ReplyTo {
            exchange: fanout.answers_exchange(),
            routing_key: mailbox.clone(),
        }),
        ticket: Some(uuid::Uuid::new_v4().to_string()),
        clock: Some(1),
    };
    let answers_max = Some(whom.destination.len()).filter(|count| *count > 0);
    let parts = control_question(&request, SystemClock.now().after(wait));
    let question = Question { parts, mailbox: Some(mailbox), wait, answers_max };
    let answers = fanout.ask(question).await.context("cannot ask the workers")?;
    let mut replies: Vec<_> = answers.iter().flat_map(decode_reply).collect();
    replies.retain(|reply| reply.ticket == request.ticket);
    replies.sort_by(|one, other| one.node.cmp(&other.node));
    Ok(replies)
}

fn show(replies: &[ControlReply], json: bool, line: impl Fn(&ControlReply)) -> anyhow::Result<()> {
    if json {
        let all: Map<String, Value> =
            replies.iter().map(|it| (it.node.clone(), it.answer.clone())).collect();
        println!("{}", serde_json::to_string(&json!(all))?);
    } else {
        replies.iter().for_each(line);
    }
    Ok(())
}

/// An answer as people read it. What workers say comes from anyone.
fn indented(answer: &Value) -> String {
    let text = match answer {
        Value::Object(members) if members.len() == 1 => {
            members.values().next().and_then(Value::as_str).map(ToOwned::to_owned)
        }
        Value::Array(list) if list.is_empty() => Some("- empty -".into()),
        _ => None,
    };
    let text = text.or_else(|| serde_json::to_string_pretty(answer).ok()).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(|line| format!("        {}", inert(line))).collect();
    lines.join("\n")
}

fn eprint_nobody() {
    use std::io::Write as _;

    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "Error: No nodes replied within time constraint");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::named;

    #[test]
    fn words_become_arguments_by_their_order() {
        let read = |line: &str| {
            let mut words = line.split(' ').map(ToOwned::to_owned);
            let method = words.next().unwrap();
            named(&method, &words.collect::<Vec<_>>()).map(Value::Object)
        };
        assert_eq!(
            read("rate_limit a.b 10/m").unwrap(),
            json!({"task_name": "a.b", "rate_limit": "10/m"})
        );
        assert_eq!(read("revoke 1 b").unwrap(), json!({"task_id": ["1", "b"]}));
        assert_eq!(
            read("time_limit a 1.5 3").unwrap(),
            json!({"task_name": "a", "soft": 1.5, "hard": 3})
        );
        assert_eq!(read("pool_grow 2").unwrap(), json!({"n": 2}));
        assert!(read("ping 2").is_err());
    }
}
