//! Commands in the pages: each is run by a test, or the page says why not.

use std::fs;

use crate::markdown::{files, read, root};

/// What stands above a block: the test that runs it, or why none does.
const TESTED: &str = "<!-- tested: ";
const UNTESTED: &str = "<!-- not run: ";

/// Returns what stands above each block of commands.
fn marks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let blocks = lines.windows(2).filter(|pair| pair[1].trim_start().starts_with("```sh"));
    blocks.map(|pair| pair[0].trim().to_owned()).collect()
}

#[test]
fn every_command_of_the_pages_is_run_by_a_test_or_said_not_to_be() {
    let tests: Vec<String> =
        files(&root().join("tests"), ".rs").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut wrong = Vec::new();
    let mut found = 0;
    for file in files(root(), ".md") {
        let page = file.strip_prefix(root()).unwrap().to_str().unwrap();
        for mark in marks(&read(&file)) {
            found += 1;
            let name = mark.strip_prefix(TESTED).and_then(|rest| rest.strip_suffix(" -->"));
            let reason = mark.strip_prefix(UNTESTED).and_then(|rest| rest.strip_suffix(" -->"));
            let good = match (name, reason) {
                // Whoever changes the test must see that a page shows it.
                (Some(name), None) => {
                    let test = tests.iter().find(|text| text.contains(&format!("fn {name}(")));
                    test.is_some_and(|text| text.contains(page))
                }
                (None, Some(reason)) => !reason.is_empty(),
                _ => false,
            };
            if !good {
                wrong.push(format!("{page}: {mark:?}"));
            }
        }
    }
    assert!(found > 0, "there are no commands at all");
    assert!(wrong.is_empty(), "above each block of commands, name its test or why there is none: {wrong:#?}");
}
