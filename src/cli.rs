//! The commands of the binary `rescind`.
//!
//! Each command is a file with its arguments and a method `run`, which returns how it ended. To add one: a file,
//! a variant of `Command`, and an arm of `dispatch`. Commands that are given a
//! token write through [`Console`] alone, which conceals it; and nothing but [`run`] turns a failure into words.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use self::console::{Console, Surface, Tone};
pub use self::context::Context;
pub use self::failure::{Exit, Failure};
use self::input::{InputError, looks_like_token};
use self::name::ProgramName;
use crate::controller::args::ControllerArgs;
use crate::process::{self, LogArgs};
use crate::runtime::clock::{Clock, SystemClock};
use crate::sidecar::args::SidecarArgs;

mod advice;
mod ask;
mod backend;
mod change;
mod check;
mod client;
mod cluster;
mod complete;
mod completion;
mod console;
mod context;
pub mod demo;
pub mod dev;
mod doctor;
mod explain;
mod failure;
mod folder;
mod format;
mod inject;
mod input;
mod issuer;
mod key;
mod lag;
mod list;
mod name;
pub mod question;
mod revoke;
mod sample;
mod selector;
mod server;
mod session;
mod smoke;
mod status;
mod subject;
mod table;
mod time;
mod token;
mod undo;
mod version;
mod view;
mod wait;

/// Takes tokens back: every workload refuses them within a stated bound
#[derive(Parser, Debug)]
#[command(
    name = "rescind",
    version,
    after_help = "Exit codes: 0 enforced or done, 1 refused, failed or used wrongly, 2 accepted but not enforced in time.

Examples:
  rescind subject alice --reason LostDevice
  rescind token < token.txt
  rescind status

They work on the cluster of the kubeconfig, as kubectl does; with --server, on a controller without a cluster.

`rescind COMMAND --help` has more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Token(token::Token),
    Subject(subject::Subject),
    Session(session::Session),
    Client(client::Client),
    Key(key::Key),
    Issuer(issuer::Issuer),
    Selector(selector::Selector),
    List(list::List),
    Undo(undo::Undo),
    Status(status::Status),
    Check(check::Check),
    Explain(explain::Explain),
    Inject(inject::Inject),
    Doctor(doctor::Doctor),
    Demo(demo::DemoArgs),
    Dev(dev::DevArgs),
    /// Runs a controller, as rescind-controller does
    #[command(hide = true)]
    Controller {
        #[command(flatten)]
        args: ControllerArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Runs a sidecar, as rescind-sidecar does
    #[command(hide = true)]
    Sidecar {
        #[command(flatten)]
        args: SidecarArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// What helm test runs
    #[command(hide = true)]
    Smoke(smoke::Smoke),
    Version(version::Version),
    Completion(completion::Completion),
    #[command(name = "__complete", hide = true)]
    Complete(complete::Complete),
}

/// The commands that revoke.
pub const REVOKING: [&str; 7] = ["token", "subject", "session", "client", "key", "issuer", "selector"];

/// How the line of a command's help begins that says what its exit codes mean.
pub const EXIT_CODES: &str = "Exit codes: ";

fn exit_codes(command: &str) -> &'static str {
    match command {
        revoking if REVOKING.contains(&revoking) => {
            "0 enforced (or accepted, with --wait=false), 1 refused, failed or used wrongly, 2 accepted, but not known to be \
             enforced in time."
        }
        "check" => "0 allowed, 1 denied (or wrong usage), 2 nobody can vouch for it now.",
        "explain" => "0 answered, 1 failed or used wrongly.",
        "inject" => "0 done, 1 refused, failed or used wrongly, and nothing is written.",
        "doctor" => "0 nothing fails (there may be warnings), 1 something does.",
        "demo" => "0 every step held, 1 one did not.",
        "dev" => "0 ended by a signal, 1 failed or used wrongly.",
        _ => "0 done, 1 failed or used wrongly.",
    }
}

/// Returns the definition of all commands.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        let codes = format!("{EXIT_CODES}{}", exit_codes(command.get_name()));
        let help = command.get_after_help().map(|help| format!("{codes}\n\n{help}"));
        command.after_help(help.unwrap_or(codes))
    })
}

