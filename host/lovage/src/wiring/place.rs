//! What a URL means.

use std::path::PathBuf;

use anyhow::bail;
use lovage_brokers::amqp::AmqpAddress;
use lovage_redis::Address;

/// What a URL means.
pub(super) enum Place {
    /// RabbitMQ.
    Amqp(Box<AmqpAddress>),
    Nowhere,
    /// A database of PostgreSQL, by its URL: results.
    Postgres(String),
    Redis(Box<Address>),
    /// Results as messages to their callers, over the broker that the calls came from.
    Replies,
    Sqlite(PathBuf),
}

/// What a URL means; `prefix` is what SQLAlchemy's URLs have before them in this role.
pub(super) fn place(url: &str, prefix: &str) -> anyhow::Result<Place> {
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    match scheme {
        "" => Ok(Place::Nowhere),
        "amqp" | "amqps" | "pyamqp" | "pyamqps" if prefix == "sqla+" => {
            Ok(Place::Amqp(Box::new(AmqpAddress::parse(url)?)))
        }
        "rpc" if prefix == "db+" => Ok(Place::Replies),
        "redis" | "rediss" | "redis+socket" => Ok(Place::Redis(Box::new(Address::parse(url)?))),
        _ if scheme.strip_prefix(prefix).is_some_and(|it| it.starts_with("sqlite")) => {
            Ok(Place::Sqlite(lovage_sqlite::path_of_url(url)?))
        }
        // SQLAlchemy's URLs name a driver, too.
        _ if prefix == "db+" && is_postgres(scheme) => Ok(Place::Postgres(format!(
            "postgresql{}",
            url.get(scheme.len()..).unwrap_or_default()
        ))),
        _ if prefix == "db+" => bail!(
            "`{scheme}` is not supported; redis, rediss, rpc, db+sqlite and db+postgresql are"
        ),
        _ => bail!("`{scheme}` is not supported; amqp, redis, rediss and {prefix}sqlite are"),
    }
}

fn is_postgres(scheme: &str) -> bool {
    let database = scheme.strip_prefix("db+").and_then(|it| it.split('+').next());
    matches!(database, Some("postgresql" | "postgres"))
}
