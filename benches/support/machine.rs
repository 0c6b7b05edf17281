//! What the figures were measured on.

use std::fs;

/// Says what the machine is, in one line.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "Machine: {} cores, {}, {} GiB of memory, Linux {}, load average {load}.",
        cores,
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "CPU unknown".to_owned()),
        memory_gibibytes(),
        kernel.trim(),
    )
}

fn memory_gibibytes() -> u64 {
    let total = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    total.trim_end_matches(" kB").parse::<u64>().map_or(0, |kibibytes| kibibytes.div_ceil(1024 * 1024))
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
