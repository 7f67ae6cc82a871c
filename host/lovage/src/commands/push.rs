//! `lovage push`: uploads a module.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use ed25519_dalek::{Signer as _, SigningKey};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cli::PushArguments;
use crate::remote::{Client, list, quoted, short, text};

/// Uploads, and says what answers now.
///
/// # Errors
/// When the file cannot be read, or the API refuses it.
pub(crate) fn run(arguments: &PushArguments) -> anyhow::Result<ExitCode> {
    let client = Client::public(&arguments.remote)?;
    let stem = arguments.file.file_stem().unwrap_or_default().to_string_lossy();
    let name = arguments.name.clone().unwrap_or_else(|| stem.to_ascii_lowercase());
    let channel = match arguments.canary {
        Some(percentage) => format!("canary&percentage={percentage}"),
        None if arguments.store_only => "none".into(),
        None => "live".into(),
    };
    let (name, accept) = (quoted(&name), arguments.accept);
    let path = format!("/v1/modules/{name}?accept={accept}&channel={channel}");
    let signature = arguments.sign.as_deref().map(|key| sign(key, &arguments.file)).transpose()?;
    let progress = progress();
    let answer = client.upload(&path, &arguments.file, signature.as_deref(), &progress);
    progress.finish_and_clear();
    let module = answer?;
    if arguments.remote.json {
        println!("{module:#}");
    } else {
        println!("{}", line(&module));
    }
    Ok(ExitCode::SUCCESS)
}

/// A module in a line: what answers its calls.
pub(super) fn line(module: &Value) -> String {
    let canary = module.get("canary").filter(|canary| !canary.is_null()).map(|canary| {
        let percentage = canary.get("percentage").and_then(Value::as_u64).unwrap_or(0);
        format!("  canary {} {percentage} %", short(text(canary, "digest")))
    });
    let (name, live) = (text(module, "name"), short(text(module, "live")));
    let (canary, versions) = (canary.unwrap_or_default(), list(module, "versions").len());
    let plural = if versions == 1 { "" } else { "s" };
    crate::inert::inert(&format!("{name}  live {live}{canary}  {versions} version{plural}"))
}

/// What proves that a key's owner wants this file uploaded.
fn sign(key: &Path, file: &Path) -> anyhow::Result<String> {
    let seed = std::fs::read_to_string(key)
        .with_context(|| format!("cannot read the key {}", key.display()))?;
    let seed = hex::decode(seed.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = SigningKey::from_bytes(&seed.context("a key is 64 hexadecimal digits")?);
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let message = format!("lovage:module:v1:{}", hex::encode(Sha256::digest(bytes)));
    let public = hex::encode(key.verifying_key().as_bytes());
    let signature = hex::encode(key.sign(message.as_bytes()).to_bytes());
    Ok(format!("ed25519 {public} {signature}"))
}

/// A bar on standard error while bytes leave, and a spinner while they are looked at.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{spinner} {bar:30} {bytes}/{total_bytes}  uploading, then compiling";
    let style = ProgressStyle::with_template(template);
    let bar =
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
