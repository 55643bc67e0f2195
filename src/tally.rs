//! How often things happen: in all, and a second over the latest few. Counted where they happen, and
//! only looked at when somebody asks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The seconds that a rate is taken over.
pub(crate) const WINDOW: u64 = 10;
/// A window that does not begin with a second reaches into one more.
const SECONDS: usize = WINDOW as usize + 1;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request became a job of its own.
    Accepted,
    /// A request for a job was turned away for now (429, 503).
    Refused,
    /// A job reached its end.
    Finished,
    /// A receiver took an outcome.
    Delivered,
}

/// Something of each [`Event`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct PerEvent<T> {
    pub(crate) accepted: T,
    pub(crate) refused: T,
    pub(crate) finished: T,
    pub(crate) delivered: T,
}

impl<T> PerEvent<T> {
    fn of(&mut self, event: Event) -> &mut T {
        match event {
            Event::Accepted => &mut self.accepted,
            Event::Refused => &mut self.refused,
            Event::Finished => &mut self.finished,
            Event::Delivered => &mut self.delivered,
        }
    }

    /// Each of them changed.
    pub(crate) fn map<U>(self, mut to: impl FnMut(T) -> U) -> PerEvent<U> {
        PerEvent {
            accepted: to(self.accepted),
            refused: to(self.refused),
            finished: to(self.finished),
            delivered: to(self.delivered),
        }
    }
}

/// Counts the events of one server.
pub(crate) struct Tally {
    start: Instant,
    counts: Mutex<Counts>,
}

impl Tally {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Tally {
        Tally { start: Instant::now(), counts: Mutex::default() }
    }

    /// It has happened, now.
    pub(crate) fn count(&self, event: Event) {
        self.lock().count(event, self.start.elapsed());
    }

    /// How often since the start.
    pub(crate) fn totals(&self) -> PerEvent<u64> {
        self.lock().totals
    }

    /// How often a second, over the last [`WINDOW`] seconds.
    pub(crate) fn rates(&self) -> PerEvent<f64> {
        self.lock().rates(self.start.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("invariant: no panic under this lock")
    }
}

/// Times are since the start.
#[derive(Debug, Default)]
struct Counts {
    totals: PerEvent<u64>,
    /// A ring; each second has the place that its number gives it.
    seconds: [Second; SECONDS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    counts: PerEvent<u32>,
}

impl Counts {
    fn count(&mut self, event: Event, now: Duration) {
        *self.totals.of(event) += 1;
        let number = now.as_secs();
        let second = &mut self.seconds[(number % SECONDS as u64) as usize];
        if second.number != number {
            *second = Second { number, counts: PerEvent::default() };
        }
        *second.counts.of(event) += 1;
    }

    fn rates(&self, now: Duration) -> PerEvent<f64> {
        let current = now.as_secs();
        let mut sums = PerEvent::<f64>::default();
        for second in &self.seconds {
            let part = match current.checked_sub(second.number) {
                Some(0..WINDOW) => 1.0,
                // As much of the oldest second as the window still reaches.
                Some(WINDOW) => 1.0 - f64::from(now.subsec_nanos()) / 1e9,
                Some(_) | None => 0.0,
            };
            for event in [Event::Accepted, Event::Refused, Event::Finished, Event::Delivered] {
                let mut counts = second.counts;
                *sums.of(event) += part * f64::from(*counts.of(event));
            }
        }
        sums.map(|sum| sum / WINDOW as f64)
    }
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    /// One more, until the returned guard is dropped.
    pub(crate) fn enter(&self) -> Inside<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Inside(self)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts for its [`Gauge`] until it is dropped.
pub(crate) struct Inside<'a>(&'a Gauge);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_rate_is_of_the_last_ten_seconds() {
        let mut counts = Counts::default();
        (0..50).for_each(|_| counts.count(Event::Accepted, at(0.5)));
        (0..20).for_each(|_| counts.count(Event::Refused, at(3.0)));
        let rates = counts.rates(at(3.5));
        assert_eq!((rates.accepted, rates.refused, rates.finished), (5.0, 2.0, 0.0));
        assert_eq!(counts.rates(at(9.9)).accepted, 5.0);
        assert_eq!(counts.rates(at(10.5)).accepted, 2.5, "half of that second is left");
        assert_eq!(counts.rates(at(11.0)), PerEvent { refused: 2.0, ..PerEvent::default() });
        assert_eq!(counts.rates(at(14.0)), PerEvent::default());
        assert_eq!(counts.totals, PerEvent { accepted: 50, refused: 20, ..PerEvent::default() });
    }

    #[test]
    fn a_second_takes_the_place_of_one_long_past() {
        let mut counts = Counts::default();
        counts.count(Event::Finished, at(1.0));
        counts.count(Event::Delivered, at(1.0 + 3.0 * SECONDS as f64));
        let rates = counts.rates(at(1.5 + 3.0 * SECONDS as f64));
        assert_eq!((rates.finished, rates.delivered), (0.0, 0.1));
    }

    #[test]
    fn who_is_inside_is_counted() {
        let gauge = Gauge::default();
        let first = gauge.enter();
        let second = gauge.enter();
        assert_eq!(gauge.get(), 2);
        drop((first, second));
        assert_eq!(gauge.get(), 0);
    }
}
