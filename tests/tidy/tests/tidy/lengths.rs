//! What makes a house hard to enter is its longest file, not its median one.

use crate::tree::{Finding, Tree};

/// The most lines of any file that people write and read as code.
const LINES_MAX: usize = 700;
/// The most lines of a file on the main path.
const LINES_MAIN_PATH_MAX: usize = 400;
/// The most lines of the file that tells the main path from top to bottom.
const LINES_PIPELINE_MAX: usize = 150;
/// The most lines of a decision's record.
const LINES_DECISION_MAX: usize = 60;

/// Files that are longer than their place allows.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.texts() {
        let most = if file.path == "host/worker/src/pipeline.rs" {
            LINES_PIPELINE_MAX
        } else if file.path.starts_with("host/worker/") {
            LINES_MAIN_PATH_MAX
        } else if file.path.starts_with("docs/adr/") {
            LINES_DECISION_MAX
        } else if file.has_extension(&["lua", "py", "rs", "sh", "sql", "wit"]) {
            LINES_MAX
        } else {
            continue;
        };
        let lines = text.lines().count();
        if lines > most {
            let message = format!("{lines} lines, {most} at most: split it by what it is about");
            findings.push(Finding::whole(&file.path, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_too_many_is_found_and_the_last_allowed_one_is_not() {
        for (path, most) in [
            ("host/worker/src/pipeline.rs", LINES_PIPELINE_MAX),
            ("host/worker/src/drain.rs", LINES_MAIN_PATH_MAX),
            ("host/brokers/src/redis.rs", LINES_MAX),
            ("tests/demo/demo.py", LINES_MAX),
            ("docs/adr/0001-a.md", LINES_DECISION_MAX),
        ] {
            assert_eq!(check(&Tree::sample(&[(path, &"a\n".repeat(most))])), [], "{path}");
            let long = "a\n".repeat(most + 1);
            assert_eq!(check(&Tree::sample(&[(path, &long)])).len(), 1, "{path}");
        }
    }
}
