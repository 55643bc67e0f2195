//! The second half of every job with a callback: telling its outcome until the receiver has it.
//!
//! One thread, `notifier`, decides what goes out: it asks the store what is due, and the
//! [`desk`] which of it may go. The threads `courier-N` do what blocks: one POST each, and its line in
//! the ledger. They are started when they are needed, and stay. Deliveries and the state of parked
//! hosts live in the store; what is in memory here is only about the next seconds, and a restart
//! loses none of them.

pub(crate) mod address;
pub(crate) mod backoff;
mod courier;
mod delivery;
mod desk;
mod host_log;
mod resolver;
mod secret;
mod webhook;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select_biased};

use self::backoff::Schedule;
use self::courier::{Connections, Courier};
use self::delivery::{Done, Round};
use self::desk::Desk;
use self::host_log::HostLog;
use crate::crew::{Crew, Never, Recruiter};
use crate::job::Delivery;
use crate::queue::{PER_HOST, Parking, Queue, QueueError};
use crate::repeated::Repeated;
use crate::shared::Shared;

pub use secret::{BadSecret, parse_secret};

/// The most threads that make POSTs. They wait most of the time, so their number has nothing to do
/// with that of the cores.
const COURIERS: usize = 128;
/// With fewer open files than sixteen times that, there is a courier for each sixteen of them, but
/// never fewer than this.
pub(crate) const COURIERS_LEAST: usize = 8;
/// Deliveries that one look takes out of the store.
const BATCH: usize = 64;
/// Idle connections that are kept in all.
const IDLE_CONNECTIONS: usize = 32;
/// Looks again at least this often while something is due later, for the case that the machine was
/// suspended: what waits is late by no more than this.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// What POSTs that were broken off get to notice it.
const LAST_STEP: Duration = Duration::from_secs(1);

/// Looks for due deliveries that failed.
static NOT_LOOKED_UP: Repeated = Repeated::new(log::Level::Error);

/// How many couriers there may be in a process that may open so many files; `None` is no limit.
pub(crate) fn couriers_for(files: Option<u64>) -> usize {
    let fitting = files.and_then(|files| usize::try_from(files / 16).ok()).unwrap_or(COURIERS);
    fitting.clamp(COURIERS_LEAST, COURIERS)
}

#[cfg(unix)]
fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}

/// The notifier's thread and its couriers.
pub(crate) struct Notifier {
    crew: Crew,
    stop: Sender<Never>,
    round: Arc<Round>,
}

impl Notifier {
    /// Starts to look for due deliveries, now and whenever `doorbell` rings.
    pub(crate) fn start(shared: Arc<Shared>, doorbell: Receiver<()>) -> io::Result<Notifier> {
        let config = &shared.config;
        let courier = Courier::new(
            shared.callbacks,
            config.webhook_secrets.clone(),
            config.callback_timeout,
            Connections { in_all: IDLE_CONNECTIONS, per_host: PER_HOST },
        );
        #[cfg(feature = "tls")]
        let courier = courier.believing(config.callback_authorities.clone());
        let most = couriers_for(open_files());
        let desk = Desk::new(most, config.callback_timeout);
        let queue = Arc::clone(&shared.queue);
        let round = Arc::new(Round {
            schedule: Schedule::new(config.callback_waits.clone()),
            shared,
            courier,
            host_log: HostLog::default(),
            broken_off: AtomicBool::new(false),
        });

        let (stop, stopped) = bounded(0);
        let mut crew = Crew::new();
        let mut couriers = Couriers::new(Arc::clone(&round), crew.recruiter(), stopped.clone());
        // So that a start without threads to be had is refused.
        couriers.hire()?;
        let watch = Watch { queue, desk, couriers };
        crew.hire("notifier", move || watch.run(&doorbell, &stopped))?;
        Ok(Notifier { crew, stop, round })
    }

    /// Begins no more POSTs and waits for those in flight until `deadline`. What is not recorded by
    /// then is sent again after the next start, under the same `webhook-id`. True when all threads have ended.
    pub(crate) fn stop(mut self, deadline: Instant) -> bool {
        drop(self.stop);
        let in_time = self.crew.finish_by(deadline);
        if !in_time {
            self.round.broken_off.store(true, Ordering::Release);
            self.round.courier.hang_up();
        }
        self.crew.join_by(deadline.max(Instant::now() + LAST_STEP))
    }
}

