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
    match (resident_mb(pid, "VmRSS:"), resident_mb(pid, "VmHWM:")) {
        (Some(now), Some(peak)) => format!("{now:.1} MB now, {peak:.1} MB at the peak"),
        _ => "not known here".into(),
    }
}

/// A line of a process's status that tells memory, in MB.
pub fn resident_mb(pid: u32, line: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let told = status.lines().find_map(|other| other.strip_prefix(line))?;
    Some(told.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// The time that a process has had on a processor so far.
pub fn processor_time(pid: u32) -> Option<Duration> {
    /// In which Linux tells it, on every machine.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have anything in it. User and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u32 =
        fields.split(' ').skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Some(TICK * ticks)
}

/// How many threads and open files a process has, where the system has `/proc`.
pub fn counts(pid: u32) -> String {
    let count = |what: &str| {
        let listed = std::fs::read_dir(format!("/proc/{pid}/{what}"));
        listed.map_or("?".to_owned(), |listed| listed.count().to_string())
    };
    format!(", {} threads, {} files", count("task"), count("fd"))
}
