//! What each worker does now, for whoever watches. The truth about jobs is in the queue; this is what a
//! glance into the room would show.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::estimator::{Load, Running};
use crate::job::JobId;
use crate::task::Pulse;

/// The workers at their posts, by number.
#[derive(Default)]
pub(crate) struct Board(Mutex<BTreeMap<usize, Line>>);

/// What one worker does.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) since: Instant,
    /// `None` while it waits for a job.
    pub(crate) work: Option<Work>,
}

/// The attempt that a worker runs.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) job: JobId,
    pub(crate) task: String,
    pub(crate) attempt: u32,
    /// As far as it is known before the attempt.
    pub(crate) load: Load,
    pub(crate) pulse: Arc<Pulse>,
}

impl Work {
    /// The attempt as the estimates take it.
    pub(crate) fn running(&self) -> Running {
        let played = self.pulse.duration();
        let load = played.map_or_else(|| self.load.clone(), |time| Load::playing(&self.task, time));
        Running { load, elapsed: self.pulse.elapsed(), reached: self.pulse.reached() }
    }
}

impl Board {
    /// Lists a worker, as waiting, for as long as the returned post is held.
    pub(crate) fn take_post(&self, number: usize) -> Post<'_> {
        let post = Post { board: self, number };
        post.write(None);
        post
    }

    /// Every worker's number and line, in the order of numbers.
    pub(crate) fn lines(&self) -> Vec<(usize, Line)> {
        self.lock().iter().map(|(&number, line)| (number, line.clone())).collect()
    }

    /// What the workers that are not idle do.
    pub(crate) fn works(&self) -> Vec<Work> {
        self.lock().values().filter_map(|line| line.work.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Line>> {
        self.0.lock().expect("invariant: no panic under this lock")
    }
}

/// A worker's place on the board; it leaves when this is dropped.
pub(crate) struct Post<'a> {
    board: &'a Board,
    number: usize,
}

impl Post<'_> {
    /// Shows the worker at work until the returned guard is dropped.
    pub(crate) fn begin(&self, work: Work) -> Busy<'_> {
        self.write(Some(work));
        Busy(self)
    }

    fn write(&self, work: Option<Work>) {
        let line = Line { since: Instant::now(), work };
        self.board.lock().insert(self.number, line);
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.board.lock().remove(&self.number);
    }
}

/// Shows the worker as waiting again when dropped.
pub(crate) struct Busy<'a>(&'a Post<'a>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.write(None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_worker_is_shown_while_it_is_there_and_its_work_while_it_lasts() {
        let board = Board::default();
        let shown = || {
            let works = |line: Line| line.work.map(|work| work.task);
            board.lines().into_iter().map(|(n, line)| (n, works(line))).collect::<Vec<_>>()
        };
        let second = board.take_post(2);
        let first = board.take_post(1);
        assert_eq!(shown(), [(1, None), (2, None)]);
        let busy = second.begin(Work {
            job: JobId::new(),
            task: "shout".into(),
            attempt: 1,
            load: Load::of("shout", None, 5, None),
            pulse: Arc::new(Pulse::new(Instant::now() + Duration::from_secs(60))),
        });
        assert_eq!(shown(), [(1, None), (2, Some("shout".into()))]);
        drop(busy);
        assert_eq!(shown(), [(1, None), (2, None)]);
        drop(first);
        assert_eq!(shown(), [(2, None)]);
    }
}
