//! `rescind version`.

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Machine;
use crate::api::API_VERSION;

/// Print the version
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rescind version
  rescind version -o json")]
pub(super) struct Version {
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<Machine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    version: &'static str,
    api_version: &'static str,
    protocol: &'static str,
}

impl Version {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let answer =
            Answer { version: env!("CARGO_PKG_VERSION"), api_version: API_VERSION, protocol: "rescind.v1" };
        match self.output {
            Some(machine) => machine.print(&answer, context.console)?,
            None => {
                let Answer { version, api_version, protocol } = answer;
                let text = format!("rescind {version} (objects {api_version}, protocol {protocol})\n");
                context.console.print(&text)?;
            }
        }
        Ok(Exit::Done)
    }
}
