//! Which queues a publication goes to, by the bindings that kombu keeps.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use lovage_core::Publication;
use lovage_core::ports::PortError;
use lovage_redis::{Cmd, Link, Pipeline, Value};
use tracing::warn;

use super::keys::Keyspace;

/// The bindings of the exchanges that a batch names, read anew for each batch as kombu does: a queue
/// that was bound a moment ago gets the message.
#[derive(Debug, Default)]
pub(super) struct Routes {
    exchanges: Mutex<HashMap<String, Vec<Binding>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    routing_key: String,
    /// Bindings of topic exchanges have a pattern beside the key it was made of.
    is_pattern: bool,
    queue: String,
}

impl Routes {
    /// Reads the bindings that these publications need; none for those to the default exchange.
    pub(super) async fn read(
        &self,
        link: &Link,
        keys: &Keyspace,
        publications: impl Iterator<Item = &Publication>,
    ) -> Result<(), PortError> {
        let named: BTreeSet<&str> = publications
            .map(|one| &*one.exchange)
            .filter(|exchange| !exchange.is_empty())
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let mut commands = Pipeline::new();
        for exchange in &named {
            let mut command = Cmd::new();
            command.arg("SMEMBERS").arg(keys.bindings(exchange));
            commands.add_command(command);
        }
        let answers = link.run_all("reading bindings", &commands).await?;
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.clear();
        for (exchange, answer) in named.into_iter().zip(answers) {
            exchanges.insert(exchange.to_owned(), bindings(answer, &keys.separator));
        }
        Ok(())
    }

    /// The queues that get a message. The default exchange routes to the queue of the key's name,
    /// and so does one to which nothing is bound: kombu drops such a message without a word.
    pub(super) fn queues(&self, exchange: &str, routing_key: &str) -> Vec<String> {
        let mut queues = Vec::new();
        if !exchange.is_empty() {
            let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
            let bound = exchanges.get(exchange).map(Vec::as_slice).unwrap_or_default();
            let matching = bound.iter().filter(|binding| binding.matches(routing_key));
            queues.extend(matching.map(|binding| binding.queue.clone()));
            queues.sort_unstable();
            queues.dedup();
            if queues.is_empty() {
                warn!(
                    exchange,
                    routing_key,
                    "No queue is bound to exchange `{exchange}` for `{routing_key}`; sent to the queue of that name"
                );
            }
        }
        if queues.is_empty() {
            queues.push(routing_key.to_owned());
        }
        queues
    }
}

impl Binding {
    fn matches(&self, routing_key: &str) -> bool {
        if self.is_pattern {
            let pattern: Vec<_> = self.routing_key.split('.').collect();
            let words: Vec<_> = routing_key.split('.').collect();
            matches_topic(&pattern, &words)
        } else {
            self.routing_key == routing_key
        }
    }
}

fn bindings(answer: Value, separator: &str) -> Vec<Binding> {
    let (Value::Array(members) | Value::Set(members)) = answer else { return Vec::new() };
    let parse = |member: Value| {
        let Value::BulkString(bytes) = member else { return None };
        let text = String::from_utf8(bytes).ok()?;
        let mut fields = text.split(separator);
        let (routing_key, pattern, queue) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Binding {
            routing_key: routing_key.to_owned(),
            is_pattern: !pattern.is_empty(),
            queue: queue.to_owned(),
        })
    };
    members.into_iter().filter_map(parse).collect()
}

/// `*` is one word, `#` any number of them. Patterns are short; words are matched from the left.
fn matches_topic(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), _) => {
            (0..=words.len()).any(|skip| matches_topic(rest, words.get(skip..).unwrap_or_default()))
        }
        (Some((&first, rest)), Some((&word, words))) => {
            (first == "*" || first == word) && matches_topic(rest, words)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lovage_redis::Value;

    use super::{Routes, bindings};

    fn routes(members: &[&str]) -> Routes {
        let members = members.iter().map(|text| Value::BulkString(text.as_bytes().to_vec()));
        let routes = Routes::default();
        let found = bindings(Value::Array(members.collect()), "|");
        routes.exchanges.lock().unwrap().insert("media".to_owned(), found);
        routes
    }

    #[test]
    fn the_default_exchange_routes_by_name() {
        assert_eq!(routes(&[]).queues("", "celery"), ["celery"]);
    }

    #[test]
    fn a_direct_exchange_routes_by_key_to_every_bound_queue() {
        let routes = routes(&["hd||video", "hd||archive", "sd||small", "broken"]);
        assert_eq!(routes.queues("media", "hd"), ["archive", "video"]);
        assert_eq!(routes.queues("media", "else"), ["else"], "nothing is dropped");
        assert_eq!(routes.queues("unknown", "key"), ["key"]);
    }

    #[test]
    fn a_topic_exchange_routes_by_words() {
        let routes = routes(&["video.#|^video.*?$|all", "*.hd|^.*?\\.hd$|hd", "#|^.*?$|log"]);
        assert_eq!(routes.queues("media", "video.hd"), ["all", "hd", "log"]);
        assert_eq!(routes.queues("media", "video"), ["all", "log"]);
        assert_eq!(routes.queues("media", "audio.hd.x"), ["log"]);
    }
}
