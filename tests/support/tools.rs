//! What the scripts `setup-*` get for the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Where something is, by its name.
type Paths = BTreeMap<String, PathBuf>;

/// Returns the path of a program that `scripts/setup-test-tools` gets.
///
/// # Panics
/// As [`provided`].
pub(crate) fn tool(name: &str) -> PathBuf {
    provided("setup-test-tools", name)
}

/// Returns the path of what a script gets, by its name.
///
/// # Panics
/// With what the script says if something is missing: a test that can't run has not passed.
pub(crate) fn provided(script: &'static str, name: &str) -> PathBuf {
    static PROVIDED: Mutex<BTreeMap<&str, Result<Paths, String>>> = Mutex::new(BTreeMap::new());
    // Each script is asked once; a test that has panicked here has left nothing half done.
    let mut all = PROVIDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match all.entry(script).or_insert_with(|| print(script)) {
        Ok(paths) => paths[name].clone(),
        Err(said) => panic!("{said}"),
    }
}

fn print(script: &str) -> Result<Paths, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output = Command::new(path).arg("--print").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect())
}
