//! Requests that wait for a job to end. They hold no thread: each is parked under its job's id with
//! a deadline, and handed on to be answered when the job has ended, or the time.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, at, bounded, never, select};
use tiny_http::Request;

use super::header;
use super::jobs;
use super::problem::Problem;
use super::reply::Reply;
use super::submit::Receipt;
use crate::job::JobId;
use crate::shared::Shared;

/// The most requests that wait at once; further ones are answered as their jobs stand.
const PARKED_MAX: usize = 4096;

/// The gate's own field: the connection that a request came on.
pub(crate) const CONNECTION_FIELD: &str = "Ringback-Connection";

/// Names a connection to the gate: no two of a server have the same, and each has one request at a
/// time.
pub(crate) type ConnectionNumber = u64;

/// What a request waits for, and how it is answered then.
pub(crate) struct Wait {
    pub(crate) job: JobId,
    pub(crate) until: Instant,
    pub(crate) resume: Resume,
}

/// How a request is answered after its wait.
pub(crate) enum Resume {
    /// As `GET /jobs/{id}`.
    Show,
    /// As the `POST` that brought the job.
    Submitted(Receipt),
}

impl Wait {
    /// The reply, with the job as it stands now.
    pub(crate) fn reply(&self, shared: &Shared, request: &Request) -> Result<Reply, Problem> {
        match &self.resume {
            Resume::Show => jobs::show_now(shared, request, self.job),
            Resume::Submitted(receipt) => Ok(receipt.reply(shared)),
        }
    }
}

/// A request that waits.
pub(crate) struct Parked {
    pub(crate) request: Request,
    pub(crate) wait: Wait,
    pub(crate) place: Place,
}

/// A request that would wait, and cannot.
pub(crate) struct NotParked {
    pub(crate) request: Request,
    pub(crate) wait: Wait,
}

/// One of the [`PARKED_MAX`] places, taken until it is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Place> {
        let more = |taken| (taken < PARKED_MAX).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to the waiter, for every thread that answers requests.
pub(crate) struct Parking {
    /// The one sender; given up when the waiter is to end.
    entrance: Mutex<Option<Sender<Parked>>>,
    taken: Arc<AtomicUsize>,
}

impl Parking {
    /// Leaves a request with the waiter. Gives it back when no place is free or the waiter ends:
    /// it is to be answered at once then.
    pub(crate) fn park(&self, request: Request, wait: Wait) -> Result<(), Box<NotParked>> {
        let Some(place) = Place::take(&self.taken) else {
            return Err(Box::new(NotParked { request, wait }));
        };
        let parked = Parked { request, wait, place };
        let entrance = self.entrance.lock().expect("invariant: no panic under this lock");
        let left = match entrance.as_ref() {
            // There is room: the channel has as much of it as there are places.
            Some(entrance) => entrance.try_send(parked).map_err(TrySendError::into_inner),
            None => Err(parked),
        };
        left.map_err(|Parked { request, wait, place: _ }| Box::new(NotParked { request, wait }))
    }

    /// Lets the waiter hand on everything it holds, and end.
    pub(crate) fn close(&self) {
        *self.entrance.lock().expect("invariant: no panic under this lock") = None;
    }
}

/// The thread that owns the parked requests.
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    arriving: Receiver<Parked>,
    finished: Receiver<JobId>,
    departures: Receiver<ConnectionNumber>,
    ripe: Sender<Parked>,
    by_deadline: BTreeMap<Ticket, Parked>,
    by_job: HashMap<JobId, Vec<Ticket>>,
    by_connection: HashMap<ConnectionNumber, Ticket>,
    tickets: u64,
}

/// Names a parked request: its deadline, and a number that makes it the only one.
type Ticket = (Instant, u64);

