//! Reads the repository's Markdown files.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of a file of the repository.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files with an ending below some folder, but for what is built or hidden.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// What stands after the fence.
    pub(crate) language: String,
    /// The lines within.
    pub(crate) lines: Vec<String>,
}

/// Returns the fenced blocks of a document.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block { language: language.to_owned(), lines: Vec::new() });
            }
        } else if inside {
            blocks.last_mut().unwrap().lines.push(line.to_owned());
        }
    }
    assert!(!inside, "a fence is not closed");
    blocks
}

/// Returns the lines outside of fenced blocks.
pub(crate) fn prose(text: &str) -> Vec<&str> {
    let mut inside = false;
    let outside = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect()
}

/// Returns the lines below a heading, up to the next of its rank or above.
pub(crate) fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let rank = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
    let below = prose(text).into_iter().skip_while(|line| *line != heading).skip(1);
    let lines: Vec<_> = below.take_while(|line| rank(line) == 0 || rank(line) > rank(heading)).collect();
    assert!(!lines.is_empty(), "{heading} is missing");
    lines
}

/// Returns the cells of the rows of a section's tables, but for heads.
pub(crate) fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let lines = section(text, heading);
    let rows = lines
        .iter()
        .zip(lines.iter().skip(1).chain([&""]))
        .filter(|(line, next)| line.starts_with("| ") && !next.starts_with("|--"));
    rows.map(|(line, _)| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns what stands between backticks.
pub(crate) fn codes<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines.iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}
