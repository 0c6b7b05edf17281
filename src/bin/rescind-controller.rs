//! The controller as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rescind::controller::args::ControllerArgs;
use rescind::process::{self, LogArgs};

/// Keeps revocations and streams them to sidecars.
#[derive(Parser)]
#[command(name = "rescind-controller", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    log: LogArgs,
}

const AFTER_HELP: &str = "Example:
  rescind-controller --data /var/lib/rescind --listen 127.0.0.1:7401 --admin /run/rescind/admin.sock -f lists.yaml";

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::report(process::controller(cli.controller, cli.log))
}
