//! The metrics that `docs/reference/metrics.md` names.

use std::collections::{BTreeMap, BTreeSet};

use rescind::sidecar::outcome::Transport;

use crate::markdown::{codes, read, rows};
use crate::running::{self, health};

const PAGE: &str = "docs/reference/metrics.md";

/// What is said of a metric, by the page or by a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

/// The metrics of a section and their alerts.
fn documented(heading: &str) -> BTreeMap<String, (Metric, BTreeSet<String>)> {
    let text = read(PAGE);
    let mut metrics = BTreeMap::new();
    for row in rows(&text, heading) {
        let [names, kind, unit, labels, _, alert] = row[..] else { panic!("{row:?}") };
        let metric = Metric {
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            // A label comes first, its values after a colon.
            labels: labels
                .split(';')
                .filter_map(|part| part.split(':').next())
                .flat_map(|names| codes(&[names]))
                .map(str::to_owned)
                .collect(),
        };
        let links = alert.split('[').skip(1).filter_map(|link| link.split(']').next());
        let alerts: BTreeSet<String> = links.map(str::to_owned).collect();
        for name in codes(&[names]) {
            metrics.insert(name.to_owned(), (metric.clone(), alerts.clone()));
        }
    }
    assert!(metrics.len() > 2, "{heading}");
    metrics
}

fn all_documented() -> BTreeMap<String, (Metric, BTreeSet<String>)> {
    ["## Both", "## Controller", "## Sidecar"].into_iter().flat_map(documented).collect()
}

/// The metrics that a process tells, by the names that a scraper sees.
fn told(exposition: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut current = String::new();
    for line in exposition.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                let ending = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                current = format!("{name}{ending}");
                metrics.entry(current.clone()).or_default().kind = kind.to_owned();
            }
            ["#", "UNIT", _, unit] => metrics.get_mut(&current).unwrap().unit = unit.to_owned(),
            _ if line.starts_with("rescind_") => {
                let labels = line.split_once('{').map(|(_, rest)| rest.split("=\"")).into_iter().flatten();
                let names = labels.filter_map(|text| text.rsplit([',', '{', '"']).next());
                // What follows the last label is its value, and `le` is that of every histogram.
                let names = names.filter(|name| {
                    *name != "le" && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                });
                let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
                metrics.get_mut(&current).unwrap().labels.extend(names);
            }
            _ => {}
        }
    }
    metrics
}

#[test]
fn every_metric_that_a_process_tells_is_documented_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (dev, alone) = (folder.path().join("dev"), folder.path().join("controller"));
    std::fs::create_dir_all(&dev).unwrap();
    std::fs::create_dir_all(&alone).unwrap();
    let (data, auth) = (dev.join("data"), dev.join("auth.sock"));
    let _sidecar = running::dev(&dev, &["--data", data.to_str().unwrap(), "--http", auth.to_str().unwrap()]);
    let _controller = running::controller(&alone);
    // Checks are told once there was one.
    running::get(&auth, "/auth").unwrap();
    for (folder, component) in [(dev, "## Sidecar"), (alone, "## Controller")] {
        let told = told(&running::get(&health(&folder), "/metrics").unwrap());
        assert!(told.len() > 5);
        let mut documented = documented(component);
        documented.extend(self::documented("## Both"));
        for (name, metric) in told {
            let known = documented.get(&name).map(|(metric, _)| metric);
            assert_eq!(known, Some(&metric), "{name}. left: {PAGE}, {component}; right: the process");
        }
    }
}

/// A metric that has not counted yet is not told, so the names are looked for in the source.
#[test]
fn every_metric_that_is_documented_exists() {
    let source: String =
        ["src/metrics.rs", "src/controller/metrics.rs", "src/sidecar/metrics.rs"].map(read).concat();
    let documented = all_documented();
    assert!(documented.len() > 10);
    for (name, (metric, _)) in documented {
        let bare = name.trim_start_matches("rescind_");
        let endings = ["_total", "_info", "_seconds", "_bytes", ""];
        let known = endings.iter().filter_map(|ending| bare.strip_suffix(ending));
        assert!(known.into_iter().any(|name| source.contains(&format!("\"{name}\""))), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == "counter", "{name}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or_default();
        assert_eq!(metric.unit, unit, "{name}");
    }
}

/// The alerts by the metrics that they are computed of.
fn alerts() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("charts/rescind/files/alerts.yaml");
    let mut alerts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in text.split("- alert: ").skip(1) {
        let (name, rest) = alert.split_once('\n').unwrap();
        let expression = rest.split("labels:").next().unwrap();
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("rescind_")) {
            let metric = metric.trim_end_matches("_bucket");
            alerts.entry(metric.to_owned()).or_default().insert(name.to_owned());
        }
    }
    alerts
}

#[test]
fn each_metric_names_the_alerts_that_rest_on_it() {
    let documented = all_documented().into_iter().map(|(name, (_, alerts))| (name, alerts));
    let documented: BTreeMap<_, _> = documented.filter(|(_, alerts)| !alerts.is_empty()).collect();
    assert_eq!(documented, alerts(), "left: {PAGE}; right: alerts.yaml");
}

/// The texts to which the arms of matches lead.
fn arms(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let arms = text.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    arms.map(str::to_owned).collect()
}

#[test]
fn every_value_of_a_label_is_documented_and_the_other_way_round() {
    let text = read(PAGE);
    let reasons: Vec<&str> = rows(&text, "## Reasons").into_iter().map(|row| row[0]).collect();
    let documented: BTreeSet<String> = codes(&reasons).into_iter().map(str::to_owned).collect();
    let sources = ["sidecar/outcome", "token/rejection", "token/selection", "revocation/verdict"];
    let mut codes: BTreeSet<String> =
        sources.iter().flat_map(|file| arms(&format!("src/{file}.rs"))).collect();
    codes.retain(|code| {
        code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && !code.is_empty()
    });
    assert_eq!(documented, codes, "left: {PAGE}; right: the codes of the source");

    let values = |name: &str, label: &str| -> BTreeSet<String> {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap();
        let of_label = row.split(&format!("`{label}`: ")).nth(1).unwrap().split([';', '|']).next().unwrap();
        crate::markdown::codes(&[of_label]).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(values("rescind_injections_total", "outcome"), arms("src/controller/metrics.rs"));
    let transports = Transport::ALL.map(|transport| transport.name().to_owned());
    assert_eq!(values("rescind_checks_total", "transport"), transports.into());
}

/// What stands before the sentence that a scraper reads.
fn registered(source: &str) -> BTreeSet<String> {
    let pieces: Vec<&str> = source.split('"').collect();
    let named = pieces.windows(3).filter(|piece| {
        let is_name = piece[0].bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_name && piece[1].trim() == "," && piece[2].starts_with(|first: char| first.is_ascii_uppercase())
    });
    named.map(|piece| piece[0].to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Also one that no process of a test has counted.
#[test]
fn every_metric_that_the_code_registers_is_documented() {
    let files = ["src/metrics.rs", "src/controller/metrics.rs", "src/sidecar/metrics.rs"];
    let registered: BTreeSet<String> = files.iter().flat_map(|file| registered(&read(file))).collect();
    assert!(registered.len() > 20, "{registered:?}");
    let documented = all_documented();
    for name in registered {
        let endings = ["", "_total", "_info", "_seconds", "_bytes"];
        let known = endings.iter().any(|ending| documented.contains_key(&format!("rescind_{name}{ending}")));
        assert!(known, "{PAGE} does not name {name}");
    }
}
