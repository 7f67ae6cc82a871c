//! `lovage modules`: what was uploaded, and which version answers.

use std::process::ExitCode;

use serde_json::{Value, json};
use ureq::http::Method;

use super::push::line;
use crate::cli::ModulesCommand;
use crate::inert::inert;
use crate::remote::{Client, list, quoted, short, text};

/// Runs one of them.
///
/// # Errors
/// When the API cannot be reached, or refuses.
pub(crate) fn run(command: &ModulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        ModulesCommand::Ls { remote } => {
            let client = Client::public(remote)?;
            let answer = client.ask(Method::GET, "/v1/modules", None)?;
            show(&client, &answer, |answer| {
                for module in list(answer, "modules") {
                    println!("{}", line(module));
                }
            });
        }
        ModulesCommand::Show { module, version, remote } => {
            let client = Client::public(remote)?;
            let version_path =
                version.as_ref().map_or(String::new(), |it| format!("/versions/{}", quoted(it)));
            let path = format!("/v1/modules/{}{version_path}", quoted(module));
            let answer = client.ask(Method::GET, &path, None)?;
            show(&client, &answer, |answer| match version {
                Some(_) => println!("{answer:#}"),
                None => print_versions(answer),
            });
        }
        ModulesCommand::Diff { module, to, from, remote } => {
            let client = Client::public(remote)?;
            let (module, to, from) = (quoted(module), quoted(to), quoted(from));
            let path = format!("/v1/modules/{module}/diff?from={from}&to={to}");
            let answer = client.ask(Method::GET, &path, None)?;
            show(&client, &answer, print_diff);
        }
        ModulesCommand::Promote { module, version, accept, remote } => {
            let wish = json!({ "version": version, "accept": accept });
            change(&Client::public(remote)?, module, "promote", &wish)?;
        }
        ModulesCommand::Canary { module, percentage, version, accept, remote } => {
            let wish = json!({ "version": version, "percentage": percentage, "accept": accept });
            change(&Client::public(remote)?, module, "canary", &wish)?;
        }
        ModulesCommand::Rollback { module, remote } => {
            change(&Client::public(remote)?, module, "rollback", &json!({}))?;
        }
        ModulesCommand::Rm { module, version, force, remote } => {
            let path = match version {
                Some(version) => format!("{}/versions/{}", quoted(module), quoted(version)),
                None => format!("{}?force={force}", quoted(module)),
            };
            let client = Client::public(remote)?;
            client.ask(Method::DELETE, &format!("/v1/modules/{path}"), None)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(client: &Client, module: &str, what: &str, wish: &Value) -> anyhow::Result<()> {
    let path = format!("/v1/modules/{}/{what}", quoted(module));
    let answer = client.ask(Method::POST, &path, Some(wish))?;
    show(client, &answer, |module| println!("{}", line(module)));
    Ok(())
}

/// Shows an answer as JSON, or as `print` does.
pub(super) fn show(client: &Client, answer: &Value, print: impl FnOnce(&Value)) {
    if client.json {
        println!("{answer:#}");
    } else {
        print(answer);
    }
}

fn print_versions(module: &Value) {
    println!("{}", line(module));
    let canary = module.get("canary").map_or("-", |canary| text(canary, "digest"));
    for version in list(module, "versions") {
        let digest = text(version, "digest");
        let channel = match digest {
            _ if digest == text(module, "live") => "live",
            _ if digest == canary => "canary",
            _ => "",
        };
        let tasks: Vec<_> = list(version, "tasks").iter().filter_map(Value::as_str).collect();
        let at = text(version, "uploaded_at");
        let shown = format!("  {}  {at}  {channel:<6}  {}", short(digest), tasks.join(" "));
        println!("{}", inert(shown.trim_end()));
    }
}

fn print_diff(diff: &Value) {
    for (sign, name) in [("!", "changes"), ("+", "added_tasks"), ("-", "removed_tasks")] {
        for change in list(diff, name).iter().filter_map(Value::as_str) {
            println!("{sign} {}", inert(change));
        }
    }
}
