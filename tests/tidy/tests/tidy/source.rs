//! Rules about the text of files: what must never be written, and what must always be.

mod code;

use crate::tree::{File, Finding, Tree};
use code::blank_comments_and_strings;

/// The one folder that may say `unsafe`, once: to load what we compiled ourselves.
const UNSAFE_FOLDER: &str = "host/sandbox/src/";

/// Bytes recorded from elsewhere are kept as they came.
const RECORDED: [&str; 3] = ["/golden/", "/vectors/", "LICENSE"];

/// The rules' own sources have to spell what they look for.
const OURSELVES: &str = "tests/tidy/";

/// Everything wrong with the text of any file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unsafe_uses = 0;
    for (file, text) in tree.texts() {
        if !RECORDED.iter().any(|part| file.path.contains(part)) {
            findings.extend(whitespace(file, text));
        }
        if !file.path.starts_with(OURSELVES) {
            findings.extend(words(file, text));
            findings.extend(sleeps(file, text));
        }
        if file.has_extension(&["rs"]) {
            findings.extend(rust(file, text));
            findings.extend(unsafety(file, text, &mut unsafe_uses));
        }
    }
    findings
}

fn whitespace(file: &File, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::at(&file.path, index + 1, "ends in white space"));
        }
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        findings.push(Finding::whole(&file.path, "must end with exactly one line end"));
    }
    findings
}

/// Promises to do it later, and names that hold on one machine only.
fn words(file: &File, text: &str) -> Vec<Finding> {
    const LATER: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
    const ELSEWHERE: [(&str, &str); 8] = [
        ("/root/", "a path of one machine"),
        ("/work/", "a path of one machine"),
        ("/home/runner", "a path of one machine"),
        ("crates.io", "a registry's name: its client is configured outside"),
        ("npmjs.", "a registry's name: its client is configured outside"),
        ("proxy.golang.", "a registry's name: its client is configured outside"),
        ("pypi.", "a registry's name: its client is configured outside"),
        ("pythonhosted.", "a registry's name: its client is configured outside"),
    ];
    let mut findings = Vec::new();
    if file.has_extension(&["lock"]) {
        return findings;
    }
    for (index, line) in text.lines().enumerate() {
        let mut find = |message: String| findings.push(Finding::at(&file.path, index + 1, message));
        for word in LATER.iter().filter(|word| has_word(line, word)) {
            find(format!("`{word}`: do it now, or say in the tracker what is missing"));
        }
        for (word, what) in ELSEWHERE.iter().filter(|(word, _)| line.contains(word)) {
            find(format!("`{word}` is {what}"));
        }
    }
    findings
}

/// Tests wait for events. A sleep among them needs a comment, on its line or on one of the two
/// above it, that says `because`.
fn sleeps(file: &File, text: &str) -> Vec<Finding> {
    const CALLS: [&str; 4] = ["thread::sleep(", "time::sleep(", "time.sleep(", "asyncio.sleep("];
    let mut findings = Vec::new();
    // What a recording was made with sleeps as it did then, and is not a test.
    if !file.has_extension(&["py", "rs"]) || file.path.starts_with("tests/vectors/") {
        return findings;
    }
    let mut in_tests = file.path.starts_with("tests/") || file.path.contains("/tests/");
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        in_tests |= line.trim() == "#[cfg(test)]";
        let sleeps = in_tests && CALLS.iter().any(|call| line.contains(call));
        let near = lines.iter().take(index + 1).skip(index.saturating_sub(2));
        if sleeps && !near.into_iter().any(|line| line.contains("because")) {
            let message = "tests wait for events, not for time: wait, or say why not `because` …";
            findings.push(Finding::at(&file.path, index + 1, message));
        }
    }
    findings
}

/// What Rust's own lints do not forbid, and the page every file begins with.
fn rust(file: &File, text: &str) -> Vec<Finding> {
    const NEVER: [(&str, &str); 4] = [
        ("#[ignore", "a test that does not run proves nothing"),
        ("#[should_panic", "say which error comes back instead"),
        ("todo!(", "write it, or leave its caller out"),
        ("unimplemented!(", "write it, or leave its caller out"),
    ];
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        let message = "must begin with `//!` and what the reader has to know first";
        findings.push(Finding::whole(&file.path, message));
    }
    for (index, line) in blank_comments_and_strings(text).lines().enumerate() {
        for (word, why) in NEVER.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::at(&file.path, index + 1, format!("`{word}…`: {why}")));
        }
    }
    findings
}

