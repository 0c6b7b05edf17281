//! Generated files are what their generators write.

#![allow(clippy::unwrap_used, reason = "what tests share fails by panicking, as the tests do")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_generated_from_the_code_is_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg(folder.path()).status().unwrap();
    assert!(status.success());
    let written = files(folder.path());
    assert_eq!(written.len(), 7, "two definitions, twice, and three pages: {written:?}");
    for fresh in written {
        let path = fresh.strip_prefix(folder.path()).unwrap();
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let is_same = std::fs::read(&fresh).unwrap() == std::fs::read(kept).unwrap_or_default();
        let path = path.display();
        assert!(is_same, "{path} differs: run `cargo run --bin crdgen` and commit what it writes");
    }
}
