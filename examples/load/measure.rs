//! Times and memory.

use std::time::Duration;

/// The median, the 99th percentile and the largest of some durations.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    if times.is_empty() {
        return "none measured".into();
    }
    times.sort_unstable();
    format!(
        "p50 {}  p99 {}  max {}  ({} measured)",
        milliseconds(percentile(&times, 0.5)),
        milliseconds(percentile(&times, 0.99)),
        milliseconds(percentile(&times, 1.0)),
        times.len()
    )
}

/// The time that this share of the sorted `times`, which are not none, is not longer than.
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    times[((times.len() - 1) as f64 * share).round() as usize]
}

/// With three digits behind the point.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// A process's resident memory now and at its peak, in MB, where the system has `/proc`.
pub fn memory(pid: u32) -> String {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return "not known here".into();
    };
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .map_or("?".to_owned(), |kib| format!("{:.1} MB", kib / 1024.0))
    };
    format!("{} now, {} at the peak", field("VmRSS:"), field("VmHWM:"))
}

/// How many threads and open files a process has, where the system has `/proc`.
pub fn counts(pid: u32) -> String {
    let count = |what: &str| {
        let listed = std::fs::read_dir(format!("/proc/{pid}/{what}"));
        listed.map_or("?".to_owned(), |listed| listed.count().to_string())
    };
    format!(", {} threads, {} files", count("task"), count("fd"))
}
