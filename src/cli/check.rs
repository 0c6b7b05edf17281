//! `rescind check`: asks a sidecar whether a token may be accepted.

use clap::Args;

use super::ask::{Answer, Decision, Question, Verdict};
use super::console::Tone;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Machine;
use super::server::CallError;

/// Ask a sidecar whether a token may be accepted now
#[derive(Args, Clone, Debug)]
#[command(after_help = "The token is read from standard input or a file, never from the command line.

Examples:
  rescind check < token.txt
  rescind check --file token.txt --audience shop-api --max-age 5s
  rescind check --file token.txt --min-version 1/184467")]
pub(super) struct Check {
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<Machine>,
    /// What to ask.
    #[command(flatten)]
    question: Question,
}

impl Check {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let answer = match self.ask(context).await {
            // Whoever acts on the exit code must not take silence for a refusal of the token.
            Err(Failure::Call(error)) if CallError::is_passing(&error) => {
                context.console.error(&Failure::Call(error));
                return Ok(Exit::Pending);
            }
            other => other?,
        };
        let exit = exit(&answer);
        let console = &mut *context.console;
        match self.output {
            Some(machine) => machine.print(&answer, console)?,
            None => {
                let tone = match exit {
                    Exit::Done => Tone::Good,
                    Exit::Failed => Tone::Bad,
                    Exit::Pending => Tone::Doubtful,
                };
                let headline = console.out_surface().paint(tone, &answer.headline());
                let text = format!("{headline} ({})\n", answer.knowledge());
                console.print(&text)?;
            }
        }
        Ok(exit)
    }

    async fn ask(&self, context: &mut Context<'_>) -> Result<Answer, Failure> {
        let server = self.question.open()?;
        let request = self.question.read(context.console)?;
        let answer = server.answer(server.check().check(server.request(request))).await?;
        Ok(answer.try_into()?)
    }
}

const fn exit(answer: &Answer) -> Exit {
    match (answer.decision, answer.verdict) {
        (Decision::Allow, _) => Exit::Done,
        (Decision::Deny, Verdict::Unknown) => Exit::Pending,
        (Decision::Deny, _) => Exit::Failed,
    }
}