fn unsafety(file: &File, text: &str, uses: &mut usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in blank_comments_and_strings(text).lines().enumerate() {
        if has_word(line, "unsafe") {
            let at_home = file.path.starts_with(UNSAFE_FOLDER);
            *uses += usize::from(at_home);
            if !at_home || *uses > 1 {
                let message = "`unsafe` has one place: where the sandbox loads a compiled module";
                findings.push(Finding::at(&file.path, index + 1, message));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` and is not part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        let after = line.get(start + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Tree::sample(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    fn in_rust(body: &str) -> usize {
        findings("host/core/src/it.rs", &format!("//! A sample.\n{body}\n")).len()
    }

    #[test]
    fn a_good_file_is_left_alone() {
        assert_eq!(in_rust("// What is unsafe, and #[ignore]d.\nconst A: &str = \"unsafe\";"), 0);
        assert_eq!(findings("docs/page.md", "A page.\n"), Vec::<String>::new());
    }

    #[test]
    fn loose_ends_are_found() {
        assert_eq!(findings("a.md", "a \n").len(), 1);
        assert_eq!(findings("a.md", "a\r\n").len(), 1);
        assert_eq!(findings("a.md", "a").len(), 1);
        assert_eq!(findings("a.md", "a\n\n").len(), 1);
        assert_eq!(findings("tests/vectors/a.json", "a "), Vec::<String>::new());
    }

    #[test]
    fn promises_to_do_it_later_are_found() {
        assert_eq!(in_rust("// TODO: more."), 1);
        assert_eq!(in_rust("fn a() { todo!() }"), 1);
        assert_eq!(in_rust("fn a() { unimplemented!() }"), 1);
        assert_eq!(findings("tests/a.py", "# FIXME\n").len(), 1);
        assert_eq!(in_rust("const MASTODON: u8 = 1;"), 0);
    }

    #[test]
    fn names_that_hold_on_one_machine_only_are_found() {
        assert_eq!(findings("Makefile", "A = /root/a\n").len(), 1);
        assert_eq!(findings("tests/a.txt", "--index https://pypi.org\n").len(), 1);
    }

    #[test]
    fn tests_that_do_not_run_or_do_not_look_are_found() {
        assert_eq!(in_rust("#[test]\n#[ignore = \"slow\"]\nfn a() {}"), 1);
        assert_eq!(in_rust("#[test]\n#[should_panic]\nfn a() {}"), 1);
    }

    #[test]
    fn a_sleep_in_a_test_needs_its_reason() {
        let sleep = "std::thread::sleep(delay);";
        assert_eq!(in_rust(sleep), 0);
        assert_eq!(in_rust(&format!("#[cfg(test)]\n{sleep}")), 1);
        assert_eq!(in_rust(&format!("#[cfg(test)]\n// Because it is.\n{sleep}")), 1);
        assert_eq!(in_rust(&format!("#[cfg(test)]\n// Sleeps because Redis does.\n{sleep}")), 0);
        assert_eq!(findings("tests/demo/a.py", "time.sleep(1)\n").len(), 1);
        assert_eq!(findings("tests/vectors/a.py", "time.sleep(1)\n").len(), 0);
    }

    #[test]
    fn a_file_without_a_page_is_found() {
        assert_eq!(findings("host/core/src/it.rs", "fn a() {}\n").len(), 1);
    }

    #[test]
    fn unsafe_is_found_everywhere_but_once_in_the_sandbox() {
        let one = "//! A.\nfn a() { unsafe { b() } }\n";
        assert_eq!(findings("host/core/src/it.rs", one).len(), 1);
        assert_eq!(findings("tests/support/src/it.rs", one).len(), 1);
        let (here, there) = ("host/sandbox/src/load.rs", "host/sandbox/src/other.rs");
        assert_eq!(check(&Tree::sample(&[(here, one)])), []);
        assert_eq!(check(&Tree::sample(&[(here, one), (there, one)])).len(), 1);
    }
}
