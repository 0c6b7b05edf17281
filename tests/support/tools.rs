//! The programs that `scripts/setup-test-tools` gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the path of a program.
///
/// # Panics
/// With what the script says if a program is missing: a test that can't run has not passed.
pub(crate) fn tool(name: &str) -> PathBuf {
    static TOOLS: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    match TOOLS.get_or_init(print) {
        Ok(tools) => tools[name].clone(),
        Err(said) => panic!("{said}"),
    }
}

fn print() -> Result<BTreeMap<String, PathBuf>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup-test-tools");
    let output = Command::new(script).arg("--print").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect())
}