/// How long a host gets no callbacks after its fifth failure in a row, and the longest that grows to.
pub(crate) fn parking(waits: &[Duration]) -> Parking {
    Parking { first: Schedule::new(waits.to_vec()).first_wait() }
}

/// The threads that make POSTs, and the ways to them and back.
struct Couriers {
    round: Arc<Round>,
    recruiter: Recruiter,
    stopped: Receiver<Never>,
    hired: usize,
    /// Read by the couriers; closes when the thread `notifier` ends, and ends them. It has room for
    /// every courier, as `report` has: nobody ever waits to send.
    assign: Sender<Delivery>,
    assignments: Receiver<Delivery>,
    /// Written by the couriers.
    reports: Receiver<Done>,
    report: Sender<Done>,
}

impl Couriers {
    fn new(round: Arc<Round>, recruiter: Recruiter, stopped: Receiver<Never>) -> Couriers {
        let (assign, assignments) = bounded(COURIERS);
        let (report, reports) = bounded(COURIERS);
        Couriers { round, recruiter, stopped, hired: 0, assign, assignments, reports, report }
    }

    fn hire(&mut self) -> io::Result<()> {
        let (round, assignments, report, stopped) = (
            Arc::clone(&self.round),
            self.assignments.clone(),
            self.report.clone(),
            self.stopped.clone(),
        );
        let name = format!("courier-{}", self.hired + 1);
        self.recruiter.hire(name, move || round.run(&assignments, &report, &stopped))?;
        self.hired += 1;
        Ok(())
    }

    /// Hands a delivery to a courier, a new one where `out` of them are out and all that are hired.
    fn send(&mut self, delivery: Delivery, out: usize) {
        if out > self.hired
            && self.hired < COURIERS
            && let Err(error) = self.hire()
        {
            // The delivery waits for one of those that are out.
            log::warn!("no thread for one more courier, callbacks take longer: {error}");
        }
        // It has room, and is open: this side holds both of its ends.
        let _ = self.assign.send(delivery);
    }
}

/// What the thread `notifier` owns.
struct Watch {
    queue: Arc<dyn Queue>,
    desk: Desk,
    couriers: Couriers,
}

impl Watch {
    fn run(mut self, doorbell: &Receiver<()>, stopped: &Receiver<Never>) {
        loop {
            let rest = match self.dispatch() {
                Ok(look_at) => look_at.map_or_else(never, at),
                Err(error) => {
                    NOT_LOOKED_UP
                        .say(format_args!("due callbacks could not be looked up: {error}"));
                    if delivery::pause(stopped).is_break() {
                        return;
                    }
                    continue;
                }
            };
            select_biased! {
                // First, so that a stop begins no more.
                recv(stopped) -> _ => return,
                recv(self.couriers.reports) -> done => match done {
                    Ok(done) => self.settle(done),
                    Err(_) => return,
                },
                recv(doorbell) -> rung => match rung {
                    Ok(()) => self.desk.ring(),
                    Err(_) => return,
                },
                recv(rest) -> _ => {}
            }
        }
    }

    /// Looks for what may go and hands it out, until nothing is found or no courier is free.
    /// Returns when to come again if nothing happens.
    fn dispatch(&mut self) -> Result<Option<Instant>, QueueError> {
        loop {
            // One time for both looks: what comes due between them would be missed.
            let (now, clock) = (Instant::now(), self.queue.clock().now());
            if !self.desk.wants_to_look(now) {
                return Ok(self.desk.look_at());
            }
            let found = self.queue.due(clock, &self.desk.query(now), BATCH)?;
            let before = self.desk.out();
            for (n, delivery) in self.desk.admit(found, now).into_iter().enumerate() {
                self.couriers.send(delivery, before + n + 1);
            }
            if self.desk.has_seen_all() {
                let next = self.queue.next_delivery(clock)?;
                let rest = next.map(|next| next.since(clock).min(LONGEST_REST));
                self.desk.wait_until(rest.map(|rest| now + rest), now);
            }
        }
    }

    fn settle(&mut self, done: Done) {
        let now = Instant::now();
        self.desk.settle(done.delivery, done.health, now);
        for done in self.couriers.reports.try_iter() {
            self.desk.settle(done.delivery, done.health, now);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/support/sink.rs"]
#[expect(dead_code, reason = "it serves the integration tests, too")]
mod sink;
#[cfg(test)]
mod tests;
