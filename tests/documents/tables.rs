//! Tables: whoever renders the pages sees a row outside one as text.

use std::fs;

use crate::markdown::{files, root};

/// Returns the first line of each run of rows that has no header.
fn torn(text: &str) -> Vec<String> {
    let mut torn = Vec::new();
    let mut rows: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in text.lines().chain([""]) {
        inside ^= line.trim_start().starts_with("```");
        if !inside && line.starts_with('|') {
            rows.push(line);
            continue;
        }
        let is_rule = |line: &&str| line.contains('-') && line.chars().all(|one| "|-: ".contains(one));
        if !rows.is_empty() && !rows.get(1).is_some_and(is_rule) {
            torn.push(rows[0].to_owned());
        }
        rows.clear();
    }
    torn
}

#[test]
fn every_table_is_whole() {
    let torn: Vec<String> = files(root(), ".md")
        .iter()
        .flat_map(|file| {
            let name = file.display().to_string();
            torn(&fs::read_to_string(file).unwrap()).into_iter().map(move |row| format!("{name}: {row}"))
        })
        .collect();
    assert!(torn.is_empty(), "rows without a header: {torn:#?}");
}

#[test]
fn a_row_without_a_header_is_found_and_a_fence_is_not_looked_into() {
    let whole = "| a | b |\n|---|:-:|\n| 1 | 2 |\n\n```\n| no | table |\n```\n";
    assert!(torn(whole).is_empty());
    assert_eq!(torn(&format!("{whole}\n| 3 | 4 |\n| 5 | 6 |")), ["| 3 | 4 |"]);
}
