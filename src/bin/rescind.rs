//! The command `rescind`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rescind::cli::demo::{self, DemoArgs};
use rescind::controller::args::ControllerArgs;
use rescind::process::{self, LogArgs};
use rescind::sidecar::args::SidecarArgs;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(DemoArgs),
    Dev(rescind::cli::dev::DevArgs),
    Controller {
        #[command(flatten)]
        args: ControllerArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    Sidecar {
        #[command(flatten)]
        args: SidecarArgs,
        #[command(flatten)]
        log: LogArgs,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(args) => {
            tokio::runtime::Runtime::new().unwrap().block_on(demo::run(&args, &mut std::io::stdout()))
        }
        Command::Dev(args) => {
            let done = tokio::runtime::Runtime::new()
                .unwrap()
                .block_on(rescind::cli::dev::run(args, &mut std::io::stdout()));
            done.unwrap();
            ExitCode::SUCCESS
        }
        Command::Controller { args, log } => process::controller(args, log),
        Command::Sidecar { args, log } => process::sidecar(args, log),
    }
}
