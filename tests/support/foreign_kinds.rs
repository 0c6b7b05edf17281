//! The definitions of other projects' kinds, which `scripts/setup-foreign-kinds` gets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of the definitions.
///
/// # Panics
/// With what the script says if they are not there: a test that can't run has not passed.
fn folder() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup-foreign-kinds");
    let output = Command::new(script).arg("--print").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    PathBuf::from(said.trim().strip_prefix("foreign-kinds=").unwrap())
}

/// Returns the definitions of these names, as one text.
///
/// # Panics
/// If one is not there.
pub(crate) fn definitions(names: &[&str]) -> String {
    let mut wanted = String::new();
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder()).unwrap() {
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
