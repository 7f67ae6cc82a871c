//! What a broker's settings may lose, as the doctor asks.

use std::time::Duration;

use lovage_redis::{Cmd, Link, LinkOptions, Value};

use super::{Place, place};
use crate::config::Config;

/// What the broker's own settings may lose, each with whether it is as it should be. Empty where
/// nothing can be lost by a setting: a SQLite file is always opened to survive a power cut.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn durability(config: &Config) -> anyhow::Result<Vec<(bool, String)>> {
    let address = match place(&config.broker_url, "sqla+")? {
        Place::Redis(address) => address,
        Place::Amqp(address) => return Ok(super::amqp::examine(config, *address).await?),
        Place::Nowhere | Place::Postgres(_) | Place::Replies | Place::Sqlite(_) => {
            return Ok(Vec::new());
        }
    };
    let link = Link::new(&address, LinkOptions::new("doctor", PATIENCE))?;
    let mut settings = Vec::new();
    for (name, is_good) in [
        ("maxmemory-policy", (|value| value == "noeviction") as fn(&str) -> bool),
        ("appendonly", |value| value == "yes"),
        ("appendfsync", |value| value != "no"),
    ] {
        let mut question = Cmd::new();
        question.arg("CONFIG").arg("GET").arg(name);
        let answer = link.run("reading a setting of Redis", &question).await?;
        let value = last_text(&answer);
        settings.push((is_good(&value), format!("redis {name} is {value}")));
    }
    Ok(settings)
}

/// How long a server may take to tell a setting.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last text in an answer, wherever it is nested.
fn last_text(answer: &Value) -> String {
    match answer {
        Value::Array(values) => values.last().map(last_text).unwrap_or_default(),
        Value::Map(pairs) => pairs.last().map(|(_, value)| last_text(value)).unwrap_or_default(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        _ => "unknown".into(),
    }
}
