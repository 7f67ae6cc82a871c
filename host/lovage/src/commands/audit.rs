//! `lovage audit`: what was changed, by whom, and whether the log is what was written.

use std::process::ExitCode;

use serde_json::Value;
use ureq::http::Method;

use super::modules::show;
use crate::cli::AuditCommand;
use crate::inert::inert;
use crate::remote::{Client, list, text};

/// Runs one of them. Exits with 1 when the log was altered.
///
/// # Errors
/// When the API cannot be reached, or refuses.
pub(crate) fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Ls { after, remote } => {
            let client = Client::admin(remote)?;
            let answer = client.ask(Method::GET, &format!("/v1/audit?after={after}"), None)?;
            show(&client, &answer, |answer| {
                for row in list(answer, "rows") {
                    println!("{}", line(row));
                }
            });
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Verify { remote } => {
            let client = Client::admin(remote)?;
            let answer = client.ask(Method::GET, "/v1/audit/verify", None)?;
            let intact = answer.get("intact").and_then(Value::as_bool).unwrap_or(false);
            show(&client, &answer, |answer| {
                let rows = answer.get("rows").and_then(Value::as_u64).unwrap_or(0);
                let problem = text(answer, "problem");
                let said = if intact { "intact" } else { problem };
                println!("{}", inert(&format!("{said}: {rows} rows, {}", text(answer, "hash"))));
            });
            Ok(if intact { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}

fn line(row: &Value) -> String {
    let number = row.get("number").and_then(Value::as_u64).unwrap_or(0);
    let word = |name| text(row, name);
    inert(&format!(
        "{number}  {}  {}  {}  {}  {}  {}",
        word("at"),
        word("actor"),
        word("tenant"),
        word("action"),
        word("subject"),
        word("detail")
    ))
}
