//! The controller as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rescind::process::ControllerProgram;

fn main() -> ExitCode {
    ControllerProgram::parse().run()
}
