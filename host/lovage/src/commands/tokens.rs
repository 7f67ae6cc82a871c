//! `lovage tokens`: who may ask what.

use std::process::ExitCode;

use lovage_core::Scope;
use serde_json::{Value, json};
use ureq::http::Method;

use super::modules::show;
use crate::cli::TokensCommand;
use crate::inert::inert;
use crate::remote::{Client, list, quoted, text};

/// Runs one of them.
///
/// # Errors
/// When the API cannot be reached, or refuses.
pub(crate) fn run(command: &TokensCommand) -> anyhow::Result<ExitCode> {
    let path = |tenant: &str| format!("/v1/tenants/{}/tokens", quoted(tenant));
    match command {
        TokensCommand::Ls { tenant, remote } => {
            let client = Client::admin(remote)?;
            let answer = client.ask(Method::GET, &path(tenant), None)?;
            show(&client, &answer, |answer| {
                for token in list(answer, "tokens") {
                    println!("{}", line(token));
                }
            });
        }
        TokensCommand::New { tenant, scopes, days, label, remote } => {
            let all = Scope::ALL.iter().filter(|scope| **scope != Scope::Admin);
            let usual: Vec<_> = all.map(|scope| scope.as_str().to_owned()).collect();
            let scopes = if scopes.is_empty() { &usual } else { scopes };
            let wish = json!({ "scopes": scopes, "days": days, "label": label });
            let client = Client::admin(remote)?;
            let answer = client.ask(Method::POST, &path(tenant), Some(&wish))?;
            show(&client, &answer, |answer| println!("{}", text(answer, "token")));
        }
        TokensCommand::Revoke { id, tenant, remote } => {
            let path = format!("{}/{}", path(tenant), quoted(id));
            Client::admin(remote)?.ask(Method::DELETE, &path, None)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(token: &Value) -> String {
    let scopes: Vec<_> = list(token, "scopes").iter().filter_map(Value::as_str).collect();
    let until = match token.get("revoked_at").and_then(Value::as_str) {
        Some(at) => format!("revoked {at}"),
        None => format!("until {}", text(token, "expires_at")),
    };
    inert(&format!(
        "{}  {until}  {}  {}",
        text(token, "id"),
        scopes.join(" "),
        text(token, "label")
    ))
}
