//! The sidecar as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use rescind::cli::{Console, question};
use rescind::process::SidecarProgram;
use rescind::runtime::clock::SystemClock;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if question::is_question(&arguments) {
        return question::ask(arguments, &mut Console::of_process(), &SystemClock).into();
    }
    SidecarProgram::parse().run()
}
