//! Every recorded conversation is a test, or says why it is none.

use std::fs;

use lovage_test_support::paths;
use serde_json::Value;

/// The members of an object, as texts.
fn members(object: &Value) -> Vec<(String, String)> {
    let members = object.as_object().expect("an object").iter();
    members.map(|(name, text)| (name.clone(), text.as_str().expect("a text").into())).collect()
}

/// Whether a pattern means a recording.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[test]
fn every_recording_of_a_worker_is_a_test_or_says_why_not() {
    let folder = paths::repository().join("tests/vectors");
    let text = fs::read_to_string(folder.join("coverage.json")).expect("the list");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let (tests, excused) = (members(&list["tests"]), members(&list["excused"]));
    let kinds: Vec<_> = list["kinds"].as_array().expect("kinds").iter().collect();
    let files = fs::read_dir(&folder).expect("the folder").flatten();
    let names =
        files.filter_map(|it| it.file_name().to_str()?.strip_suffix(".json").map(String::from));
    let of_kind = |name: &String| kinds.iter().any(|kind| name.split('-').next() == kind.as_str());
    let names: Vec<_> = names.filter(of_kind).collect();
    assert!(names.len() > 90, "the recordings are there: {}", names.len());
    for name in &names {
        let tested = tests.iter().any(|(pattern, _)| fits(pattern, name));
        assert!(
            tested || excused.iter().any(|(other, _)| other == name),
            "{name} is neither tested nor excused"
        );
    }
    for (pattern, _) in tests.iter().chain(&excused) {
        assert!(names.iter().any(|name| fits(pattern, name)), "{pattern} means no recording");
    }
    for (_, place) in &tests {
        let (file, function) = place.split_once("::").expect("a file and a test");
        let source = fs::read_to_string(paths::repository().join(file)).expect(file);
        assert!(source.contains(&format!("fn {function}(")), "{place} is no test");
    }
}
