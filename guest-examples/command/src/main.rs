//! A task without any SDK: an ordinary program, in any language that compiles to WASI.
//!
//! Its first argument is the task's name. Standard input is a JSON object with `task`, `id`, `args`,
//! `kwargs`, `attempt` and `idempotency_key`; what it prints is the result; its error stream is its
//! log. It ends with 0 when it is done, with 75 (`EX_TEMPFAIL`) to be run again, and may then print
//! `{"retry": {"after": seconds}}`; any other status has failed.
//!
//! This one counts the words of its first argument; at the word `later` it asks for a retry.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks by its streams")]

use std::{
    io::{self, Read},
    process::ExitCode,
};

use serde_json::Value;

/// `EX_TEMPFAIL` of `sysexits.h`: try again.
const RETRY: u8 = 75;

fn main() -> ExitCode {
    let mut input = String::new();
    let answer = io::stdin().read_to_string(&mut input).map_err(|error| error.to_string());
    match answer.and_then(|_| run(&input)) {
        Ok((answer, status)) => {
            println!("{answer}");
            ExitCode::from(status)
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The answer and the status to end with.
fn run(input: &str) -> Result<(Value, u8), String> {
    let call: Value = serde_json::from_str(input).map_err(|error| error.to_string())?;
    let text = call.pointer("/args/0").and_then(Value::as_str).ok_or("the text is missing")?;
    let attempt = call.pointer("/attempt").and_then(Value::as_u64).unwrap_or(0);
    if text == "later" && attempt <= 1 {
        return Ok((serde_json::json!({"retry": {"after": 1}}), RETRY));
    }
    Ok((text.split_whitespace().count().into(), 0))
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn words_are_counted_and_later_is_later() {
        assert_eq!(run(r#"{"args": ["to be or not"]}"#).unwrap(), (4.into(), 0));
        assert_eq!(run(r#"{"args": ["later"], "attempt": 1}"#).unwrap().1, 75);
        assert_eq!(run(r#"{"args": ["later"], "attempt": 2}"#).unwrap(), (1.into(), 0));
        assert!(run("{}").is_err());
    }
}
