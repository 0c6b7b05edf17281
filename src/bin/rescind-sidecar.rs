//! The sidecar as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rescind::cli::{Console, beside};
use rescind::process::{self, LogArgs};
use rescind::runtime::clock::SystemClock;
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

const AFTER_HELP: &str = "Examples:
  rescind-sidecar --controller http://127.0.0.1:7401 --list default/shop --socket /run/rescind/check.sock

`rescind-sidecar explain` and `rescind-sidecar check` ask one that runs, as the commands of `rescind` do:
  kubectl exec -i POD -c rescind-sidecar -- /rescind-sidecar explain --server /run/rescind/check.sock < token.txt";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if beside::is_question(&arguments) {
        return beside::ask(arguments, &mut Console::of_process(), &SystemClock).into();
    }
    let cli = Cli::parse();
    process::report(process::sidecar(cli.sidecar, cli.log))
}
