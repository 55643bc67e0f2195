//! Threads that are named, owned and joined.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Nothing of this type exists: a channel of it can only close.
#[derive(Debug)]
pub(crate) enum Never {}

/// A group of threads that end together. Each holds a sender of `gone`, which closes when the last
/// of them has ended, by return or by panic: that is how a join can have a deadline.
pub(crate) struct Crew {
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// The crew's own end, given up when the waiting begins.
    present: Option<Sender<Never>>,
    gone: Receiver<Never>,
}

impl Crew {
    pub(crate) fn new() -> Crew {
        let (present, gone) = bounded(0);
        Crew { threads: Arc::default(), present: Some(present), gone }
    }

    /// Starts a thread of this name (15 bytes are seen in `ps`).
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn hire(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.recruiter().hire(name, work)
    }

    /// Starts threads of this crew later. The crew is not gone before its recruiters are: give one
    /// to a thread of the crew.
    pub(crate) fn recruiter(&self) -> Recruiter {
        let present = self.present.clone().expect("invariant: made before the crew is waited for");
        Recruiter { threads: Arc::clone(&self.threads), present }
    }

    /// Waits until all of them have ended, or `deadline`. True when all have. No one is hired
    /// after this.
    pub(crate) fn finish_by(&mut self, deadline: Instant) -> bool {
        self.present = None;
        match self.gone.recv_deadline(deadline) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }

    /// Waits for all of them until `deadline`. Whoever works on after it is left to the end of the
    /// process, and named in the log. True when all have ended.
    pub(crate) fn join_by(mut self, deadline: Instant) -> bool {
        let all_gone = self.finish_by(deadline);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            // Once all are gone a thread may still be on its last few instructions: join waits.
            if !all_gone && !thread.is_finished() {
                log::warn!("thread {name} did not end in time and is left behind");
            } else if thread.join().is_err() {
                log::error!("thread {name} ended in a panic");
            }
        }
        all_gone
    }
}

/// Adds threads to a crew that works already.
pub(crate) struct Recruiter {
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    present: Sender<Never>,
}

impl Recruiter {
    /// As [`Crew::hire`].
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn hire(
        &self,
        name: impl Into<String>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let present = self.present.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let _present = present;
            work();
        })?;
        lock(&self.threads).push(thread);
        Ok(())
    }
}

/// A list of threads is whole even where a panic left its lock.
fn lock<T>(list: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_crew_is_gone_when_its_last_thread_is() {
        let mut crew = Crew::new();
        let (go, goes) = bounded::<()>(1);
        crew.hire("quick", || {}).unwrap();
        crew.hire("slow", move || goes.recv().unwrap()).unwrap();
        assert!(!crew.finish_by(Instant::now() + Duration::from_millis(20)));
        go.send(()).unwrap();
        assert!(crew.join_by(Instant::now() + Duration::from_secs(30)));
    }

    #[test]
    fn a_panic_ends_a_thread_as_a_return_does() {
        let mut crew = Crew::new();
        crew.hire("broken", || panic!("on purpose")).unwrap();
        assert!(crew.join_by(Instant::now() + Duration::from_secs(30)));
    }

    #[test]
    fn a_recruit_is_waited_for_like_the_first() {
        let mut crew = Crew::new();
        let (go, goes) = bounded::<()>(1);
        let recruiter = crew.recruiter();
        crew.hire("first", move || recruiter.hire("late", move || goes.recv().unwrap()).unwrap())
            .unwrap();
        assert!(!crew.finish_by(Instant::now() + Duration::from_millis(20)));
        go.send(()).unwrap();
        assert!(crew.join_by(Instant::now() + Duration::from_secs(30)));
    }

    #[test]
    fn who_does_not_end_is_left_behind() {
        let mut crew = Crew::new();
        let (_go, goes) = bounded::<()>(0);
        crew.hire("stuck", move || assert!(goes.recv().is_err())).unwrap();
        assert!(!crew.join_by(Instant::now() + Duration::from_millis(20)));
    }
}
