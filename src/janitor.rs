//! Time's own transitions: a job whose next attempt may begin, a job that was kept long enough.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use crate::crew::{Crew, Never};
use crate::repeated::Repeated;
use crate::shared::Shared;

/// Looks again at least this often, for the case that the machine was suspended.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// Looks again at most this often without being called.
const SHORTEST_REST: Duration = Duration::from_secs(1);

/// Sweeps that failed.
static NOT_SWEPT: Repeated = Repeated::new(log::Level::Error);

/// The janitor's thread.
pub(crate) struct Janitor {
    crew: Crew,
    stop: Sender<Never>,
}

impl Janitor {
    /// Starts to sweep, now, when the bell rings, and when something is due.
    pub(crate) fn start(shared: Arc<Shared>, bell: Receiver<()>) -> io::Result<Janitor> {
        let (stop, stopped) = bounded(0);
        let mut crew = Crew::new();
        crew.hire("janitor", move || run(&shared, &bell, &stopped))?;
        Ok(Janitor { crew, stop })
    }

    /// Ends the thread. True when it has ended by `deadline`.
    pub(crate) fn stop(self, deadline: Instant) -> bool {
        drop(self.stop);
        self.crew.join_by(deadline)
    }
}

fn run(shared: &Shared, bell: &Receiver<()>, stopped: &Receiver<Never>) {
    // A job that finishes now expires in `keep`: resting no longer than that misses none.
    let longest = shared.config.keep.clamp(SHORTEST_REST, LONGEST_REST);
    let lost_leases = shared.queue.lost_leases();
    loop {
        let now = shared.queue.clock().now();
        let rest = match shared.queue.sweep(now) {
            Ok(swept) => {
                swept.failed.iter().for_each(|&job| shared.job_finished(job));
                // Jobs whose end had been lost may have failed just now, and be due to be told.
                shared.bells.delivery_due();
                if swept.forgotten > 0 {
                    log::debug!("{} jobs were kept long enough and are deleted", swept.forgotten);
                }
                swept.next.map_or(longest, |next| next.since(now).min(longest))
            }
            Err(error) => {
                NOT_SWEPT.say(format_args!("the queue could not be swept: {error}"));
                // What is due is tried again then: no bell makes a broken store work.
                match stopped.recv_timeout(SHORTEST_REST) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        select! {
            // The queue holds the sender: it does not close before this thread has ended.
            recv(lost_leases) -> _ => {}
            recv(bell) -> rung => if rung.is_err() { return },
            recv(stopped) -> _ => return,
            default(rest) => {}
        }
    }
}
