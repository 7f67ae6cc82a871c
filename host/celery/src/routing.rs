//! Where calls go that name no place themselves: the table that Celery calls `task_routes`.

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRoute {
    /// The tasks it is for: a name, in which `*` stands for any text.
    pub pattern: String,
    /// The exchange; empty for the default one, which routes to the queue of the key's name.
    pub exchange: String,
    /// The routing key, or the queue.
    pub routing_key: String,
}

impl TaskRoute {
    /// Reads `PATTERN=QUEUE` or `PATTERN=EXCHANGE:ROUTING_KEY`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (pattern, place) = text.split_once('=')?;
        let (exchange, routing_key) = place.split_once(':').unwrap_or(("", place));
        let [pattern, exchange, routing_key] =
            [pattern, exchange, routing_key].map(|part| part.trim().to_owned());
        let is_named = !pattern.is_empty() && !routing_key.is_empty();
        is_named.then_some(Self { pattern, exchange, routing_key })
    }
}

/// The first line that is for a task.
pub(crate) fn route<'a>(routes: &'a [TaskRoute], task: &str) -> Option<&'a TaskRoute> {
    routes.iter().find(|route| fits(&route.pattern, task))
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    // What stands between two stars is looked for as early as can be, and what follows the last
    // one at the end.
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{TaskRoute, fits, route};

    #[test]
    fn the_first_line_that_fits_says_where() {
        let read = |text| TaskRoute::parse(text).unwrap();
        let routes = [read("mail.*=media:mail.send"), read("*.charge = payments"), read("*=rest")];
        let place = |task| {
            let route = route(&routes, task).unwrap();
            (route.exchange.as_str(), route.routing_key.as_str())
        };
        assert_eq!(place("mail.charge"), ("media", "mail.send"));
        assert_eq!(place("shop.charge"), ("", "payments"));
        assert_eq!(place("shop.ship"), ("", "rest"));
        for text in ["", "a", "=q", "a=", "a=x:"] {
            assert_eq!(TaskRoute::parse(text), None, "{text}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text) in [("a*b*c", "a1b2bc"), ("*", ""), ("a.*", "a."), ("é*é", "éxé")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*b", "ab1"), ("a", "ab"), ("a*b*c", "acb"), ("a*a", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
