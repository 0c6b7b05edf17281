//! The formats that every command can answer in.

use std::io;

use clap::ValueEnum;
use serde::Serialize;

use super::console::Console;

/// How a command about revocations answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object
    Json,
    /// One YAML document
    Yaml,
    /// revocation/NAME
    Name,
    /// Text with everything there is
    Wide,
}

/// How other commands answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Machine {
    /// One JSON object
    Json,
    /// One YAML document
    Yaml,
}

/// Says why an answer was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The operating system said no.
    #[error("can't write the output: {0}")]
    Io(#[from] io::Error),
    /// The value has no such form.
    #[error("can't write the output as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The value has no such form.
    #[error("can't write the output as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

impl Machine {
    /// Writes one object.
    ///
    /// # Errors
    /// [`OutputError`].
    pub(super) fn print(self, value: &impl Serialize, console: &mut Console) -> Result<(), OutputError> {
        console.print(&self.text(value)?)
    }

    /// Returns one object as text.
    ///
    /// # Errors
    /// [`OutputError`].
    pub(super) fn text(self, value: &impl Serialize) -> Result<String, OutputError> {
        Ok(match self {
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => serde_saphyr::to_string(value)?,
        })
    }
}
