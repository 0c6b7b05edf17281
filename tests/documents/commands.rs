//! The commands that the README shows, with what they print.
//!
//! A block fenced as `console` is a session at a terminal: lines that begin with `$ ` are run, one after the other by
//! one shell, and the others are what they print. What differs from run to run is not compared.

use std::path::Path;
use std::process::{Command, Stdio};

use rescind::api::manifest::{self, Object};

use crate::markdown::{Block, blocks, read};
use crate::running;

/// The folder that the README uses.
const FOLDER: &str = "/tmp/rescind";
/// The port that the README uses; a test takes any that is free.
const PORT: &str = "127.0.0.1:8181";

fn sessions() -> Vec<Block> {
    let mut blocks = blocks(&read("README.md"));
    blocks.retain(|block| block.language == "console");
    blocks
}

fn commands(block: &Block) -> Vec<&str> {
    block.lines.iter().filter_map(|line| line.strip_prefix("$ ")).collect()
}

fn output(block: &Block) -> Vec<String> {
    block.lines.iter().filter(|line| !line.starts_with("$ ")).map(|line| blur(line)).collect()
}

/// Takes out of a line what differs from run to run: digits, units of time, generated names, tokens, gaps.
fn blur(line: &str) -> String {
    if line.starts_with("exit code ") {
        return line.to_owned();
    }
    let words = line.split_whitespace().map(|word| match word {
        "ms" | "s" => "(unit)".to_owned(),
        "ms:" | "s:" => "(unit):".to_owned(),
        name if name.starts_with("r-") && name.len() == 12 => "r-(name)".to_owned(),
        token if token.contains("=eyJ") => token.split('=').next().unwrap_or_default().to_owned(),
        other => {
            let mut blurred = String::new();
            for c in other.chars() {
                match c {
                    '0'..='9' if blurred.ends_with('#') => {}
                    '0'..='9' => blurred.push('#'),
                    // 1.5 s and 900 ms.
                    '.' if blurred.ends_with('#')
                        && other.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {}
                    other => blurred.push(other),
                }
            }
            blurred
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Runs a session's commands in one shell, beside a running `rescind dev`.
fn run(block: &Block, folder: &Path, tokens: &[(String, String)]) -> Vec<String> {
    let script = commands(block).join("\n").replace(FOLDER, folder.to_str().unwrap());
    let programs = Path::new(env!("CARGO_BIN_EXE_rescind")).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("RESCIND_SERVER", folder.join("admin.sock"))
        .envs(tokens.iter().map(|(name, token)| (name, token)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(folder.to_str().unwrap(), FOLDER);
    // A machine that is busy takes a second or more, and the command says so.
    text.lines().filter(|line| !line.starts_with("waiting for ")).map(blur).collect()
}

#[test]
fn every_session_prints_what_the_readme_says() {
    let sessions = sessions();
    let (start, rest) = sessions.split_first().unwrap();
    let [command] = commands(start)[..] else {
        panic!("the first session starts rescind dev, and nothing else")
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let text = command.replace(FOLDER, data.to_str().unwrap()).replace(PORT, "127.0.0.1:0");
    let arguments: Vec<&str> = text.strip_prefix("rescind dev").unwrap().split_whitespace().collect();
    let dev = running::dev(folder.path(), &arguments);
    // The test asks for the probes too; the README does not.
    let printed = dev.printed.iter().filter(|line| !line.starts_with("Probes:"));
    let printed = printed.map(|line| blur(&line.replace(data.to_str().unwrap(), FOLDER)));
    assert_eq!(printed.collect::<Vec<_>>(), output(start), "left: rescind dev; right: the README");
    let named = dev.printed.iter().filter_map(|line| line.split_once("=eyJ"));
    let tokens: Vec<_> = named.map(|(name, rest)| (name.to_owned(), format!("eyJ{rest}"))).collect();
    assert!(rest.len() > 1);
    for session in rest {
        let seen = run(session, &data, &tokens);
        assert_eq!(seen, output(session), "left: {:?}; right: the README", commands(session));
    }
}

#[test]
fn the_list_in_the_readme_is_a_manifest() {
    let blocks = blocks(&read("README.md"));
    let manifests: Vec<_> = blocks.iter().filter(|block| block.language == "yaml").collect();
    assert!(!manifests.is_empty());
    for block in manifests {
        let objects = manifest::parse("README.md", &block.lines.join("\n")).unwrap();
        assert!(matches!(objects.as_slice(), [Object::List(_)]));
    }
}

#[test]
fn what_differs_from_run_to_run_is_not_compared() {
    assert_eq!(blur("enforced after 1.3 s: 1 of 1"), "enforced after # (unit): # of #");
    assert_eq!(blur("as of 12 ms ago"), blur("as of 1.5 s ago"));
    assert_eq!(blur("r-935b5izpd4   a"), blur("r-abcdefghij a"));
}
