//! From texts to values, collecting what is wrong.

use std::net::SocketAddr;
use std::time::Duration;

use lovage_celery::Accept;
use lovage_worker::{Failpoint, Rate};

use super::Layers;

/// Reads values out of layers, and remembers every problem instead of stopping at the first.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        Self { layers, problems: layers.problems().to_vec() }
    }

    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What the layers say of tenants.
    pub(super) fn layers(&self) -> &'a Layers {
        self.layers
    }

    /// Remembers a problem in its own words.
    pub(super) fn said_problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(super) fn problem(&mut self, path: &str, what: &str) {
        let (value, origin) = self.layers.get(path);
        self.problems.push(format!("{path} = {value:?} ({origin}) {what}"));
    }

    pub(super) fn text(&mut self, path: &str) -> String {
        self.layers.get(path).0.trim().to_owned()
    }

    pub(super) fn list(&mut self, path: &str) -> Vec<String> {
        let elements = self.layers.get(path).0.split(',').map(str::trim);
        elements.filter(|element| !element.is_empty()).map(Into::into).collect()
    }

    fn read<T: Default>(&mut self, path: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let parsed = parse(self.layers.get(path).0.trim());
        if parsed.is_none() {
            self.problem(path, what);
        }
        parsed.unwrap_or_default()
    }

    pub(super) fn flag(&mut self, path: &str) -> bool {
        self.read(path, "is neither true nor false", |text| match text {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    pub(super) fn number(&mut self, path: &str) -> u64 {
        self.read(path, "is no whole number", |text| text.replace('_', "").parse().ok())
    }

    pub(super) fn count(&mut self, path: &str) -> usize {
        self.read(path, "is no whole number up to 100000", |text| {
            if text == "auto" {
                Some(0)
            } else {
                text.parse().ok().filter(|count| *count <= 100_000)
            }
        })
    }

    pub(super) fn seconds(&mut self, path: &str) -> Duration {
        self.read(path, "is no number of seconds", |text| {
            text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        })
    }

    pub(super) fn failpoint(&mut self, path: &str) -> Failpoint {
        self.read(path, "is no failpoint, such as claimed:3", |text| text.parse().ok())
    }

    pub(super) fn bytes(&mut self, path: &str) -> u64 {
        self.read(path, "is no size, such as 64MiB", size)
    }

    pub(super) fn bytes_u32(&mut self, path: &str) -> u32 {
        self.read(path, "is no size up to 1 GiB, such as 64KiB", |text| {
            size(text).filter(|bytes| *bytes <= 1 << 30).and_then(|bytes| bytes.try_into().ok())
        })
    }

    /// A rate such as `10/s`; `None` for none.
    pub(super) fn rate(&mut self, path: &str) -> Option<Rate> {
        self.read(path, "is no rate, such as 10/s or 6/m", |text| Rate::parse(text).ok())
    }

    /// Two counts, the larger one first as Celery has them; the smaller one is 1 if it is not said.
    pub(super) fn autoscale(&mut self, path: &str) -> Option<(usize, usize)> {
        self.read(path, "is no MAX,MIN with a MIN of 1 at least", |text| {
            if text.is_empty() {
                return Some(None);
            }
            let (most, least) = text.split_once(',').unwrap_or((text, "1"));
            let most: usize = most.trim().parse().ok().filter(|most| *most <= 100_000)?;
            let least = least.trim().parse().ok().filter(|least| (1..=most).contains(least))?;
            Some(Some((least, most)))
        })
    }

    /// A list of what can be read from a text, each element.
    pub(super) fn all<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        path: &str,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for element in self.list(path) {
            match element.parse() {
                Ok(it) => all.push(it),
                Err(error) => self.problem(path, &format!("is refused: {error}")),
            }
        }
        all
    }

    /// An address and a port; `None` for none.
    pub(super) fn address(&mut self, path: &str) -> Option<SocketAddr> {
        self.read(path, "is no address with a port, such as 127.0.0.1:9808", |text| match text {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        })
    }

    pub(super) fn accept(&mut self, path: &str) -> Accept {
        let names = self.list(path);
        match Accept::from_names(names.iter().map(String::as_str)) {
            Ok(accept) => accept,
            Err(error) => {
                self.problem(path, &format!("is refused: {error}"));
                Accept::default()
            }
        }
    }
}

/// A size such as `64MiB`, `64KB` or `1024`, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::size;
    use crate::config::{Config, Layers};

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("10 KB"), Some(10_000));
        assert_eq!(size("7"), Some(7));
        for text in ["", "MiB", "-1", "1.5MiB", "1TiBs", "99999999999999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = Config::read(&Layers::default()).unwrap();
        assert_eq!(config.queues, ["celery".into()]);
        assert!(config.hostname.starts_with("celery@"));
        assert_eq!(config.result_backend, None);
    }

    #[test]
    fn all_problems_are_told_together() {
        let mut layers = Layers::default();
        layers
            .flag("worker.concurrency", Some("many"))
            .flag("sandbox.memory", Some("much"))
            .flag("accept_content", Some("json,pickle"))
            .flag("task.time_limit", Some("0"));
        let text = Config::read(&layers).unwrap_err().to_string();
        for key in ["worker.concurrency", "sandbox.memory", "accept_content", "task.time_limit"] {
            assert!(text.contains(key), "{text}");
        }
    }
}
