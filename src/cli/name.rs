//! Under which name the program was called: its own, or as a plugin of `kubectl`.

use std::ffi::OsStr;
use std::path::Path;

/// What the program calls itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProgramName {
    /// `rescind`.
    #[default]
    Own,
    /// `kubectl rescind`: kubectl runs the program `kubectl-rescind` for that.
    Plugin,
}

impl ProgramName {
    /// Tells by the path of the program as it was called.
    pub(super) fn of(program: Option<&OsStr>) -> Self {
        let stem = program.and_then(|path| Path::new(path).file_stem());
        if stem == Some(OsStr::new("kubectl-rescind")) { Self::Plugin } else { Self::Own }
    }

    /// Gives a text in which commands stand as `rescind ...`, alone on a line or in backticks, in this name.
    pub(super) fn in_text(self, text: &str) -> String {
        match self {
            Self::Own => text.to_owned(),
            Self::Plugin => {
                let named = text.replace("`rescind ", "`kubectl rescind ");
                let line = |line: &str| match line.trim_start().strip_prefix("rescind ") {
                    Some(rest) => {
                        let indent = line.len() - line.trim_start().len();
                        format!("{:indent$}kubectl rescind {rest}", "")
                    }
                    None => line.to_owned(),
                };
                named.split('\n').map(line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Gives the definition of all commands this name, in usage and in examples.
    pub(super) fn of_command(self, command: clap::Command) -> clap::Command {
        match self {
            Self::Own => command,
            Self::Plugin => self.examples(command.bin_name("kubectl rescind")),
        }
    }

    fn examples(self, command: clap::Command) -> clap::Command {
        let after = command.get_after_help().map(|text| self.in_text(&text.to_string()));
        let command = match after {
            Some(text) => command.after_help(text),
            None => command,
        };
        command.mut_subcommands(|below| self.examples(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_told_by_the_programs_file() {
        let check =
            |path: &str, expected| assert_eq!(ProgramName::of(Some(OsStr::new(path))), expected, "{path}");
        check("rescind", ProgramName::Own);
        check("/usr/local/bin/kubectl-rescind", ProgramName::Plugin);
        check("kubectl-rescind.exe", ProgramName::Plugin);
        check("/opt/kubectl-rescind/rescind", ProgramName::Own);
        assert_eq!(ProgramName::of(None), ProgramName::Own);
    }

    #[test]
    fn commands_in_texts_are_named_and_nothing_else() {
        let text = "see `rescind list`\n  rescind subject alice\nthe word rescind stays, and rescind-sidecar";
        let expected = "see `kubectl rescind list`\n  kubectl rescind subject alice\n\
                        the word rescind stays, and rescind-sidecar";
        assert_eq!(ProgramName::Plugin.in_text(text), expected);
        assert_eq!(ProgramName::Own.in_text(text), text);
    }
}
