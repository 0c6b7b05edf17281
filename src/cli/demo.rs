//! `rescind demo`: the main job, for real, on this machine.
//!
//! It starts a controller and a sidecar as processes of their own (this program again, with hidden commands),
//! plays the story, and says what it saw.

use std::io::{IsTerminal, Write};

use clap::{Args, ValueEnum};

use super::failure::Exit;
use lab::Lab;
use report::{Report, Style};

mod ask;
mod lab;
mod report;
mod story;

/// Plays the whole story with real processes, and checks every step.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How the story is told
    #[arg(short, long, value_enum)]
    pub output: Option<DemoOutput>,
}

/// Formats of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoOutput {
    /// One object with the steps: name, expected, seen, milliseconds.
    Json,
}

/// Runs the demonstration; succeeds only if every step held.
pub async fn run(args: &DemoArgs, out: &mut (dyn Write + Send)) -> Exit {
    let style = match args.output {
        Some(DemoOutput::Json) => Style::Json,
        None if std::io::stdout().is_terminal() => Style::Pretty,
        None => Style::Plain,
    };
    let mut report = Report::new(style, out);
    let outcome = match Lab::start().await {
        Ok(mut lab) => {
            let told = story::tell(&mut lab, &mut report).await;
            // What the processes wrote explains a failure.
            told.map_err(|error| error.context(lab.logs()))
        }
        Err(error) => Err(error.context("can't start")),
    };
    report.finish(outcome)
}
