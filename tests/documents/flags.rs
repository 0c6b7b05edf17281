//! The flags and commands that the README names.

use std::collections::BTreeSet;
use std::process::Command;

use crate::markdown::{codes, read, section};

fn help(program: &str, command: &[&str]) -> String {
    let output = Command::new(program).args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} {command:?} --help: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The long flags at the beginning of the lines of a help text.
fn flags(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '[', '=', '<']).take(3));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

fn is_common(flag: &str) -> bool {
    matches!(flag, "--help" | "--version")
}

fn check_table(heading: &str, program: &str) {
    let text = read("README.md");
    let rows: Vec<_> = section(&text, heading).into_iter().filter(|line| line.starts_with("| `-")).collect();
    let first = rows.iter().map(|row| row.split(" | ").next().unwrap_or_default()).collect::<Vec<_>>();
    let named: BTreeSet<String> =
        codes(&first).into_iter().filter(|code| code.starts_with("--")).map(str::to_owned).collect();
    let mut has = flags(&help(program, &[]));
    has.retain(|flag| !is_common(flag));
    assert_eq!(named, has, "left: in the README, below {heading}; right: in --help");
}

#[test]
fn the_controllers_flags_are_those_of_its_help() {
    check_table("### rescind-controller", env!("CARGO_BIN_EXE_rescind-controller"));
}

#[test]
fn the_sidecars_flags_are_those_of_its_help() {
    check_table("### rescind-sidecar", env!("CARGO_BIN_EXE_rescind-sidecar"));
}

/// The commands that the help lists.
fn commands() -> BTreeSet<String> {
    let help = help(env!("CARGO_BIN_EXE_rescind"), &[]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_table_of_commands_has_every_command() {
    let text = read("README.md");
    let rows = section(&text, "## Command line").into_iter().filter(|line| line.starts_with("| `"));
    let first: Vec<_> = rows.map(|row| row.split(" | ").next().unwrap_or_default()).collect();
    let named: BTreeSet<String> = codes(&first).into_iter().map(str::to_owned).collect();
    assert_eq!(named, commands(), "left: in the README; right: in --help");
}

#[test]
fn every_flag_that_a_document_names_exists() {
    let rescind = env!("CARGO_BIN_EXE_rescind");
    let mut known = flags(&help(env!("CARGO_BIN_EXE_rescind-controller"), &[]));
    known.extend(flags(&help(env!("CARGO_BIN_EXE_rescind-sidecar"), &[])));
    known.extend(commands().iter().flat_map(|command| flags(&help(rescind, &[command]))));
    for document in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = read(document);
        let lines = crate::markdown::prose(&text);
        let codes = codes(&lines);
        let ours = codes.iter().filter(|code| !code.starts_with("cargo") && !code.starts_with("grep"));
        let words = ours.flat_map(|code| code.split([' ', '=']));
        let lost: Vec<_> = words
            .filter(|word| word.starts_with("--") && !known.contains(*word) && !is_common(word))
            .collect();
        assert!(lost.is_empty(), "{document} names {lost:?}");
    }
}
