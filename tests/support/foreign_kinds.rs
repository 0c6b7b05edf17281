//! The definitions of other projects' kinds, which `scripts/setup-foreign-kinds` gets.

use std::collections::BTreeSet;

use super::tools::provided;

/// Returns the definitions of these names, as one text.
///
/// # Panics
/// If one is not there.
pub(crate) fn definitions(names: &[&str]) -> String {
    let mut wanted = String::new();
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(provided("setup-foreign-kinds", "foreign-kinds")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in text.split("\n---") {
            if let Some(name) = names.iter().find(|name| is_named(document, name)) {
                found.insert(*name);
                wanted.push_str("\n---\n");
                wanted.push_str(document.trim_start_matches('-'));
            }
        }
    }
    assert_eq!(found.len(), names.len(), "only these are there: {found:?}");
    wanted
}

fn is_named(document: &str, name: &str) -> bool {
    document.lines().any(|line| line.trim() == format!("name: {name}"))
}
