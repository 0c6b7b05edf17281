//! `rescind demo`: the main job, for real, on this machine.
//!
//! It starts a controller and a sidecar as processes of their own (this program again, with hidden commands),
//! plays the story, and says what it saw.

use std::io::Write;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::runtime::signals::Signals;

use super::console::Surface;
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

/// Runs the demonstration; succeeds only if every step held. `surface` is what `out` writes to.
pub async fn run(args: &DemoArgs, surface: Surface, out: &mut (dyn Write + Send)) -> Exit {
    let style = match args.output {
        Some(DemoOutput::Json) => Style::Json,
        None => Style::Text(surface),
    };
    let mut report = Report::new(style, out);
    let outcome = play(&mut report).await;
    report.finish(outcome)
}

async fn play(report: &mut Report<'_>) -> anyhow::Result<()> {
    // Without them, what is started would be left behind: a folder, and processes of which one may be frozen.
    let mut signals = Signals::take_up()?;
    let mut lab = tokio::select! {
        lab = Lab::start() => lab.context("can't start")?,
        _ = signals.next() => anyhow::bail!("interrupted"),
    };
    let told = tokio::select! {
        // What the processes wrote explains a failure.
        told = story::tell(&mut lab, report) => {
            told.map_err(|error| anyhow::anyhow!("{error:#}\n\n{}", lab.logs()))
        }
        _ = signals.next() => Err(anyhow::anyhow!("interrupted")),
    };
    lab.end().await;
    told
}
