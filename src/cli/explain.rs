//! `rescind explain`: asks a sidecar why it would accept or refuse a token.

use clap::Args;
use serde::Serialize;

use super::advice::advice;
use super::ask::{Answer, Question};
use super::console::{Surface, Tone, printable};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Machine;
use super::view::BadAnswer;
use crate::proto::v1;

/// Ask a sidecar, step by step, why a token is accepted or refused
#[derive(Args, Clone, Debug)]
#[command(after_help = "The token is read from standard input or a file, never from the command line.

The steps are its shape (form, issuer, signature, claims and times), the entries that deny it, by list and selector, and
how fresh each list is. A sidecar listens on a socket in its pod, /run/rescind/check.sock: run this in a container that
mounts it, or have the sidecar's program run it.

Examples:
  rescind explain --server /run/rescind/check.sock < token.txt
  kubectl exec -i POD -c rescind-sidecar -- /rescind-sidecar explain --server /run/rescind/check.sock < token.txt
  rescind explain --file token.txt --audience shop-api -o json")]
pub(super) struct Explain {
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<Machine>,
    /// What to ask.
    #[command(flatten)]
    question: Question,
}

#[derive(Serialize)]
struct Explanation {
    response: Answer,
    steps: Vec<Step>,
    /// What to do about the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Serialize)]
struct Step {
    step: String,
    outcome: String,
    passed: bool,
}

impl Explain {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let server = self.question.open()?;
        let request = self.question.read(context.console)?;
        let wire = server.answer(server.check().explain(server.request(request))).await?;
        let response: Answer = wire.response.ok_or(BadAnswer { what: "it has no decision" })?.try_into()?;
        let step =
            |wire: v1::ExplainStep| Step { step: wire.step, outcome: wire.outcome, passed: wire.passed };
        let console = &mut *context.console;
        let advice = advice(&response.reason).map(|advice| console.in_own_name(advice));
        let steps = wire.steps.into_iter().map(step).collect();
        let explanation = Explanation { response, steps, advice };
        match self.output {
            Some(machine) => machine.print(&explanation, console)?,
            None => {
                let text = describe(&explanation, console.out_surface());
                console.print(&text)?;
            }
        }
        Ok(Exit::Done)
    }
}

fn describe(explanation: &Explanation, surface: Surface) -> String {
    let width = explanation.steps.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    let line = |step: &Step| {
        let mark = match (surface.is_terminal(), step.passed) {
            (true, true) => surface.paint(Tone::Good, "✓"),
            (true, false) => surface.paint(Tone::Bad, "✗"),
            (false, true) => "pass".to_owned(),
            (false, false) => "fail".to_owned(),
        };
        format!("{mark}  {:<width$}  {}\n", printable(&step.step), printable(&step.outcome))
    };
    let steps: String = explanation.steps.iter().map(line).collect();
    let advice = explanation.advice.as_ref().map(|advice| format!("What to do: {advice}\n"));
    let (headline, knowledge) = (explanation.response.headline(), explanation.response.knowledge());
    format!("{steps}{headline} ({knowledge})\n{}", advice.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::ask::{Decision, Verdict};
    use super::*;

    #[test]
    fn steps_have_marks_on_a_terminal_and_words_elsewhere() {
        let step = |step: &str, passed| Step { step: step.to_owned(), outcome: "so".to_owned(), passed };
        let response = Answer {
            decision: Decision::Deny,
            verdict: Verdict::Revoked,
            reason: "REVOKED".to_owned(),
            age_milliseconds: Some(1_200),
            version: "1/5".to_owned(),
            shadow: true,
            best_effort: false,
        };
        let steps = vec![step("parse", true), step("look up", false)];
        let explanation = Explanation { response, steps, advice: Some("this".to_owned()) };
        let last = "deny REVOKED: revoked (as of 1.2 s ago, version 1/5, shadow mode: nothing is refused)\n\
                    What to do: this\n";
        let check = |surface, steps: &str| {
            assert_eq!(describe(&explanation, surface), format!("{steps}{last}"));
        };
        check(Surface::Plain, "pass  parse    so\nfail  look up  so\n");
        check(Surface::Monochrome, "✓  parse    so\n✗  look up  so\n");
        check(
            Surface::Coloured,
            "\u{1b}[32m✓\u{1b}[0m  parse    so\n\u{1b}[1m\u{1b}[31m✗\u{1b}[0m  look up  so\n",
        );
    }
}
