//! The labels, annotations, conditions and events that `docs/reference/annotations.md` names.

use std::collections::BTreeSet;

use rescind::api::condition::{AnswerReason, ConditionReason, ConditionType, EventReason};

use crate::markdown::{codes, files, read, root, rows};

const PAGE: &str = "docs/reference/annotations.md";

/// What stands in backticks in one column of the tables below a heading.
fn column(heading: &str, number: usize) -> BTreeSet<String> {
    let text = read(PAGE);
    let cells: Vec<&str> = rows(&text, heading).into_iter().map(|row| row[number]).collect();
    codes(&cells).into_iter().map(str::to_owned).collect()
}

/// The names of labels and annotations of ours, wherever one stands in the code, the chart and the examples.
fn named() -> BTreeSet<String> {
    let folders = [("src", ".rs"), ("charts", ""), ("examples", "")];
    let files = folders.iter().flat_map(|(folder, ending)| files(&root().join(folder), ending));
    let mut names = BTreeSet::new();
    for file in files.filter(|file| {
        !file.ends_with("tests.rs") && !file.components().any(|part| part.as_os_str() == "tests")
    }) {
        let text = read(file);
        let body = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in body.match_indices("rescind.dev/") {
            // The name of a kind, or of one of its parts.
            if body[..at].ends_with(|before: char| before == '.' || before.is_alphanumeric()) {
                continue;
            }
            let rest = &body[at + "rescind.dev/".len()..];
            let name = rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or_default();
            names.insert(format!("rescind.dev/{name}"));
        }
    }
    // The beginning of the API's version, and of the name of an address.
    names.retain(|name| !matches!(name.as_str(), "rescind.dev/v" | "rescind.dev/"));
    names
}

#[test]
fn every_label_and_annotation_is_documented_and_the_other_way_round() {
    let mut documented = column("## Labels and annotations to set", 0);
    documented.extend(column("## Labels and annotations to leave", 0));
    documented.retain(|name| name.starts_with("rescind.dev/"));
    assert!(documented.len() > 10);
    assert_eq!(documented, named(), "left: {PAGE}; right: src, charts and examples");
}

fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> BTreeSet<String> {
    all.iter().map(|one| word(*one).to_owned()).collect()
}

#[test]
fn every_condition_and_reason_is_documented_and_the_other_way_round() {
    let types = words(ConditionType::ALL, ConditionType::word);
    assert_eq!(column("## Conditions", 0), types, "left: {PAGE}; right: ConditionType");
    let reasons = words(ConditionReason::ALL, ConditionReason::word);
    let documented = |kind| column(&format!("### {kind}"), 2);
    let of_objects = &documented("Of a revocation") | &documented("Of a list");
    assert_eq!(of_objects, reasons, "left: {PAGE}; right: ConditionReason");
    let answers = words(AnswerReason::ALL, AnswerReason::word);
    assert_eq!(documented("In what commands answer"), answers, "left: {PAGE}; right: AnswerReason");
}

#[test]
fn every_event_is_documented_and_the_other_way_round() {
    let reasons = words(EventReason::ALL, EventReason::word);
    assert_eq!(column("## Events", 2), reasons, "left: {PAGE}; right: EventReason");
}
