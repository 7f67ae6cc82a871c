//! Arrows point down only: which crate may name which.
//!
//! ```text
//!  L5  tests/                       may import everything
//!  L4  host/lovage                  the binary; the only place that names an adapter
//!  L3  host/worker host/api         use cases; they meet only through core
//!  L2  host/{brokers,stores,executors,sandbox,egress}   adapters; never each other
//!  L1  host/{celery,redis,sqlite}   bytes <-> vocabulary; a big dependency wrapped once
//!  L0  host/core                    vocabulary, ports, pure decisions
//!  --  sdk/* know wit · guest-examples/* know sdk
//! ```

use std::collections::BTreeMap;

use toml::Table;

use crate::manifests::{self, Manifest};
use crate::tree::{Finding, Tree};

/// The one crate of `tests/` that others may use, and only to test themselves.
const TEST_SUPPORT: &str = "tests/support";

/// Every edge that points up, sideways, or at an adapter from anywhere but the binary.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = manifests::load(tree);
    let folders: BTreeMap<String, String> = manifests
        .iter()
        .filter_map(|manifest| Some((manifest.name()?.to_owned(), manifest.folder().to_owned())))
        .collect();
    let mut findings = Vec::new();
    for manifest in &manifests {
        for dependency in manifest.dependencies() {
            let Some(used) = folders.get(&dependency.name) else { continue };
            let user = manifest.folder();
            let for_tests = dependency.for_tests && used == TEST_SUPPORT;
            if !for_tests && !may_use(user, used) {
                let message = format!("`{user}` may not depend on `{used}`: {}", reason(user));
                findings.push(Finding::whole(&manifest.path, message));
            }
        }
    }
    findings.extend(core_without_runtime(&manifests));
    findings
}

fn may_use(user: &str, used: &str) -> bool {
    match user {
        "host/core" => false,
        "host/celery" | "host/redis" | "host/sqlite" => used == "host/core",
        "host/brokers" | "host/stores" if ["host/redis", "host/sqlite"].contains(&used) => true,
        "host/brokers" | "host/stores" | "host/executors" | "host/sandbox" | "host/egress"
        | "host/worker" | "host/api" => used == "host/core" || used == "host/celery",
        "host/lovage" => used.starts_with("host/"),
        _ if user.starts_with("sdk/") || user.starts_with("guest-examples/") => {
            used.starts_with("sdk/")
        }
        _ => user.starts_with("tests/"),
    }
}

fn reason(user: &str) -> &'static str {
    match user {
        "host/core" => "core knows nobody",
        "host/celery" | "host/redis" | "host/sqlite" => "the codec and the wrappers know core only",
        "host/worker" | "host/api" => {
            "use cases know core and the codec, and never name an adapter"
        }
        "host/lovage" => "the binary knows the crates of host only",
        _ if user.starts_with("host/") => "adapters know core and the codec, never each other",
        _ if user.starts_with("sdk/") => "an SDK knows the contract in wit only",
        _ if user.starts_with("guest-examples/") => "an example knows its SDK only",
        _ => "this folder has no layer",
    }
}

/// Core and the codec do no I/O: what would bring a runtime stays out of their manifests.
fn core_without_runtime(manifests: &[Manifest]) -> Vec<Finding> {
    const RUNTIMES: [&str; 7] =
        ["tokio", "futures", "rustix", "redis", "rusqlite", "wasmtime", "tracing-subscriber"];
    let pure = ["host/core", "host/celery"];
    let mut findings = Vec::new();
    for manifest in manifests.iter().filter(|manifest| pure.contains(&manifest.folder())) {
        for dependency in manifest.dependencies().into_iter().filter(|used| !used.for_tests) {
            if RUNTIMES.contains(&dependency.name.as_str()) {
                let message = format!("`{}` does I/O, which stays out of here", dependency.name);
                findings.push(Finding::whole(&manifest.path, message));
            }
        }
    }
    findings
}

