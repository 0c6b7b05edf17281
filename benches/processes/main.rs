//! What whole processes cost, each figure beside something that was measured in the same run.
//!
//! `cargo bench --bench processes` runs all parts; `-- check envoy memory streams cluster` those named. The processes that it
//! compares ours with are this program again, under a role of its own. Only loopback and Unix sockets are used.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a benchmark ends when something is wrong, prints, and is about the machine's clock"
)]

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use table::Row;

mod check;
mod cluster;
#[path = "../../tests/support/control_plane.rs"]
mod control_plane;
mod envoy;
mod lab;
mod lean;
#[path = "../support/machine.rs"]
mod machine;
mod memory;
mod peers;
#[path = "../support/sample.rs"]
mod sample;
mod streams;
#[path = "../support/table.rs"]
mod table;
mod times;
#[path = "../../tests/support/tools.rs"]
#[allow(
    dead_code,
    clippy::panic,
    reason = "of it only the control plane needs a part, which ends when something is wrong"
)]
mod tools;

/// A part of the benchmark.
type Part = fn(&Runtime) -> anyhow::Result<Vec<Row>>;

const PARTS: [(&str, Part); 5] = [
    ("check", check::run),
    ("envoy", envoy::run),
    ("memory", memory::run),
    ("streams", streams::run),
    ("cluster", cluster::run),
];

fn main() -> anyhow::Result<()> {
    // Cargo adds --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [peers::ECHO, socket] => peers::echo(Path::new(socket)),
        [peers::NO_OP, socket] => peers::no_op(Path::new(socket), peers::plain()),
        [peers::TALKATIVE, socket] => peers::no_op(Path::new(socket), peers::talkative()),
        [peers::FILL, folder, count] => peers::fill(Path::new(folder), count.parse()?),
        names => all(names),
    }
}

fn all(names: &[&str]) -> anyhow::Result<()> {
    let unknown = names.iter().find(|name| !PARTS.iter().any(|(known, _)| known == *name));
    anyhow::ensure!(
        unknown.is_none(),
        "no part {unknown:?}: there are check, envoy, memory, streams and cluster"
    );
    // Reads the logs of the processes; what is measured runs elsewhere.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let before = machine::describe();
    let mut rows = Vec::new();
    for (name, part) in PARTS.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        eprintln!("measuring {name}");
        rows.extend(part(&runtime)?);
    }
    println!("\n{before}\n\n{}", table::markdown(&rows));
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}
