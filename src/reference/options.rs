//! The flags, environment variables and exit codes of all programs, from their command lines.

use clap::{Arg, Command, CommandFactory};

use super::NOTICE;
use super::table::{code, codes, table, text};
use crate::cli;
use crate::process::{ControllerProgram, SidecarProgram};

/// The commands that revoke, in one word.
const REVOKING: &str = "all that revoke";

const INTRODUCTION: &str = "`--help` of each program says the same, with examples. An address is `IP:PORT`, or the path of a Unix \
socket where that makes sense. A flag wins over its variable. What a program is given by files (certificates, keys and \
authorities) is looked at every 5 seconds: new connections have the new ones, and open ones go on. Files that can't be \
used are told in the log, and those before are kept.\n\n";

const COMMANDS: &str = "Installed as `kubectl-rescind` too, it is `kubectl rescind`. Tokens are read from standard input or a file, \
never from the command line. What several commands take is [below](#flags-of-several-commands).\n\n";

/// Variables that no flag stands for.
const VARIABLES: [(&str, &str); 5] = [
    (
        "RUST_LOG",
        "which lines are logged, to standard error: `error`, `warn`, `info` (unless given), `debug`, `trace`, or these by module",
    ),
    (
        "KUBECONFIG",
        "where the kubeconfig is, unless a flag says so: `rescind`, and `rescind-controller --kubernetes`",
    ),
    ("NO_COLOR", "if it is set, `rescind` writes without colours, and shows no progress"),
    ("TERM", "if it is `dumb`, likewise"),
    (
        "OTEL_*",
        "traces and metrics by OTLP: see [observability](../observability.md#traces-and-metrics-by-otlp)",
    ),
];

/// Returns the page.
pub(super) fn page() -> String {
    let programs = [ControllerProgram::command(), SidecarProgram::command()].map(built);
    let rescind = built(cli::definition());
    let mut page = format!("# Flags, variables and exit codes\n\n{NOTICE}\n\n{INTRODUCTION}");
    for program in &programs {
        page.push_str(&section("##", program, &|_| true));
    }
    page.push_str(&commands(&rescind));
    page.push_str(&variables(&[&programs[..], &[rescind]].concat()));
    page.trim_end().to_owned() + "\n"
}

/// What derives from the whole, such as the form of a flag, is there only then.
fn built(mut command: Command) -> Command {
    command.build();
    command
}

fn commands(rescind: &Command) -> String {
    let shown: Vec<&Command> = shown(rescind).collect();
    let mut section = format!("## rescind\n\n{}{COMMANDS}", about(rescind));
    let is_shared = |row: &[String; 4]| shared_by(row, &shown).len() > 1;
    for command in &shown {
        section.push_str(&self::section("###", command, &|row| !is_shared(row)));
    }
    let mut shared: Vec<[String; 5]> = Vec::new();
    for row in shown.iter().flat_map(|command| rows(command)).filter(|row| is_shared(row)) {
        let commands = among(&shared_by(&row, &shown));
        let [flag, default, variable, meaning] = row;
        let row = [flag, commands, default, variable, meaning];
        if !shared.contains(&row) {
            shared.push(row);
        }
    }
    let table = table(["flag", "commands", "default", "variable", "meaning"], &shared);
    section + "### Flags of several commands\n\n" + &table
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_common = |arg: &Arg| matches!(arg.get_id().as_str(), "help" | "version");
    command.get_arguments().filter(move |arg| !arg.is_hide_set() && !is_common(arg))
}

/// Returns the commands that have the same argument.
fn shared_by<'a>(same: &[String; 4], commands: &[&'a Command]) -> Vec<&'a str> {
    let has = |command: &&&Command| rows(command).any(|other| other == *same);
    commands.iter().filter(has).map(|command| command.get_name()).collect()
}

/// Names commands, those that revoke together where all of them are meant.
fn among(names: &[&str]) -> String {
    let (revoking, others): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| cli::REVOKING.contains(name));
    if revoking.len() < cli::REVOKING.len() {
        return codes(names.iter().copied());
    }
    let others = codes(others);
    if others.is_empty() { REVOKING.to_owned() } else { format!("{REVOKING}, {others}") }
}

fn section(rank: &str, command: &Command, is_told: &dyn Fn(&[String; 4]) -> bool) -> String {
    let rows: Vec<_> = rows(command).filter(is_told).collect();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let table = table(["flag", "default", "variable", "meaning"], &rows);
    format!("{rank} {name}\n\n{}{table}{}", about(command), exit_codes(command))
}

fn about(command: &Command) -> String {
    command.get_about().map(|about| format!("{}.\n\n", text(&about.to_string()))).unwrap_or_default()
}

fn exit_codes(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let line = help.lines().find(|line| line.starts_with(cli::EXIT_CODES));
    line.map(|line| format!("{}\n\n", text(line))).unwrap_or_default()
}

fn rows(command: &Command) -> impl Iterator<Item = [String; 4]> {
    arguments(command).map(|arg| row(command, arg))
}