/// Runs the command that the arguments name, the program's own name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>, mut console: Console) -> ExitCode {
    run(arguments, &mut console, &SystemClock).into()
}

/// Runs a command on streams and a clock of the caller's choice.
///
/// It blocks, and starts a runtime of its own where it needs one: never call it from within a runtime.
pub fn run(arguments: impl IntoIterator<Item = OsString>, console: &mut Console, clock: &dyn Clock) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = ProgramName::of(arguments.first().map(OsString::as_os_str));
    console.call_program(name);
    guarded(arguments, &mut Context { console, clock }, |arguments, context| {
        Ok(dispatch(parse(name, arguments)?, context))
    })
}

/// Runs what refuses its arguments or ends, but not where a token stands among the arguments.
fn guarded(
    arguments: Vec<OsString>,
    context: &mut Context<'_>,
    run: impl FnOnce(Vec<OsString>, &mut Context<'_>) -> Result<Result<Exit, Failure>, clap::Error>,
) -> Exit {
    if arguments.iter().any(|argument| looks_like_token(argument)) {
        context.console.error(&InputError::OnCommandLine);
        return Exit::Failed;
    }
    match run(arguments, context) {
        Err(error) => explain_usage(&error, context.console),
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => {
            context.console.error(&failure);
            Exit::Failed
        }
    }
}

fn parse(name: ProgramName, arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    let matches = name.of_command(definition()).try_get_matches_from(arguments)?;
    Ok(Cli::from_arg_matches(&matches)?.command)
}

/// Calls the command. Those that call a server run on a small runtime; the others choose for themselves.
fn dispatch(command: Command, context: &mut Context<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Token(command) => block_on(command.run(context)),
        Command::Subject(command) => block_on(command.run(context)),
        Command::Session(command) => block_on(command.run(context)),
        Command::Client(command) => block_on(command.run(context)),
        Command::Key(command) => block_on(command.run(context)),
        Command::Issuer(command) => block_on(command.run(context)),
        Command::Selector(command) => block_on(command.run(context)),
        Command::List(command) => block_on(command.run(context)),
        Command::Undo(command) => block_on(command.run(context)),
        Command::Status(command) => block_on(command.run(context)),
        Command::Check(command) => block_on(command.run(context)),
        Command::Explain(command) => block_on(command.run(context)),
        Command::Doctor(command) => block_on(command.run(context)),
        // These show tokens of their own making, and write for as long as they run: past the console.
        Command::Demo(args) => {
            let surface = context.console.out_surface();
            Ok(on_all_cores()?.block_on(demo::run(&args, surface, &mut std::io::stdout())))
        }
        Command::Dev(args) => {
            on_all_cores()?.block_on(dev::run(args, &mut std::io::stdout()))?;
            Ok(Exit::Done)
        }
        Command::Controller { args, log } => Ok(process::controller(args, log).map(|()| Exit::Done)?),
        Command::Sidecar { args, log } => Ok(process::sidecar(args, log).map(|()| Exit::Done)?),
        Command::Smoke(command) => block_on(command.run(context)),
        Command::Inject(command) => command.run(context),
        Command::Version(command) => command.run(context),
        Command::Completion(command) => command.run(context),
        Command::Complete(command) => block_on(command.run(context)),
    }
}

fn on_all_cores() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("can't start a runtime")
}

fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("can't start a runtime")?.block_on(command)
}

/// Shows help on standard output, and wrong usage on standard error. The parser's own code for wrong usage is 2,
/// which means something else here.
fn explain_usage(error: &clap::Error, console: &mut Console) -> Exit {
    let text = error.render();
    let paint = |surface| match surface {
        Surface::Coloured => text.ansi().to_string(),
        Surface::Plain | Surface::Monochrome => text.to_string(),
    };
    if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = paint(console.err_surface());
        console.note(&text);
        return Exit::Failed;
    }
    let text = paint(console.out_surface());
    match console.print(&text) {
        Ok(()) => Exit::Done,
        Err(error) => {
            console.error(&error);
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests;
