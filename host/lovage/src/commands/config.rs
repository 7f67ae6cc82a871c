//! `lovage config`: every setting, its value, and where it came from.

use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::cli::ConfigArguments;
use crate::config::{Config, KEYS, Layers, TENANT_KEYS};

/// Shows the configuration.
///
/// # Errors
/// When it has problems, with all of them.
pub(crate) fn run(arguments: &ConfigArguments) -> anyhow::Result<ExitCode> {
    let layers = super::layers(&arguments.common)?;
    Config::read(&layers)?;
    if arguments.json {
        let mut all = serde_json::Map::new();
        for key in KEYS.iter().filter(|key| !key.is_hidden) {
            let (value, origin) = layers.get(key.path);
            let entry = serde_json::json!({
                "value": masked(value), "origin": origin.to_string(), "doc": key.doc,
            });
            all.insert(key.path.into(), entry);
        }
        for (path, value, origin, doc) in of_tenants(&layers) {
            let entry = serde_json::json!({ "value": value, "origin": origin, "doc": doc });
            all.insert(path, entry);
        }
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["setting", "value", "from", "what it is"]);
    for key in KEYS.iter().filter(|key| !key.is_hidden) {
        let (value, origin) = layers.get(key.path);
        table.add_row([key.path, &masked(value), &origin.to_string(), key.doc]);
    }
    for (path, value, origin, doc) in of_tenants(&layers) {
        table.add_row([&*path, &value, &origin, doc]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// What is said of tenants: path, value, origin and what it is.
fn of_tenants(layers: &Layers) -> Vec<(String, String, String, &'static str)> {
    let mut rows = Vec::new();
    for (name, section) in layers.tenants() {
        for (key, (value, origin)) in section {
            let doc = TENANT_KEYS.iter().find(|it| it.path == *key).map_or("", |it| it.doc);
            let path = format!("tenants.{name}.{key}");
            rows.push((path, value.clone(), origin.to_string(), doc));
        }
    }
    rows
}

/// A value with the password of a URL taken out.
pub(crate) fn masked(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.into() };
    match rest.rsplit_once('@') {
        Some((userinfo, host)) => {
            let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
            format!("{scheme}://{user}:********@{host}")
        }
        None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn passwords_are_never_shown() {
        assert_eq!(masked("redis://me:s3cr@t@host/0"), "redis://me:********@host/0");
        assert_eq!(masked("redis://:s3cret@host/0"), "redis://:********@host/0");
        assert_eq!(masked("redis://host/0"), "redis://host/0");
        assert_eq!(masked("plain"), "plain");
    }
}
