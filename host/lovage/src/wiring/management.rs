//! What RabbitMQ's management API tells, which the protocol itself does not: the doctor how queues
//! are, and a worker of several tenants which there are.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use lovage_brokers::amqp::{AmqpAddress, QueueDirectory};
use lovage_core::QueueName;
use lovage_core::ports::PortError;
use serde_json::Value;
use ureq::Agent;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The oldest version whose quorum queues keep what they should.
const OLDEST: (u32, u32) = (3, 10);

/// What there is to say of these queues and of their server, each with whether it is as it should be.
/// `url` is `http://host:15672/api`, with user and password if they are others than the broker's.
///
/// # Errors
/// When the API does not answer, or lets the user not in.
pub(super) fn examine(
    url: &str,
    address: &AmqpAddress,
    queues: &[String],
) -> anyhow::Result<Vec<(bool, String)>> {
    let api = Api::new(url, address)?;
    let overview = api.get("overview")?;
    let version = text(&overview, "/rabbitmq_version").unwrap_or("unknown");
    let mut found =
        vec![(number(version) >= OLDEST, format!("rabbitmq {version}, by its management API"))];
    for node in api.get("nodes")?.as_array().into_iter().flatten() {
        let name = text(node, "/name").unwrap_or("?");
        for (alarm, what) in [("mem_alarm", "memory"), ("disk_free_alarm", "disk")] {
            if node.get(alarm).is_some_and(|raised| *raised == true) {
                let text = format!("rabbitmq {name} has run out of {what}: publishers wait");
                found.push((false, text));
            }
        }
    }
    let host = encoded(address.virtual_host());
    for queue in queues {
        match api.find(&format!("queues/{host}/{}", encoded(queue)))? {
            Some(told) => found.extend(of_queue(queue, &told)),
            None => found.push((true, format!("rabbitmq queue {queue} is not there yet"))),
        }
    }
    Ok(found)
}

/// Tells a broker which queues its virtual host has.
pub(super) struct Listing {
    pub(super) url: String,
    pub(super) address: AmqpAddress,
}

#[async_trait]
impl QueueDirectory for Listing {
    async fn queues(&self) -> Result<Vec<QueueName>, PortError> {
        let what = "asking RabbitMQ's management API for its queues";
        let (url, address) = (self.url.clone(), self.address.clone());
        let asked = tokio::task::spawn_blocking(move || list(&url, &address)).await;
        let told = asked.map_err(|error| PortError::transient(what, error))?;
        told.map_err(|error| PortError::transient(what, format!("{error:#}")))
    }
}

/// The names of all queues of a virtual host.
fn list(url: &str, address: &AmqpAddress) -> anyhow::Result<Vec<QueueName>> {
    let host = encoded(address.virtual_host());
    let told = Api::new(url, address)?.get(&format!("queues/{host}?columns=name"))?;
    let queues = told.as_array().into_iter().flatten();
    Ok(queues.filter_map(|queue| text(queue, "/name")).map(QueueName::from).collect())
}

/// What is said of one queue: its type, its policy, where what it drops goes, its own timeout.
fn of_queue(name: &str, told: &Value) -> Vec<(bool, String)> {
    let kind = text(told, "/type").unwrap_or("classic");
    let policy = text(told, "/policy").filter(|policy| !policy.is_empty());
    let setting = |argument: &str, of_policy: &str| {
        let own = told.get("arguments").and_then(|all| all.get(argument));
        let of_policies = told.get("effective_policy_definition");
        let value = own.or_else(|| of_policies?.get(of_policy)).filter(|value| !value.is_null())?;
        Some(value.as_str().map_or_else(|| value.to_string(), Into::into))
    };
    let policy = policy.map_or_else(|| "no policy".into(), |policy| format!("policy {policy}"));
    let dead = setting("x-dead-letter-exchange", "dead-letter-exchange").map_or_else(
        || "no dead-letter exchange".into(),
        |exchange| format!("dead letters to exchange {exchange:?}"),
    );
    let what = format!("rabbitmq queue {name} is a {kind} queue, {policy}, {dead}");
    let mut found = vec![(true, what)];
    if let Some(limit) = setting("x-delivery-limit", "delivery-limit") {
        found.push((true, format!("rabbitmq queue {name} drops what came back {limit} times")));
    }
    if let Some(timeout) = setting("x-consumer-timeout", "consumer-timeout") {
        found.push((true, format!("rabbitmq queue {name} has a consumer_timeout of {timeout} ms")));
    }
    // What is dropped so never reaches a worker, and its caller is told nothing.
    for (argument, of_policy) in [
        ("x-message-ttl", "message-ttl"),
        ("x-max-length", "max-length"),
        ("x-max-length-bytes", "max-length-bytes"),
        ("x-expires", "expires"),
    ] {
        if let Some(value) = setting(argument, of_policy) {
            let text = format!("rabbitmq queue {name} drops calls by {of_policy} = {value}");
            found.push((false, text));
        }
    }
    found
}

/// The text at a place of a document.
fn text<'a>(told: &'a Value, place: &str) -> Option<&'a str> {
    told.pointer(place)?.as_str()
}

struct Api {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Api {
    fn new(url: &str, address: &AmqpAddress) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once("://").context("broker_api has no scheme")?;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (user.to_owned(), rest),
            None => (format!("{}:{}", address.user(), address.password()), rest),
        };
        let settings = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build();
        Ok(Self {
            agent: settings.into(),
            url: format!("{scheme}://{}", rest.trim_end_matches('/')),
            authorization: format!("Basic {}", base64(user.as_bytes())),
        })
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.find(path)?.with_context(|| format!("{} has no {path}", self.url))
    }

    /// What is there; `None` if nothing is.
    fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let place = || format!("asking {}/{path}", self.url);
        let request = self.agent.get(format!("{}/{path}", self.url));
        let request = request.header("authorization", &self.authorization);
        let mut answer = request.call().with_context(place)?;
        match answer.status().as_u16() {
            200 => Ok(Some(answer.body_mut().read_json().with_context(place)?)),
            404 => Ok(None),
            status => anyhow::bail!("{}: status {status}", place()),
        }
    }
}

/// The first two numbers of a version.
fn number(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A part of a path: whatever is not plain is written with percent signs.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{encoded, number, of_queue};

    #[test]
    fn what_a_queue_loses_is_told() {
        let told = json!({
            "type": "quorum", "policy": "short",
            "arguments": {"x-queue-type": "quorum", "x-dead-letter-exchange": "dead"},
            "effective_policy_definition": {"message-ttl": 60000, "delivery-limit": 20},
        });
        let found = of_queue("celery", &told);
        let texts: Vec<_> = found.iter().map(|(good, text)| (*good, text.as_str())).collect();
        let start = "rabbitmq queue celery ";
        assert_eq!(
            texts,
            [
                (
                    true,
                    &*format!(
                        "{start}is a quorum queue, policy short, dead letters to exchange \"dead\""
                    )
                ),
                (true, &*format!("{start}drops what came back 20 times")),
                (false, &*format!("{start}drops calls by message-ttl = 60000")),
            ]
        );
    }

    #[test]
    fn versions_are_compared_by_number_and_names_are_written_for_a_path() {
        assert!(number("3.9.29") < number("3.10.8") && number("3.10.8") < number("4.1.0-rc.1"));
        assert_eq!(encoded("/a b"), "%2Fa%20b");
    }
}
