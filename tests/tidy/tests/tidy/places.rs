//! What may lie where: the top level is a closed list, and no room is called "other".

use crate::tree::{File, Finding, Tree};

const TOP_LEVEL: [&str; 19] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "docs",
    "guest-examples",
    "host",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sdk",
    "tests",
    "wit",
];

/// Names that say nothing: what is put under them belongs somewhere else.
const NAMELESS: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// Where the names are another project's: a stand-in has the modules that it stands in for.
const STAND_IN: &str = "/standin/";

/// Entries of the top level that are not on the list, and rooms with names that say nothing.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tops: Vec<&str> =
        tree.files.iter().filter_map(|file| file.path.split('/').next()).collect();
    tops.sort_unstable();
    tops.dedup();
    for top in tops {
        if !top.starts_with('.') && !TOP_LEVEL.contains(&top) {
            findings.push(Finding::whole(top, "does not belong to the top level"));
        }
    }
    let ours =
        |file: &&File| file.has_extension(&["rs", "py", "toml"]) && !file.path.contains(STAND_IN);
    for file in tree.files.iter().filter(ours) {
        let mut parts = file.path.split(['/', '.']);
        if let Some(part) = parts.find(|part| NAMELESS.contains(part)) {
            let message = format!("`{part}` is no name: say what is in it");
            findings.push(Finding::whole(&file.path, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_entry_is_found_and_a_dot_file_is_not() {
        let tree = Tree::sample(&[("scripts/run", ""), ("notes.txt", ""), (".editorconfig", "")]);
        assert_eq!(check(&tree).len(), 2);
    }

    #[test]
    fn a_room_without_a_name_is_found() {
        let bad = [("host/utils/src/lib.rs", ""), ("host/core/src/common.rs", "")];
        assert_eq!(check(&Tree::sample(&bad)).len(), 2);
        assert_eq!(check(&Tree::sample(&[("host/core/src/uncommon.rs", "")])), []);
        assert_eq!(check(&Tree::sample(&[("sdk/python/standin/celery/utils/log.py", "")])), []);
    }
}
