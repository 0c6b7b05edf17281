//! The metrics that the README names.

use std::collections::BTreeSet;

use crate::markdown::{codes, read, section};
use crate::running::{self, health};

/// The metrics of the README's table.
fn documented() -> BTreeSet<String> {
    let text = read("README.md");
    let rows = section(&text, "## Metrics").into_iter().filter(|line| line.starts_with("| `rescind_"));
    let first: Vec<_> = rows.map(|row| row.split(" | ").next().unwrap_or_default()).collect();
    codes(&first).into_iter().map(str::to_owned).collect()
}

/// The metrics that a process tells, by the names that a scraper sees.
fn told(exposition: &str) -> BTreeSet<String> {
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.map(|line| match line.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total"),
        (name, "info") => format!("{name}_info"),
        (name, _) => name.to_owned(),
    });
    names.collect()
}

#[test]
fn every_metric_that_a_process_tells_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let (dev, alone) = (folder.path().join("dev"), folder.path().join("controller"));
    std::fs::create_dir_all(&dev).unwrap();
    std::fs::create_dir_all(&alone).unwrap();
    let _sidecar = running::dev(&dev, &["--data", dev.join("data").to_str().unwrap()]);
    let _controller = running::controller(&alone);
    for folder in [dev, alone] {
        let told = told(&running::get(&health(&folder), "/metrics").unwrap());
        assert!(told.len() > 5);
        let lost: Vec<_> = told.difference(&documented()).cloned().collect();
        assert!(lost.is_empty(), "the README does not name {lost:?}");
    }
}

/// A metric that has not counted yet is not told, so the names are looked for in the source.
#[test]
fn every_metric_that_is_documented_exists() {
    let source: String =
        ["src/metrics.rs", "src/controller/metrics.rs", "src/sidecar/metrics.rs"].map(read).concat();
    let documented = documented();
    assert!(documented.len() > 10);
    for name in documented {
        let bare = name.trim_start_matches("rescind_");
        let endings = ["_total", "_info", "_seconds", "_bytes", ""];
        let known = endings.iter().filter_map(|ending| bare.strip_suffix(ending));
        assert!(known.into_iter().any(|name| source.contains(&format!("\"{name}\""))), "{name}");
    }
}
