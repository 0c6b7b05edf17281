//! Tells the story: in colours on a terminal, plain in a pipe, as one object for machines.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::cli::{Exit, Surface, Tone};

/// How the story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For people: with marks on a terminal, and with colours if it wants them.
    Text(Surface),
    /// For machines.
    Json,
}

/// One step, as it went.
#[derive(Clone, Debug, Serialize)]
struct Step {
    name: String,
    expected: String,
    seen: String,
    milliseconds: u64,
    held: bool,
}

/// The story so far.
pub(super) struct Report<'a> {
    style: Style,
    out: &'a mut (dyn Write + Send),
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Told<'a> {
    held: bool,
    steps: &'a [Step],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(style: Style, out: &'a mut (dyn Write + Send)) -> Self {
        Self { style, out, steps: Vec::new() }
    }

    /// Says what comes next.
    pub(super) fn chapter(&mut self, text: &str) {
        match self.style {
            Style::Text(Surface::Plain) => self.line(text),
            Style::Text(surface) => self.line(&format!("\n{}", surface.paint(Tone::Title, text))),
            Style::Json => {}
        }
    }

    /// Notes a step.
    ///
    /// # Errors
    /// A sentence if what was seen is not what was expected.
    pub(super) fn step(
        &mut self,
        name: &str,
        expected: &str,
        seen: &str,
        took: Duration,
    ) -> anyhow::Result<()> {
        let held = expected == seen;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let step =
            Step { name: name.into(), expected: expected.into(), seen: seen.into(), milliseconds, held };
        self.tell(&step);
        self.steps.push(step);
        anyhow::ensure!(held, "{name}: expected {expected}, and saw {seen}");
        Ok(())
    }

    fn tell(&mut self, step: &Step) {
        let Step { name, expected, seen, milliseconds, held } = step;
        let wrong = if *held { String::new() } else { format!(" (expected {expected})") };
        match self.style {
            Style::Text(Surface::Plain) => {
                let mark = if *held { "ok  " } else { "FAIL" };
                self.line(&format!("{mark} {name}: {seen}{wrong}, {milliseconds} ms"));
            }
            Style::Text(surface) => {
                let (tone, mark) = if *held { (Tone::Good, "✓") } else { (Tone::Bad, "✗") };
                let (mark, took) = (surface.paint(tone, mark), format!("{milliseconds} ms"));
                let took = surface.paint(Tone::Faint, &took);
                self.line(&format!("  {mark} {name:<58} {seen}{wrong} {took}"));
            }
            Style::Json => {}
        }
    }

    /// A reader that has gone does not stop the story: its exit code still counts.
    fn line(&mut self, text: &str) {
        drop(writeln!(self.out, "{text}"));
    }

    /// Ends the story.
    pub(super) fn finish(mut self, outcome: anyhow::Result<()>) -> Exit {
        let held = outcome.is_ok();
        let error = outcome.err().map(|error| format!("{error:#}"));
        match (self.style, &error) {
            (Style::Json, _) => {
                let told = Told { held, steps: &self.steps, error };
                let text = serde_json::to_string_pretty(&told).unwrap_or_default();
                self.line(&text);
            }
            (_, None) => self.line(&format!("\nAll {} steps held.", self.steps.len())),
            (_, Some(error)) => self.line(&format!("\nThe demonstration failed: {error}")),
        }
        if held { Exit::Done } else { Exit::Failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(style: Style, seen: &str) -> (Exit, String) {
        let mut out = Vec::new();
        let mut report = Report::new(style, &mut out);
        report.chapter("A chapter");
        let outcome = report.step("alice passes", "200", seen, Duration::from_millis(7));
        let exit = report.finish(outcome);
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_step_that_does_not_hold_is_named_with_what_was_seen_and_fails_the_demonstration() {
        let (exit, text) = told(Style::Text(Surface::Plain), "401");
        assert_eq!(exit, Exit::Failed);
        assert!(text.contains("FAIL alice passes: 401 (expected 200), 7 ms"), "{text}");
        assert!(text.contains("The demonstration failed: alice passes: expected 200, and saw 401"), "{text}");
    }

    #[test]
    fn steps_that_hold_are_told_in_one_line_each() {
        let (exit, text) = told(Style::Text(Surface::Plain), "200");
        assert_eq!(
            (exit, text.as_str()),
            (Exit::Done, "A chapter\nok   alice passes: 200, 7 ms\n\nAll 1 steps held.\n")
        );
    }

    #[test]
    fn on_a_terminal_a_step_is_marked_and_painted_if_colours_are_wanted() {
        let (_, text) = told(Style::Text(Surface::Monochrome), "401");
        let step = format!("\nA chapter\n  ✗ {:<58} 401 (expected 200) 7 ms\n", "alice passes");
        assert!(text.starts_with(&step), "{text}");
        let (_, text) = told(Style::Text(Surface::Coloured), "200");
        let step = format!(
            "\n\u{1b}[1mA chapter\u{1b}[0m\n  \u{1b}[32m✓\u{1b}[0m {:<58} 200 \u{1b}[2m7 ms\u{1b}[0m\n",
            "alice passes"
        );
        assert!(text.starts_with(&step), "{text}");
    }

    #[test]
    fn for_machines_it_is_one_object() {
        let (exit, text) = told(Style::Json, "401");
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(exit, Exit::Failed);
        assert_eq!(told["held"], false);
        let step = serde_json::json!({
            "name": "alice passes", "expected": "200", "seen": "401", "milliseconds": 7, "held": false,
        });
        assert_eq!(told["steps"][0], step);
    }
}
