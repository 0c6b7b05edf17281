//! The sidecar as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rescind::process::SidecarProgram;

fn main() -> ExitCode {
    SidecarProgram::parse().run()
}
