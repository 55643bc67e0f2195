//! What a running attempt and the rest of the server tell each other.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::estimator::Reached;

/// Why a running attempt is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its job was canceled.
    Canceled,
    /// The server is stopping; the job goes back to the queue.
    Draining,
    /// It ran into its deadline.
    TimedOut,
}

/// What a running attempt and the rest of the server tell each other.
#[derive(Debug)]
pub(crate) struct Pulse {
    deadline: Instant,
    stop: AtomicU8,
    began: Instant,
    /// Millionths in the upper half; in the lower one the milliseconds after which they were reached.
    reached: AtomicU64,
    duration_ms: AtomicU64,
    /// Held while `stop` is set or looked at by who sleeps; it guards nothing else.
    stopping: Mutex<()>,
    stopped: Condvar,
}

const STOP_NONE: u8 = 0;
const STOP_CANCELED: u8 = 1;
const STOP_DRAINING: u8 = 2;
const DURATION_UNKNOWN: u64 = u64::MAX;

impl Pulse {
    pub(crate) fn new(deadline: Instant) -> Pulse {
        Pulse {
            deadline,
            stop: AtomicU8::new(STOP_NONE),
            began: Instant::now(),
            reached: AtomicU64::new(0),
            duration_ms: AtomicU64::new(DURATION_UNKNOWN),
            stopping: Mutex::default(),
            stopped: Condvar::new(),
        }
    }

    pub(crate) fn cancel(&self) {
        let _stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(STOP_CANCELED, Ordering::Relaxed);
        self.stopped.notify_all();
    }

    /// Asks the attempt to give up; a cancel that came before stays a cancel.
    pub(crate) fn drain(&self) {
        let _stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        // The other outcome means that the attempt was told to stop already.
        let _ = self.stop.compare_exchange(
            STOP_NONE,
            STOP_DRAINING,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.stopped.notify_all();
    }

    /// Why the attempt is to stop, if it is.
    pub(crate) fn stop(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            STOP_CANCELED => Some(Stop::Canceled),
            STOP_DRAINING => Some(Stop::Draining),
            _ => (Instant::now() >= self.deadline).then_some(Stop::TimedOut),
        }
    }

    pub(crate) fn is_canceled(&self) -> bool {
        self.stop().is_some()
    }

    /// Sleeps for `time`, or until the attempt is to stop: then says why.
    pub(super) fn sleep(&self, time: Duration) -> Option<Stop> {
        let until = Instant::now().checked_add(time).unwrap_or(self.deadline);
        let mut guard = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            if let Some(stop) = self.stop() {
                return Some(stop);
            }
            if now >= until {
                return None;
            }
            let rest = until.min(self.deadline).saturating_duration_since(now);
            let woken = self.stopped.wait_timeout(guard, rest);
            guard = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn set_progress(&self, done: f32) {
        // The cast turns NaN into 0.
        let millionths = (f64::from(done.clamp(0.0, 1.0)) * 1e6) as u64;
        let elapsed = u32::try_from(self.elapsed().as_millis()).unwrap_or(u32::MAX);
        let reached = millionths << 32 | u64::from(elapsed);
        let further = |old: u64| (millionths > old >> 32).then_some(reached);
        // The other outcome means that the attempt had come so far before.
        let _ = self.reached.fetch_update(Ordering::Relaxed, Ordering::Relaxed, further);
    }

    /// From 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        self.reached().progress
    }

    /// The progress, and how long after the beginning the task has told it.
    pub(crate) fn reached(&self) -> Reached {
        let reached = self.reached.load(Ordering::Relaxed);
        let (millionths, ms) = (reached >> 32, reached & u64::from(u32::MAX));
        Reached { progress: millionths as f64 / 1e6, after: Duration::from_millis(ms) }
    }

    /// How long the attempt has been running.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn set_duration(&self, duration: Duration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(DURATION_UNKNOWN - 1);
        self.duration_ms.store(ms.min(DURATION_UNKNOWN - 1), Ordering::Relaxed);
    }

    /// How long the input plays, once the task has said so.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match self.duration_ms.load(Ordering::Relaxed) {
            DURATION_UNKNOWN => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse() -> Pulse {
        Pulse::new(Instant::now() + Duration::from_secs(3600))
    }

    #[test]
    fn progress_stays_between_0_and_1_and_never_goes_back() {
        let pulse = pulse();
        for (said, shown) in
            [(f32::NAN, 0.0), (-1.0, 0.0), (0.5, 0.5), (0.25, 0.5), (f32::INFINITY, 1.0)]
        {
            pulse.set_progress(said);
            assert_eq!(pulse.progress(), shown, "after {said}");
        }
    }

    #[test]
    fn a_sleeper_is_woken_by_a_cancel_and_by_a_drain_and_by_the_deadline() {
        const FOREVER: Duration = Duration::MAX;
        let woken_by = |stop: fn(&Pulse)| {
            let pulse = pulse();
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(|| pulse.sleep(FOREVER));
                stop(&pulse);
                sleeper.join().expect("it wakes")
            })
        };
        assert_eq!(woken_by(Pulse::cancel), Some(Stop::Canceled));
        assert_eq!(woken_by(Pulse::drain), Some(Stop::Draining));
        let late = Pulse::new(Instant::now() + Duration::from_millis(5));
        assert_eq!(late.sleep(FOREVER), Some(Stop::TimedOut));
        assert_eq!(pulse().sleep(Duration::from_millis(1)), None);
    }

    #[test]
    fn a_cancel_outranks_a_drain_and_both_the_deadline() {
        let late = Pulse::new(Instant::now());
        assert_eq!(late.stop(), Some(Stop::TimedOut));
        late.drain();
        assert_eq!(late.stop(), Some(Stop::Draining));
        let canceled = pulse();
        assert_eq!(canceled.stop(), None);
        canceled.cancel();
        canceled.drain();
        assert_eq!(canceled.stop(), Some(Stop::Canceled));
    }
}
