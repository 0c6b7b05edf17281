//! A temporary folder that goes with its owner.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::runtime::random::{SystemRandomness, bytes};

/// A folder for its owner only, removed when it is dropped.
#[derive(Debug)]
pub(super) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes a folder whose name starts with a purpose.
    pub(super) fn new(purpose: &str) -> anyhow::Result<Self> {
        let name: [u8; 8] = bytes(&SystemRandomness::new());
        let path = std::env::temp_dir().join(format!("rescind-{purpose}-{:016x}", u64::from_be_bytes(name)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("can't make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What can't be removed is left to the system's own cleaning.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
