//! States of one model for those who transcribe at the same time. A state is memory (some 100 MB
//! after its first run), so there are never more than there are workers, and one that was used last
//! is used first: a second one is made only when two are needed at once.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// At most so many states, made when they are needed.
pub(super) struct Pool<S> {
    free: Mutex<Free<S>>,
    returned: Condvar,
}

struct Free<S> {
    /// With the times they were given back at, which rise: the last one is taken first.
    states: Vec<(S, Instant)>,
    /// Seats nobody sits on; at least as many as there are states.
    seats: usize,
}

/// The right to use one state. Given back when dropped, with the state if [`keep`](Seat::keep) was
/// called and without it otherwise: after an error or a panic nobody knows what is in it.
pub(super) struct Seat<'a, S> {
    pool: &'a Pool<S>,
    kept: Option<S>,
}

impl<S> Pool<S> {
    /// At least one seat.
    pub(super) fn new(seats: usize) -> Pool<S> {
        let free = Free { states: Vec::new(), seats: seats.max(1) };
        Pool { free: Mutex::new(free), returned: Condvar::new() }
    }

    /// Waits for a seat. With it comes a state, where one is idle.
    pub(super) fn take(&self) -> (Seat<'_, S>, Option<S>) {
        let free = self.lock();
        let mut free = self
            .returned
            .wait_while(free, |free| free.seats == 0)
            .expect("invariant: no panic under this lock");
        free.seats -= 1;
        let idle = free.states.pop().map(|(state, _)| state);
        (Seat { pool: self, kept: None }, idle)
    }

    /// Frees the states that lay idle for `idle`, but for one. Says how many, and when the next will
    /// have done so.
    pub(super) fn drop_idle(&self, now: Instant, idle: Duration) -> (usize, Option<Instant>) {
        let due = |(_, since): &(S, Instant)| since.checked_add(idle);
        let mut free = self.lock();
        let beyond_one = free.states.len().saturating_sub(1);
        let old = free.states[..beyond_one]
            .iter()
            .take_while(|state| due(state).is_some_and(|due| due <= now))
            .count();
        let dropped: Vec<_> = free.states.drain(..old).collect();
        let next = if free.states.len() > 1 { free.states.first().and_then(due) } else { None };
        // A state takes a while to free: the others need not wait for it.
        drop(free);
        (dropped.len(), next)
    }

    fn lock(&self) -> MutexGuard<'_, Free<S>> {
        self.free.lock().expect("invariant: no panic under this lock")
    }
}

impl<S> Seat<'_, S> {
    /// Leaves a sound state to whoever comes next.
    pub(super) fn keep(mut self, state: S) {
        self.kept = Some(state);
    }
}

impl<S> Drop for Seat<'_, S> {
    fn drop(&mut self) {
        let mut free = self.pool.lock();
        free.seats += 1;
        free.states.extend(self.kept.take().map(|state| (state, Instant::now())));
        drop(free);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn one_at_a_time_needs_one_state() {
        let pool = Pool::new(2);
        for turn in 0..5 {
            let (seat, state) = pool.take();
            assert_eq!(state.is_some(), turn > 0);
            seat.keep(state.unwrap_or(7));
        }
    }

    #[test]
    fn a_state_that_was_needed_once_was_kept_for_ever() {
        const MINUTE: Duration = Duration::from_secs(60);
        let pool = Pool::new(3);
        let taken: Vec<_> = (0..3).map(|_| pool.take().0).collect();
        for (state, seat) in taken.into_iter().enumerate() {
            seat.keep(state);
        }
        let now = Instant::now();
        let (dropped, next) = pool.drop_idle(now, MINUTE);
        assert_eq!(dropped, 0);
        assert!(next.is_some_and(|next| next > now && next <= now + MINUTE));
        assert_eq!(pool.drop_idle(now + MINUTE, MINUTE), (2, None));
        let (_seat, state) = pool.take();
        assert_eq!(state, Some(2), "the one that was used last stays");
        assert_eq!(pool.drop_idle(now + 2 * MINUTE, MINUTE), (0, None));
    }

    #[test]
    fn a_state_does_not_survive_a_panic_but_its_seat_does() {
        let pool = Pool::new(1);
        let (seat, _) = pool.take();
        seat.keep(7);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let (_seat, state) = pool.take();
            assert_eq!(state, Some(7));
            panic!("in the middle");
        }));
        assert!(panic.is_err());
        assert_eq!(pool.take().1, None);
    }

    #[test]
    fn no_more_are_used_at_once_than_there_are_seats() {
        let pool = Pool::<u8>::new(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let (seat, state) = pool.take();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        seat.keep(state.unwrap_or(0));
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}
