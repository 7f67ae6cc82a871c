//! `lovage tenants`: who there is, and what they may use.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::modules::show;
use crate::cli::TenantsCommand;
use crate::inert::inert;
use crate::remote::{Client, list, quoted, text};

/// Runs one of them.
///
/// # Errors
/// When the API cannot be reached, or refuses.
pub(crate) fn run(command: &TenantsCommand) -> anyhow::Result<ExitCode> {
    match command {
        TenantsCommand::Ls { remote } => {
            let client = Client::admin(remote)?;
            let answer = client.ask(Method::GET, "/v1/tenants", None)?;
            show(&client, &answer, |answer| {
                for tenant in list(answer, "tenants") {
                    println!("{}", line(tenant));
                }
            });
        }
        TenantsCommand::Show { tenant, remote } => {
            let path = format!("/v1/tenants/{}", quoted(tenant));
            println!("{:#}", Client::admin(remote)?.ask(Method::GET, &path, None)?);
        }
        TenantsCommand::Put {
            tenant,
            queues,
            weight,
            grants,
            quotas,
            signatures,
            signing_keys,
            remote,
        } => {
            let quotas = quotas.iter().map(|quota| {
                let (name, number) = quota.split_once('=').context("a quota is NAME=NUMBER")?;
                let number: u64 = number.parse().context("a quota is a whole number")?;
                Ok((name.to_owned(), number.into()))
            });
            let quotas = quotas.collect::<anyhow::Result<Map<String, Value>>>()?;
            let wish = json!({
                "queues": queues, "weight": weight, "grants": grants, "quotas": quotas,
                "signatures": signatures, "signing_keys": signing_keys,
            });
            let path = format!("/v1/tenants/{}", quoted(tenant));
            let client = Client::admin(remote)?;
            let answer = client.ask(Method::PUT, &path, Some(&wish))?;
            show(&client, &answer, |tenant| println!("{}", line(tenant)));
        }
        TenantsCommand::Rm { tenant, remote } => {
            let path = format!("/v1/tenants/{}", quoted(tenant));
            Client::admin(remote)?.ask(Method::DELETE, &path, None)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(tenant: &Value) -> String {
    let queues: Vec<_> = list(tenant, "queues").iter().filter_map(Value::as_str).collect();
    let weight = tenant.get("weight").and_then(Value::as_u64).unwrap_or(1);
    inert(&format!("{}  weight {weight}  {}", text(tenant, "id"), queues.join(" ")))
}
