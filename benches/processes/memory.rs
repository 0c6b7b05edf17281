//! The memory of the sidecar process.

use std::time::Duration;

use anyhow::Context;
use rescind::runtime::child::Child;
use tokio::runtime::Runtime;

use crate::lab::{Lab, Verifier};
use crate::table::Row;

/// After this, what was only needed for the start is free again.
const SETTLE: Duration = Duration::from_secs(3);
const KIBIBYTE: f64 = 1024.0;
/// 2^17 places of 17 bytes, for 100k entries.
const BARE_SET_BYTES: f64 = 22.3;
/// Large blocks go back to the system when they are freed. Unless told, glibc learns from the first of them to keep
/// what follows.
const GIVE_BACK: &[&str] = &["MALLOC_MMAP_THRESHOLD_=65536"];

pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut empty = 0.0;
    for (entries, variables, name, aim) in [
        (0, &[][..], "empty", 3.0),
        (100_000, &[], "with 100k entries", 9.0),
        (100_000, GIVE_BACK, "with 100k entries and MALLOC_MMAP_THRESHOLD_=65536", 9.0),
    ] {
        let lab = Lab::start(runtime, Verifier::Sidecar, entries)?;
        let sidecar = lab.sidecar_with(variables)?;
        std::thread::sleep(SETTLE);
        let anonymous = anonymous_kibibytes(&sidecar)?;
        rows.push(Row {
            what: format!("12: anonymous resident memory of the sidecar, {name}"),
            ours: format!("{:.1} MiB", anonymous / KIBIBYTE),
            beside: "1 MiB".to_owned(),
            ratio: Some(anonymous / KIBIBYTE),
            aim: Some(aim),
        });
        if entries == 0 {
            empty = anonymous;
            continue;
        }
        let per_entry = (anonymous - empty) * KIBIBYTE / entries as f64;
        rows.push(Row {
            what: "of it, per entry / a hash set of u128 with as many".to_owned(),
            ours: format!("{per_entry:.0} bytes"),
            beside: format!("{BARE_SET_BYTES} bytes"),
            ratio: Some(per_entry / BARE_SET_BYTES),
            aim: None,
        });
    }
    Ok(rows)
}

pub(crate) fn anonymous_kibibytes(process: &Child) -> anyhow::Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id()))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let value = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no such line")?;
    Ok(value.trim().parse()?)
}
