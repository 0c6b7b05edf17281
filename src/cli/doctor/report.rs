//! Writes what was found, for people.

use super::super::console::{Surface, Tone, printable};
use super::finding::{Finding, Level, count};

/// Writes one line per finding, a line with the next step below where there is one, and a sum.
pub(super) fn describe(findings: &[Finding], surface: Surface) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let lines: String = findings.iter().map(|finding| line(finding, width, surface)).collect();
    format!("{lines}\n{}\n", sum(findings))
}

fn line(finding: &Finding, width: usize, surface: Surface) -> String {
    let (word, sign, tone) = match finding.level {
        Level::Ok => ("ok", "✓", Tone::Good),
        Level::Skipped => ("skipped", "-", Tone::Faint),
        Level::Warning => ("warning", "!", Tone::Doubtful),
        Level::Failure => ("failure", "✗", Tone::Bad),
    };
    let mark = if surface.is_terminal() { surface.paint(tone, sign) } else { format!("{word:<7}") };
    let indent = if surface.is_terminal() { 1 } else { 7 };
    let seen = printable(&finding.seen).replace('\n', " ");
    let mut text = format!("{mark}  {:<width$}  {seen}\n", finding.check);
    if let Some(next) = &finding.next {
        let next = printable(next).replace('\n', " ");
        text.push_str(&format!("{:indent$}  {:width$}  -> {next}\n", "", ""));
    }
    text
}

/// Counts the findings of each kind.
fn sum(findings: &[Finding]) -> String {
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    let mut parts = vec![
        count(of(Level::Failure), "failure", "failures"),
        count(of(Level::Warning), "warning", "warnings"),
        format!("{} ok", of(Level::Ok)),
    ];
    let skipped = of(Level::Skipped);
    if skipped > 0 {
        parts.push(format!("{skipped} skipped"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_have_words_where_nobody_watches_and_signs_on_a_terminal() {
        let findings = [
            Finding::ok("lists", "all is well"),
            Finding::warning("quotas", "near\nits end", "raise it"),
            Finding::failure("pulses", "still\u{7}", "look at the log"),
            Finding::skipped("policies", "you may not look"),
        ];
        assert_eq!(
            describe(&findings, Surface::Plain),
            "ok       lists     all is well\n\
             warning  quotas    near its end\n                   -> raise it\n\
             failure  pulses    still\\u{7}\n                   -> look at the log\n\
             skipped  policies  you may not look\n\
             \n\
             1 failure, 1 warning, 1 ok, 1 skipped\n"
        );
        let pretty = describe(&findings, Surface::Monochrome);
        assert!(
            pretty.starts_with(
                "✓  lists     all is well\n!  quotas    near its end\n             -> raise it\n"
            )
        );
    }
}
