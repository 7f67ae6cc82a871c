//! Pages: links that lead somewhere, decisions that say all four things.

use crate::tree::{Finding, Tree};

const DECISION_PARTS: [&str; 4] =
    ["## Context", "## Decision", "## Consequences", "## What would change our mind"];

/// Links to nowhere, and decisions with a part missing.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.texts().filter(|(file, _)| file.has_extension(&["md"])) {
        for (index, line) in text.lines().enumerate() {
            for target in links(line) {
                if resolve(&file.path, target).is_some_and(|path| !tree.has(&path)) {
                    let message = format!("the link to `{target}` leads nowhere");
                    findings.push(Finding::at(&file.path, index + 1, message));
                }
            }
        }
        if file.path.starts_with("docs/adr/") && file.name() != "README.md" {
            for part in DECISION_PARTS.iter().filter(|part| !text.lines().any(|at| at == **part)) {
                findings.push(Finding::whole(&file.path, format!("has no `{part}`")));
            }
        }
    }
    findings
}

/// What stands between `](` and `)` on a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// The path in the repository that a link means; `None` for what is elsewhere or on the same page.
fn resolve(page: &str, target: &str) -> Option<String> {
    let target = target.split(['#', ' ']).next().unwrap_or_default();
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_found_on_its_line() {
        let page = "See\n[a](docs/gone.md) and [b](docs/here.md#part), [c](https://example.org).\n";
        let found = check(&Tree::sample(&[("README.md", page), ("docs/here.md", "")]));
        let message = "the link to `docs/gone.md` leads nowhere".to_owned();
        assert_eq!(found, [Finding::at("README.md", 2, message)]);
    }

    #[test]
    fn links_are_followed_from_their_page_and_to_folders() {
        let up = "[a](../README.md) [b](adr) [c](./adr/0001-a.md) [d](#part)\n";
        let decision = DECISION_PARTS.join("\n\n");
        let good =
            [("docs/page.md", up), ("README.md", ""), ("docs/adr/0001-a.md", decision.as_str())];
        assert_eq!(check(&Tree::sample(&good)), []);
    }

    #[test]
    fn a_decision_that_does_not_say_what_would_change_it_is_found() {
        let text = "## Context\n\n## Decision\n\n## Consequences\n";
        assert_eq!(check(&Tree::sample(&[("docs/adr/0001-a.md", text)])).len(), 1);
    }
}