/// One entry of a manifest's dependency tables.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The package's name, whatever it is called here.
    pub(crate) name: String,
    pub(crate) for_tests: bool,
    /// Whether its version comes from the workspace.
    pub(crate) inherited: bool,
}

/// The entries of all dependency tables, those for single platforms included.
pub(crate) fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let mut found = section(manifest);
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    for platform in platforms.into_iter().flat_map(|table| table.values()) {
        found.extend(platform.as_table().map(section).unwrap_or_default());
    }
    found
}

fn section(table: &Table) -> Vec<Dependency> {
    let kinds = ["dependencies", "build-dependencies", "dev-dependencies"];
    let mut found = Vec::new();
    for kind in kinds {
        let Some(entries) = table.get(kind).and_then(toml::Value::as_table) else { continue };
        for (key, value) in entries {
            let name = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
            let inherited = value.get("workspace").and_then(toml::Value::as_bool);
            found.push(Dependency {
                name: name.to_owned(),
                for_tests: kind == "dev-dependencies",
                inherited: inherited.unwrap_or(false),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(folder: &str, section: &str, used: &str) -> Vec<Finding> {
        let path = format!("{folder}/Cargo.toml");
        let text = format!("[package]\nname = \"it\"\n[{section}]\n{used}.workspace = true\n");
        check(&Tree::sample(&[
            (&path, &text),
            ("host/core/Cargo.toml", "[package]\nname = \"lovage-core\"\n"),
            ("host/celery/Cargo.toml", "[package]\nname = \"lovage-celery\"\n"),
            ("host/redis/Cargo.toml", "[package]\nname = \"lovage-redis\"\n"),
            ("host/stores/Cargo.toml", "[package]\nname = \"lovage-stores\"\n"),
            ("sdk/rust/Cargo.toml", "[package]\nname = \"lovage-sdk\"\n"),
            ("tests/support/Cargo.toml", "[package]\nname = \"lovage-test-support\"\n"),
        ]))
    }

    #[test]
    fn an_arrow_that_points_up_or_sideways_is_found() {
        for (folder, used) in [
            ("host/core", "lovage-celery"),
            ("host/celery", "lovage-stores"),
            ("host/brokers", "lovage-stores"),
            ("host/redis", "lovage-celery"),
            ("host/executors", "lovage-redis"),
            ("host/worker", "lovage-redis"),
            ("host/worker", "lovage-stores"),
            ("host/api", "lovage-stores"),
            ("host/lovage", "lovage-sdk"),
            ("host/worker", "lovage-test-support"),
            ("sdk/python", "lovage-core"),
            ("guest-examples/rust/shop", "lovage-core"),
            ("elsewhere", "lovage-core"),
        ] {
            assert_eq!(findings(folder, "dependencies", used).len(), 1, "{folder} -> {used}");
        }
    }

    #[test]
    fn an_arrow_that_points_down_is_not() {
        for (folder, used) in [
            ("host/celery", "lovage-core"),
            ("host/brokers", "lovage-celery"),
            ("host/brokers", "lovage-redis"),
            ("host/stores", "lovage-redis"),
            ("host/worker", "lovage-core"),
            ("host/lovage", "lovage-stores"),
            ("guest-examples/rust/shop", "lovage-sdk"),
            ("tests/e2e", "lovage-stores"),
        ] {
            assert_eq!(findings(folder, "dependencies", used), [], "{folder} -> {used}");
        }
    }

    #[test]
    fn crates_may_test_themselves_with_the_support_crate_and_with_nothing_else_from_above() {
        assert_eq!(findings("host/brokers", "dev-dependencies", "lovage-test-support"), []);
        assert_eq!(findings("host/brokers", "dev-dependencies", "lovage-stores").len(), 1);
        let platform = "target.'cfg(unix)'.dependencies";
        assert_eq!(findings("host/brokers", platform, "lovage-stores").len(), 1);
    }

    #[test]
    fn a_runtime_in_core_is_found() {
        assert_eq!(findings("host/core", "dependencies", "tokio").len(), 1);
        assert_eq!(findings("host/worker", "dependencies", "tokio"), []);
    }
}