/// A waiter, the way to it, and the requests that it hands on. `finished` says which jobs have
/// ended, `departures` on which connections the clients have gone.
pub(crate) fn waiter(
    shared: Arc<Shared>,
    finished: Receiver<JobId>,
    departures: Receiver<ConnectionNumber>,
) -> (Waiter, Parking, Receiver<Parked>) {
    let (entrance, arriving) = bounded(PARKED_MAX);
    // Room for all of them, so that the waiter never waits for a slow client.
    let (ripe, ripened) = bounded(PARKED_MAX);
    let parking =
        Parking { entrance: Mutex::new(Some(entrance)), taken: Arc::clone(&shared.parked) };
    let waiter = Waiter {
        shared,
        arriving,
        finished,
        departures,
        ripe,
        by_deadline: BTreeMap::new(),
        by_job: HashMap::new(),
        by_connection: HashMap::new(),
        tickets: 0,
    };
    (waiter, parking, ripened)
}

impl Waiter {
    /// Works until the parking is closed; hands on everything then.
    pub(crate) fn run(mut self) {
        loop {
            let next = self.by_deadline.first_key_value().map(|(&(deadline, _), _)| deadline);
            let due = next.map_or_else(never, at);
            select! {
                recv(self.arriving) -> parked => match parked {
                    Ok(parked) => self.hold(parked),
                    Err(_) => break,
                },
                recv(self.finished) -> job => match job {
                    Ok(job) => self.release(job),
                    // Nobody is left to finish a job; the deadlines remain.
                    Err(_) => self.finished = never(),
                },
                recv(self.departures) -> connection => match connection {
                    Ok(connection) => self.forget(connection),
                    // The gate is closed.
                    Err(_) => self.departures = never(),
                },
                recv(due) -> _ => self.release_due(Instant::now()),
            }
        }
        while let Some((_, parked)) = self.by_deadline.pop_first() {
            self.hand_on(parked);
        }
    }

    fn hold(&mut self, parked: Parked) {
        let job = parked.wait.job;
        let ticket = (parked.wait.until, self.tickets);
        self.tickets += 1;
        if let Some(connection) = connection(&parked.request) {
            self.by_connection.insert(connection, ticket);
        }
        self.by_deadline.insert(ticket, parked);
        self.by_job.entry(job).or_default().push(ticket);
        // Its end may have been announced while the request was on its way here.
        match self.shared.queue.get(job) {
            Ok(Some(job)) if !job.state.is_finished() => {}
            // Ended, forgotten, or unreadable: the reply will say which.
            Ok(_) | Err(_) => self.release(job),
        }
    }

    fn release(&mut self, job: JobId) {
        for ticket in self.by_job.remove(&job).unwrap_or_default() {
            if let Some(parked) = self.take(ticket) {
                self.hand_on(parked);
            }
        }
    }

    fn release_due(&mut self, now: Instant) {
        while let Some((&ticket, _)) = self.by_deadline.first_key_value()
            && ticket.0 <= now
            && let Some(parked) = self.take(ticket)
        {
            self.hand_on(parked);
        }
    }

    /// Lets go of a request that nobody waits for any more. It may not have come here yet: the gate
    /// says so again.
    fn forget(&mut self, connection: ConnectionNumber) {
        let ticket = self.by_connection.get(&connection).copied();
        if let Some(parked) = ticket.and_then(|ticket| self.take(ticket)) {
            // tiny_http answers what is dropped: that tells the gate that it is over.
            drop(parked);
        }
    }

    /// Takes a request off all lists.
    fn take(&mut self, ticket: Ticket) -> Option<Parked> {
        let parked = self.by_deadline.remove(&ticket)?;
        if let Some(tickets) = self.by_job.get_mut(&parked.wait.job) {
            tickets.retain(|&other| other != ticket);
            if tickets.is_empty() {
                self.by_job.remove(&parked.wait.job);
            }
        }
        if let Some(connection) = connection(&parked.request) {
            self.by_connection.remove(&connection);
        }
        Some(parked)
    }

    fn hand_on(&self, parked: Parked) {
        // The pool that takes these ends after this thread; were it gone, dropping the request
        // would tell its client so.
        drop(self.ripe.send(parked));
    }
}

/// Which connection a request came on.
fn connection(request: &Request) -> Option<ConnectionNumber> {
    header::find(request, CONNECTION_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests;
