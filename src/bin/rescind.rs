//! The command line: talks to controllers and sidecars, and runs both for a demonstration.

use std::process::ExitCode;

use rescind::cli::{self, Console};

fn main() -> ExitCode {
    cli::main(std::env::args_os(), Console::of_process())
}
