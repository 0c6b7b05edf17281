//! The sidecar as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rescind::process::{self, LogArgs};
use rescind::sidecar::args::SidecarArgs;

/// Follows revocation lists and answers whether tokens may be accepted.
#[derive(Parser)]
#[command(name = "rescind-sidecar", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    sidecar: SidecarArgs,
    #[command(flatten)]
    log: LogArgs,
}

const AFTER_HELP: &str = "Example:
  rescind-sidecar --controller http://127.0.0.1:7401 --list default/shop --socket /run/rescind/check.sock";

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::report(process::sidecar(cli.sidecar, cli.log))
}
