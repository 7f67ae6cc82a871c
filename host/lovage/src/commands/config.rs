//! `lovage config`: every setting, its value, and where it came from.

use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::cli::ConfigArguments;
use crate::config::{Config, KEYS};

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
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["setting", "value", "from", "what it is"]);
    for key in KEYS.iter().filter(|key| !key.is_hidden) {
        let (value, origin) = layers.get(key.path);
        table.add_row([key.path, &masked(value), &origin.to_string(), key.doc]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
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
