//! What the kernel says of this process: memory, processor time, descriptors, threads.
//!
//! Read from `/proc/self` when the metrics are asked for. Where there is no such directory, the
//! values are not there either; nothing depends on them.

use super::Metrics;

/// Ticks of the kernel's accounting in a second, as every Linux shows them to programs.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn register(metrics: &Metrics) {
    if !cfg!(target_os = "linux") {
        return;
    }
    metrics.register_gauge(
        "process_resident_memory_bytes",
        "Memory of the process that is in use",
        || status_field("VmRSS:") * 1_024.0,
    );
    metrics.register_counter(
        "process_cpu_seconds",
        "Processor time of the process, for itself and in the kernel",
        cpu_seconds,
    );
    metrics.register_gauge("process_threads", "Threads of the process", || {
        status_field("Threads:")
    });
    metrics.register_gauge(
        "process_open_fds",
        "Open files and sockets of the process",
        || {
            let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            f64::from(u32::try_from(open).unwrap_or(u32::MAX))
        },
    );
}

fn status_field(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in parentheses that may hold anything, spaces too; after it the
    // state is the first field, and the times are the twelfth and thirteenth.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}
