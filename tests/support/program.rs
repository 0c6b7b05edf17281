//! Programs that are not ours: started in a folder, with their output in a file there, and ended with their owner.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

/// A running program. Dropping it kills the process.
pub(crate) struct Program {
    process: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program in a folder; what it prints goes to `<name>.log` there.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            // Nothing is written outside the folder.
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("can't start {}: {error}", program.display()));
        Self { process, log }
    }

    /// Returns everything that it has printed.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Tells whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}