fn row(command: &Command, arg: &Arg) -> [String; 4] {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    // Some defaults are known to the program alone, and stand in the words.
    let (words, told) = match help.split_once(" [default: ") {
        Some((words, default)) => (words, text(default.trim_end_matches(']'))),
        None => (help.as_str(), String::new()),
    };
    let values = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let known = if arg.is_hide_default_value_set() || !takes_value(arg) {
        String::new()
    } else {
        values.map(|value| code(&value)).collect::<Vec<_>>().join(", ")
    };
    let default = match (arg.is_required_set(), known.is_empty()) {
        (true, _) => "required".to_owned(),
        (false, true) => told,
        (false, false) => known,
    };
    let variable = arg.get_env().map(|name| code(&name.to_string_lossy())).unwrap_or_default();
    let meaning = format!("{}{}{}", text(words), one_of(arg), not_with(command, arg));
    [form(arg), default, variable, meaning]
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// Returns the flag with its value, as usage shows it.
fn form(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    format!("{short}{}", code(&arg.to_string()))
}

/// The values that an argument can have, where its form does not show them.
fn one_of(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    if !takes_value(arg) || values.is_empty() || arg.is_hide_possible_values_set() {
        return String::new();
    }
    format!(": {}", codes(values.iter().map(clap::builder::PossibleValue::get_name)))
}

fn not_with(command: &Command, arg: &Arg) -> String {
    let others = command.get_arg_conflicts_with(arg);
    let others = others.iter().filter_map(|other| other.get_long()).map(|long| code(&format!("--{long}")));
    let others: Vec<String> = others.collect();
    if others.is_empty() { String::new() } else { format!(". Not with {}", others.join(", ")) }
}

/// The variables that flags stand for, then the others.
fn variables(programs: &[Command]) -> String {
    let mut of_flags: Vec<[String; 2]> = Vec::new();
    for program in programs {
        let below: Vec<&Command> = shown(program).collect();
        for arg in arguments(program).chain(below.iter().flat_map(|command| arguments(command))) {
            let Some(name) = arg.get_env() else { continue };
            let of = code(&format!("{} --{}", program.get_name(), arg.get_long().unwrap_or_default()));
            let name = code(&name.to_string_lossy());
            match of_flags.iter_mut().find(|[other, _]| *other == name) {
                Some([_, flags]) if !flags.contains(&of) => flags.push_str(&format!(", {of}")),
                Some(_) => {}
                None => of_flags.push([name, of]),
            }
        }
    }
    let others = VARIABLES.map(|(name, meaning)| [code(name), meaning.to_owned()]);
    let table =
        table(["variable", "meaning, or the flag that it stands for"], &[&of_flags[..], &others].concat());
    format!("## Variables\n\n{table}")
}

#[cfg(test)]
mod tests {
    use clap::{Args, Parser, Subcommand};

    use super::*;

    #[derive(Args)]
    struct Shared {
        /// Where it is
        #[arg(long, value_name = "ADDR", env = "PLACE", hide_env_values = true)]
        place: Option<String>,
    }

    #[derive(Subcommand)]
    enum Below {
        /// Does one thing
        One {
            #[command(flatten)]
            shared: Shared,
            /// How many [default: all]
            #[arg(short, long, value_name = "a|b")]
            many: Option<String>,
        },
        /// Does another
        Two {
            #[command(flatten)]
            shared: Shared,
        },
        #[command(hide = true)]
        Three {
            #[arg(long)]
            hidden: bool,
        },
    }

    /// What it does
    #[derive(Parser)]
    #[command(name = "it", after_help = "Exit codes: 0 well, 1 not.\n\nExamples:\n  it one")]
    struct It {
        #[command(subcommand)]
        below: Below,
        /// It has to be
        #[arg(long, value_name = "N", required = true)]
        needed: u8,
        /// How fast
        #[arg(long, default_value = "slow", value_parser = ["slow", "fast"], conflicts_with = "needed")]
        pace: String,
    }

    #[test]
    fn a_program_has_its_flags_with_defaults_and_its_exit_codes() {
        let expected = "## it\n\nWhat it does.\n\n| flag | default | variable | meaning |\n|---|---|---|---|\n\
             | `--needed <N>` | required |  | It has to be |\n\
             | `--pace <PACE>` | `slow` |  | How fast: `slow`, `fast`. Not with `--needed` |\n\nExit codes: 0 well, 1 not.\n\n";
        assert_eq!(section("##", &built(It::command()), &|_| true), expected);
    }

    #[test]
    fn what_several_commands_have_is_told_once_and_what_is_hidden_not_at_all() {
        let told = commands(&built(It::command()));
        let own = "### it one\n\nDoes one thing.\n\n| flag | default | variable | meaning |\n|---|---|---|---|\n\
             | `-m`, `--many <a\\|b>` | all |  | How many |\n\n### it two\n\nDoes another.\n\n### Flags of several";
        assert!(told.contains(own), "{told}");
        assert!(
            told.ends_with("| `--place <ADDR>` | `one`, `two` |  | `PLACE` | Where it is |\n\n"),
            "{told}"
        );
        assert!(!told.contains("hidden"), "{told}");
    }

    #[test]
    fn a_variable_names_each_flag_that_it_stands_for_once() {
        let told = variables(&[built(It::command())]);
        assert!(told.contains("| `PLACE` | `it --place` |\n"), "{told}");
    }

    #[test]
    fn every_command_says_what_its_exit_codes_mean() {
        let rescind = built(cli::definition());
        let programs = [ControllerProgram::command(), SidecarProgram::command()];
        for command in shown(&rescind).chain(&programs) {
            assert_ne!(exit_codes(command), "", "{}", command.get_name());
        }
    }
}
