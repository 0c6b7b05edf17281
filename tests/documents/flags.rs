//! The flags, commands, variables and exit codes that documents name. `docs/reference/flags.md` is generated.

use std::collections::BTreeSet;
use std::process::Command;

use crate::markdown::{codes, files, prose, read, root, section};

/// How code begins that is not about our programs.
const OTHERS: [&str; 9] =
    ["cargo", "envoy ", "grep", "helm", "kubectl ", "make", "scripts/", "docker", "etcdctl"];

fn is_of_others(code: &str) -> bool {
    !code.starts_with("kubectl rescind") && OTHERS.iter().any(|other| code.starts_with(other))
}

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
    for document in files(root(), ".md") {
        let text = read(&document);
        let lines = prose(&text);
        let codes = codes(&lines);
        let ours = codes.iter().filter(|code| !is_of_others(code));
        let words = ours.flat_map(|code| code.split([' ', '=', '[']));
        let lost: Vec<_> = words
            .filter(|word| {
                word.len() > 2 && word.starts_with("--") && !known.contains(*word) && !is_common(word)
            })
            .collect();
        assert!(lost.is_empty(), "{} names {lost:?}", document.display());
    }
}

/// Those of one signal are documented with that of all.
fn of_all_signals(name: &str) -> String {
    name.replace("_OTLP_TRACES_", "_OTLP_").replace("_OTLP_METRICS_", "_OTLP_")
}

/// The variables that the code reads, by their names in it.
fn variables() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files(&root().join("src"), ".rs").iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = read(file);
        let body = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        let literals = body.split('"').filter(|text| !text.is_empty());
        let ours = literals
            .filter(|text| ["OTEL_", "RESCIND_", "RUST_"].iter().any(|start| text.starts_with(start)));
        found.extend(ours.map(str::to_owned));
        let others = body.split("var_os(\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(others.map(str::to_owned));
    }
    found.retain(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    found
}

#[test]
fn every_variable_that_the_code_reads_is_documented() {
    let text = read("docs/reference/flags.md") + &read("docs/observability.md");
    let documented: BTreeSet<&str> = codes(&prose(&text)).into_iter().collect();
    let variables = variables();
    assert!(variables.len() > 8, "{variables:?}");
    let is_lost = |name: &&String| !documented.contains(of_all_signals(name).as_str());
    let lost: Vec<_> = variables.iter().filter(is_lost).collect();
    assert!(lost.is_empty(), "neither flags.md nor observability.md names {lost:?}");
}

#[test]
fn wrong_usage_has_the_exit_code_that_is_documented() {
    let text = read("docs/reference/flags.md");
    let check = |heading: &str, program: &str, arguments: &[&str], code: i32| {
        let lines = section(&text, heading);
        let told = lines.iter().find_map(|line| line.strip_prefix("Exit codes: ")).unwrap();
        let meaning = told.split(", ").find(|part| part.starts_with(&code.to_string()));
        assert!(meaning.is_some_and(|meaning| meaning.contains("used wrongly")), "{told}");
        let output = Command::new(program).args(arguments).arg("--nonsense").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{program}: {output:?}");
    };
    check("## rescind-controller", env!("CARGO_BIN_EXE_rescind-controller"), &[], 2);
    check("## rescind-sidecar", env!("CARGO_BIN_EXE_rescind-sidecar"), &[], 2);
    check("### rescind list", env!("CARGO_BIN_EXE_rescind"), &["list"], 1);
}
