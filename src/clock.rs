//! The time that waits are counted in, which no setting of the system's clock moves.
//!
//! A queue has a clock of its own. It begins with the system's time when the store is made, and goes
//! on with the time that the machine is on, suspended included. Everything in the store is told by
//! it: when an attempt is due, when a job expires, when it was made. The system's clock is read for
//! two things only: for what the outside is told (times in replies and callbacks, `webhook-timestamp`),
//! and for the time that the machine was off.
//!
//! The difference between both clocks is kept and applied to what is told: after the system's clock
//! was set, all times that are told move with it, and durations between them stay true.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::ContextV7;

use crate::job::{Job, JobId, Timestamp};

/// A smaller difference between the clocks than this is kept as it is, in microseconds: times that
/// are told must not tremble.
const STEP: i64 = 250_000;
/// 2025-01-01: a system's clock before that was never set.
const NEVER_SET: Timestamp = Timestamp::from_micros(1_735_689_600_000_000);

/// Both clocks of the machine, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The system's clock.
    pub(crate) wall: Timestamp,
    /// Microseconds for which the machine has been on.
    pub(crate) up: i64,
}

impl Reading {
    fn take() -> Reading {
        // In microseconds. A thread that is interrupted between the clocks reads them again.
        const AT_ONCE: i64 = 5_000;
        const TRIES: usize = 10;
        let read = || {
            let (before, wall, after) = (up(), Timestamp::now(), up());
            (after - before, Reading { wall, up: before })
        };
        let mut best = read();
        for _ in 1..TRIES {
            if best.0 <= AT_ONCE {
                break;
            }
            let again = read();
            if again.0 < best.0 {
                best = again;
            }
        }
        best.1
    }
}

/// Microseconds since the machine was started, suspends included.
#[cfg(target_os = "linux")]
fn up() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)
}

/// Microseconds since the first call: there is no such clock that outlives the process.
#[cfg(not(target_os = "linux"))]
fn up() -> i64 {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let up = FIRST.get_or_init(std::time::Instant::now).elapsed();
    i64::try_from(up.as_micros()).unwrap_or(i64::MAX)
}

/// Names this start of the machine; `None` where the system has no name for it.
pub(crate) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What a store keeps of the clock, for the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The queue's time then.
    pub(crate) time: Timestamp,
    pub(crate) reading: Reading,
    pub(crate) boot: Option<String>,
}

/// The clock of one queue.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The queue's time when the machine was started, in microseconds since 1970.
    start: i64,
    boot: Option<String>,
    /// Microseconds by which the system's clock is ahead of this one.
    ahead: AtomicI64,
    ids: Mutex<ContextV7>,
}

/// A clock that goes on.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) clock: Clock,
    /// How long it stood while the machine was off, by the system's clock; `None` where it did not,
    /// and what the store keeps of it holds on.
    pub(crate) off: Option<Duration>,
}

impl Clock {
    /// Goes on from what the store keeps. `latest` is the newest time in the store.
    pub(crate) fn resume(seen: Option<Seen>, latest: Option<Timestamp>) -> Resumed {
        Clock::resume_at(seen, latest, Reading::take(), boot())
    }

    /// As [`resume`](Clock::resume), at this moment of this start of the machine.
    ///
    /// Within one start of the machine the time between two processes is known. Across a restart of
    /// it only the system's clock tells: the queue's time stands still, so that nothing expires by a
    /// clock that is wrong, and `off` says what the system's clock makes of it.
    pub(crate) fn resume_at(
        seen: Option<Seen>,
        latest: Option<Timestamp>,
        now: Reading,
        boot: Option<String>,
    ) -> Resumed {
        let latest = latest.unwrap_or(Timestamp::from_micros(0));
        let (time, off) = match seen {
            None => (now.wall.max(latest), Some(Duration::ZERO)),
            Some(seen) if boot.is_some() && seen.boot == boot && seen.reading.up <= now.up => {
                let passed = Duration::from_micros((now.up - seen.reading.up).unsigned_abs());
                (seen.time.after(passed), None)
            }
            Some(seen) => {
                let was_set = seen.reading.wall >= NEVER_SET;
                let off = now.wall.since(seen.reading.wall);
                (seen.time.max(latest), Some(if was_set { off } else { Duration::ZERO }))
            }
        };
        let ahead = now.wall.as_micros() - time.as_micros();
        let clock = Clock {
            start: time.as_micros() - now.up,
            boot,
            ahead: AtomicI64::new(if ahead.abs() < STEP { 0 } else { ahead }),
            ids: Mutex::new(ContextV7::new()),
        };
        Resumed { clock, off }
    }

    /// The queue's time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.start.saturating_add(up()))
    }

    /// The time as the outside is told it.
    pub(crate) fn told_now(&self) -> Timestamp {
        self.told(self.now())
    }

    /// A time of the queue as the outside is told it.
    pub(crate) fn told(&self, time: Timestamp) -> Timestamp {
        moved(time, self.ahead(Reading::take()))
    }

    /// A job as the outside is told of it.
    pub(crate) fn told_job(&self, mut job: Job) -> Job {
        let ahead = self.ahead(Reading::take());
        let tell = |time| moved(time, ahead);
        job.created_at = moved(job.created_at, ahead);
        job.started_at = job.started_at.map(tell);
        job.finished_at = job.finished_at.map(tell);
        job.expires_at = job.expires_at.map(tell);
        if let Some(callback) = &mut job.callback {
            callback.next_attempt_at = callback.next_attempt_at.map(tell);
        }
        job
    }

    /// A new id. Ids sort by age, whatever happens to the system's clock.
    pub(crate) fn new_job_id(&self) -> JobId {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        JobId::at(self.now(), &ids)
    }

    /// What the store has to keep.
    pub(crate) fn seen(&self) -> Seen {
        let reading = Reading::take();
        let time = Timestamp::from_micros(self.start.saturating_add(reading.up));
        Seen { time, reading, boot: self.boot.clone() }
    }

    /// By how much the system's clock is ahead, as it was found last unless it was set since.
    fn ahead(&self, now: Reading) -> i64 {
        let time = self.start.saturating_add(now.up);
        let found = now.wall.as_micros().saturating_sub(time);
        let kept = self.ahead.load(Ordering::Relaxed);
        if found.abs_diff(kept) < STEP.unsigned_abs() {
            return kept;
        }
        if self.ahead.swap(found, Ordering::Relaxed) != found {
            let step = Duration::from_micros(found.abs_diff(kept));
            let step = humantime::format_duration(Duration::from_secs(step.as_secs()));
            let direction = if found > kept { "forward" } else { "back" };
            log::warn!(
                "the system's clock was set {direction} by {step}; no wait is changed by that"
            );
        }
        found
    }
}

/// Later by so many microseconds, and no earlier than 1970.
fn moved(time: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros().saturating_add(by).max(0))
}

#[cfg(test)]
mod tests;
