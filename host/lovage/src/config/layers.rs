//! The layers of configuration as they were written: texts and where they came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::keys::{find, find_of_tenant, nearest};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Environment(name) => formatter.write_str(name),
            Self::Flag => formatter.write_str("flag"),
        }
    }
}

/// All layers, the upper ones over the lower ones.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    values: BTreeMap<&'static str, (String, Origin)>,
    /// What is said of each tenant, by its name and the key.
    tenants: BTreeMap<String, BTreeMap<&'static str, (String, Origin)>>,
    problems: Vec<String>,
    home: Option<String>,
    cache_home: Option<String>,
}

/// What the sections of tenants begin with.
const TENANTS: &str = "tenants.";

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "lovage.toml";

/// Celery's own environment variables, which stand in for ours.
const ALIASES: [(&str, &str); 2] =
    [("CELERY_BROKER_URL", "broker_url"), ("CELERY_RESULT_BACKEND", "result_backend")];

impl Layers {
    /// Reads the file and the environment of this process.
    ///
    /// # Errors
    /// When the file cannot be read, or is no TOML.
    pub(crate) fn of_process(file: Option<&Path>) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut layers = Self::default();
        match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                layers.file(path, &text)?;
            }
            None => {
                if let Ok(text) = std::fs::read_to_string(DEFAULT_FILE) {
                    layers.file(Path::new(DEFAULT_FILE), &text)?;
                }
            }
        }
        layers.environment(environment);
        Ok(layers)
    }

    /// Lays a file over what is there.
    pub(crate) fn file(&mut self, path: &Path, text: &str) -> anyhow::Result<()> {
        let table: toml::Table =
            text.parse().with_context(|| format!("{} is no TOML", path.display()))?;
        self.table(&Origin::File(path.into()), "", &table);
        Ok(())
    }

    fn table(&mut self, origin: &Origin, prefix: &str, table: &toml::Table) {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            let text = match value {
                toml::Value::Table(inner) => {
                    self.table(origin, &format!("{path}."), inner);
                    continue;
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(elements) => {
                    let texts: Vec<_> = elements.iter().filter_map(toml::Value::as_str).collect();
                    if texts.len() != elements.len() {
                        self.problems
                            .push(format!("{path} is a list of something else than texts"));
                    }
                    texts.join(",")
                }
                other => other.to_string(),
            };
            self.set(&path, text, origin.clone());
        }
    }

    /// Lays environment variables over what is there.
    fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let variables: BTreeMap<_, _> = variables.into_iter().collect();
        self.home = variables.get("HOME").cloned();
        self.cache_home = variables.get("XDG_CACHE_HOME").cloned();
        for (alias, path) in ALIASES {
            if let Some(value) = variables.get(alias) {
                self.set(path, value.clone(), Origin::Environment(alias.into()));
            }
        }
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix("LOVAGE_") else { continue };
            let path = rest.to_ascii_lowercase().replace("__", ".");
            // A name without a section may be somebody else's; one with a section is a slip.
            if path.contains('.') || find(&path).is_some() {
                self.set(&path, value, Origin::Environment(name));
            }
        }
    }

    /// Lays a flag over what is there, if it was given.
    pub(crate) fn flag(&mut self, path: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.set(path, value.into(), Origin::Flag);
        }
        self
    }

    fn set(&mut self, path: &str, value: String, origin: Origin) {
        if let Some((tenant, name)) =
            path.strip_prefix(TENANTS).and_then(|path| path.rsplit_once('.'))
        {
            return self.set_of_tenant(tenant, name, value, origin);
        }
        match find(path) {
            Some(key) => {
                self.values.insert(key.path, (value, origin));
            }
            None => self
                .problems
                .push(format!("{path} ({origin}) is no setting; did you mean {}?", nearest(path))),
        }
    }

    fn set_of_tenant(&mut self, tenant: &str, name: &str, value: String, origin: Origin) {
        let Some(key) = find_of_tenant(name) else {
            let path = format!("{TENANTS}{tenant}.{name}");
            return self.problems.push(format!("{path} ({origin}) is no setting of a tenant"));
        };
        self.tenants.entry(tenant.into()).or_default().insert(key.path, (value, origin));
    }

    /// The tenants that are named, each with what is said of it.
    pub(crate) fn tenants(&self) -> &BTreeMap<String, BTreeMap<&'static str, (String, Origin)>> {
        &self.tenants
    }

    /// The value of a key that exists, as written, and where it came from.
    pub(crate) fn get(&self, path: &str) -> (&str, Origin) {
        match (self.values.get(path), find(path)) {
            (Some((value, origin)), _) => (value, origin.clone()),
            (None, Some(key)) => (key.default, Origin::Default),
            (None, None) => ("", Origin::Default),
        }
    }

    /// What is wrong with the layers themselves.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The user's folder for what can be made again.
    pub(crate) fn user_cache(&self) -> PathBuf {
        match (&self.cache_home, &self.home) {
            (Some(folder), _) if !folder.is_empty() => folder.into(),
            (_, Some(home)) if !home.is_empty() => Path::new(home).join(".cache"),
            _ => ".lovage".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Layers, Origin};

    fn layers(file: &str, environment: &[(&str, &str)]) -> Layers {
        let mut layers = Layers::default();
        layers.file(Path::new("lovage.toml"), file).unwrap();
        let pairs = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        layers.environment(pairs.collect::<Vec<_>>());
        layers
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let mut layers = layers(
            "broker_url = 'redis://file'\n[worker]\nconcurrency = 3\nlease = 7",
            &[("LOVAGE_WORKER__CONCURRENCY", "4"), ("CELERY_BROKER_URL", "redis://celery")],
        );
        layers.flag("worker.concurrency", Some("5")).flag("worker.lease", None);
        assert_eq!(layers.get("worker.concurrency"), ("5", Origin::Flag));
        assert_eq!(layers.get("worker.lease").0, "7");
        assert_eq!(layers.get("broker_url").0, "redis://celery");
        assert_eq!(layers.get("task.default_queue"), ("celery", Origin::Default));
        assert!(layers.problems().is_empty());
    }

    #[test]
    fn our_own_variable_wins_over_celerys() {
        let pairs =
            [("CELERY_BROKER_URL", "redis://celery"), ("LOVAGE_BROKER_URL", "redis://ours")];
        assert_eq!(layers("", &pairs).get("broker_url").0, "redis://ours");
    }

    #[test]
    fn unknown_keys_are_problems_that_name_the_nearest() {
        let layers = layers("[worker]\nconcurency = 3", &[("LOVAGE_SANDBOX__MEMROY", "1")]);
        let text = layers.problems().join("\n");
        assert!(text.contains("did you mean worker.concurrency?"), "{text}");
        assert!(text.contains("did you mean sandbox.memory?"), "{text}");
    }
}
