//! What a server keeps, and whether a ledger may rest on it.

use std::fmt;

use lovage_core::ports::PortError;
use lovage_redis::{Cmd, Link, Value};

/// What a Redis keeps when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every write is on the disk before it is answered.
    EveryWrite,
    /// One to two seconds of writes may be lost, or more where the system decides.
    LastSeconds,
    /// Whatever came after the last snapshot is lost, and without snapshots everything.
    Snapshots,
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::EveryWrite => "every write is on the disk before it counts",
            Self::LastSeconds => {
                "a power cut may lose the last seconds (appendfsync is not always)"
            }
            Self::Snapshots => {
                "a crash loses all since the last snapshot (no append-only file): \
                 tasks may be lost or run twice then"
            }
        })
    }
}

/// Refuses a server that forgets keys by itself; says what the others keep.
pub(super) async fn examine(link: &Link) -> Result<Durability, PortError> {
    let what = "looking at the ledger's server";
    let info = text(&link.run(what, &command(&["INFO", "all"])).await?);
    let policy = field(&info, "maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" {
        return Err(PortError::Permanent {
            what: format!(
                "the ledger cannot be kept in a Redis that evicts keys: its maxmemory-policy is \
                 {policy}, and must be noeviction"
            ),
            source: None,
        });
    }
    if field(&info, "aof_enabled") != Some("1") {
        return Ok(Durability::Snapshots);
    }
    // Many hosted servers do not tell; then the weaker promise is the honest one.
    let asked = command(&["CONFIG", "GET", "appendfsync"]);
    let always = match link.run(what, &asked).await {
        Ok(Value::Array(pair)) => pair.last().map(text).as_deref() == Some("always"),
        Err(error) if error.is_transient() => return Err(error),
        _ => false,
    };
    Ok(if always { Durability::EveryWrite } else { Durability::LastSeconds })
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
