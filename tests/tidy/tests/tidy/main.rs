//! The house's rules, as a test: what no compiler and no lint keeps.
//!
//! A rule is a function from the [`tree::Tree`] of the repository's files to findings. Each has two
//! kinds of tests: one over the real tree, which must find nothing, and some over small bad samples,
//! which must find what is bad in them; a rule that cannot fail keeps nothing.
//!
//! To argue with a rule, change it here, with the reason, in a commit of its own.

mod layers;
mod lengths;
mod manifests;
mod places;
mod prose;
mod source;
mod tree;

use tree::{Finding, Tree};

/// Fails with every finding on a line of its own, so that one run tells all there is to mend.
fn nothing(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn the_tree_is_seen_at_all() {
    let tree = Tree::load();
    assert!(tree.text("Cargo.toml").is_some() && tree.files.len() > 20);
}

#[test]
fn crates_depend_only_on_what_lies_below_them() {
    nothing(&layers::check(&Tree::load()));
}

#[test]
fn manifests_say_everything_once() {
    nothing(&manifests::check(&Tree::load()));
}

#[test]
fn everything_is_in_its_place() {
    nothing(&places::check(&Tree::load()));
}

#[test]
fn files_are_short() {
    nothing(&lengths::check(&Tree::load()));
}

#[test]
fn sources_keep_the_rules() {
    nothing(&source::check(&Tree::load()));
}

#[test]
fn pages_are_true() {
    nothing(&prose::check(&Tree::load()));
}
