//! Links within the repository.

use std::path::Path;

use crate::markdown::{files, prose, read, root};

/// The targets of a document's links.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text).join("\n");
    let after = text.split("](").skip(1);
    after.map(|rest| rest.split(')').next().unwrap_or_default().to_owned()).collect()
}

/// The name under which GitHub links to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_anchor(file: &Path, name: &str) -> bool {
    let text = read(file);
    prose(&text).iter().any(|line| line.starts_with('#') && anchor(line) == name)
}

fn leads_somewhere(from: &Path, target: &str) -> bool {
    let (path, name) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    file.exists() && (name.is_empty() || has_anchor(&file, name))
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut broken = Vec::new();
    for file in files(root(), ".md") {
        let targets = targets(&read(&file));
        let here = targets.iter().filter(|target| !target.contains("://"));
        let wrong = here.filter(|target| !leads_somewhere(&file, target));
        broken.extend(wrong.map(|target| format!("{}: {target}", file.display())));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
