//! Sessions as a user sees them: command lines, outputs and exit codes, without what differs from run to run.

use super::Seen;

/// A session.
pub(super) struct Transcript {
    text: String,
    /// What stands for what.
    names: Vec<(String, &'static str)>,
}

impl Transcript {
    /// Begins a session, in which these names are replaced.
    pub(super) fn new(names: Vec<(String, &'static str)>) -> Self {
        Self { text: String::new(), names }
    }

    /// Notes a command and what it did. Lines of standard error have a sign in front. How often one has waited is not
    /// noted.
    pub(super) fn note(&mut self, command: &str, seen: &Seen) {
        let err = seen.err.lines().filter(|line| !line.starts_with("waiting for "));
        let lines = seen.out.lines().map(str::to_owned).chain(err.map(|line| format!("! {line}")));
        let lines: String = lines.map(|line| blur(&line, &self.names) + "\n").collect();
        let command = blur(command, &self.names);
        self.text.push_str(&format!("$ rescind {command}\n{lines}exit code {}\n\n", seen.code));
    }

    /// Returns all of it.
    pub(super) fn text(&self) -> &str {
        self.text.trim_end()
    }
}

/// Takes out of a line what differs from run to run.
fn blur(line: &str, names: &[(String, &'static str)]) -> String {
    let line = names.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
    let indent = line.len() - line.trim_start().len();
    let words: Vec<&str> = line.split_whitespace().collect();
    let blurred: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(number, word)| {
            let is_measured =
                words.get(number + 1).is_some_and(|next| matches!(next.trim_matches(':'), "ms" | "s"));
            match *word {
                unit @ ("ms" | "s" | "ms:" | "s:") if number > 0 => unit.replace("ms", "s"),
                word if is_measured && word.starts_with(|c: char| c.is_ascii_digit()) => "#".to_owned(),
                word => blur_word(word),
            }
        })
        .collect();
    format!("{:indent$}{}", "", blurred.join(" "))
}

fn blur_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_version = core.split_once('/').is_some_and(|(epoch, revision)| digits(epoch) && digits(revision));
    let age = core.trim_end_matches(['s', 'm', 'h']);
    let shown = if core.starts_with("r-") && core.len() == 12 {
        "r-(name)"
    } else if core.len() == 20 && core.ends_with('Z') && core.starts_with("20") {
        "(time)"
    } else if core.len() == 36 && core.split('-').count() == 5 {
        "(uid)"
    } else if is_version {
        "(version)"
    } else if core.len() == 16 && hexadecimal(core) {
        "(replica)"
    } else if core.rsplit_once('_').is_some_and(|(_, number)| number.len() == 8 && hexadecimal(number)) {
        "(holder)"
    } else if age.len() + 1 == core.len() && digits(age) {
        "(age)"
    } else {
        return word.to_owned();
    };
    word.replace(core, shown)
}

#[test]
fn what_differs_from_run_to_run_is_not_compared() {
    let names = vec![("cli-7".to_owned(), "shop")];
    let check = |line: &str, expected: &str| assert_eq!(blur(line, &names), expected);
    check("r-935b5izpd4   subject alice   cli-7/shop", "r-(name) subject alice shop/shop");
    check("  cutoff  2026-11-25T13:45:06Z (issue time)", "  cutoff (time) (issue time)");
    check("enforced after 1.3 s: 1 of 1", "enforced after # s: 1 of 1");
    check("enforced after 7 ms: 1 of 1", "enforced after # s: 1 of 1");
    check("0123456789abcdef Proving 2s ago 1/5", "(replica) Proving (age) ago (version)");
    check("host_0123abcd holds the lease", "(holder) holds the lease");
}
