//! Times and memory.

use std::time::Duration;

/// The median, the 99th percentile and the largest of some durations.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    if times.is_empty() {
        return "none measured".into();
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    format!(
        "p50 {}  p99 {}  max {}  ({} measured)",
        milliseconds(at(0.5)),
        milliseconds(at(0.99)),
        milliseconds(at(1.0)),
        times.len()
    )
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
