//! The second half of every job with a callback: telling its outcome until the receiver has it.
//!
//! One thread, `notifier`, decides what goes out: it asks the store what is due, and the
//! [`desk`] who may have it. The threads `courier-N` do what blocks: one POST each, and its line in
//! the ledger. Deliveries live in the store; what is in memory here is only about the next seconds,
//! and a restart loses none of them.

pub(crate) mod address;
pub(crate) mod backoff;
mod courier;
mod delivery;
mod desk;
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
use crate::crew::{Crew, Never};
use crate::job::Delivery;
use crate::queue::{PER_HOST, Queue, QueueError};
use crate::repeated::Repeated;
use crate::shared::Shared;

pub use secret::{BadSecret, parse_secret};

/// Threads that make POSTs. They wait most of the time, so their number has nothing to do with
/// that of the cores.
const COURIERS: usize = 8;
/// Deliveries that one look takes out of the store.
const BATCH: usize = 32;
/// Looks again at least this often while something is due later, for the case that the machine was
/// suspended: what waits is late by no more than this.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// What POSTs that were broken off get to notice it.
const LAST_STEP: Duration = Duration::from_secs(1);

/// Looks for due deliveries that failed.
static NOT_LOOKED_UP: Repeated = Repeated::new(log::Level::Error);

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
        let schedule = Schedule::new(config.callback_waits.clone());
        let courier = Courier::new(
            shared.callbacks,
            config.webhook_secrets.clone(),
            config.callback_timeout,
            Connections { in_all: COURIERS, per_host: PER_HOST },
        );
        let desk = Desk::new(COURIERS, schedule.first_wait());
        let queue = Arc::clone(&shared.queue);
        let broken_off = AtomicBool::new(false);
        let round = Arc::new(Round { shared, courier, schedule, broken_off });

        let (stop, stopped) = bounded(0);
        // Both have room for every courier, so that nobody ever waits to send.
        let (assign, assignments) = bounded(COURIERS);
        let (report, reports) = bounded(COURIERS);
        let mut crew = Crew::new();
        for n in 1..=COURIERS {
            let (round, assignments, report, stopped) =
                (Arc::clone(&round), assignments.clone(), report.clone(), stopped.clone());
            crew.hire(format!("courier-{n}"), move || round.run(&assignments, &report, &stopped))?;
        }
        let watch = Watch { queue, desk, assign, reports };
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

/// What the thread `notifier` owns.
struct Watch {
    queue: Arc<dyn Queue>,
    desk: Desk,
    /// Read by the couriers; closes when this thread ends, and ends them.
    assign: Sender<Delivery>,
    /// Written by the couriers.
    reports: Receiver<Done>,
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
                recv(self.reports) -> done => match done {
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

    /// Hands out what may go and looks for more until nothing is found or no courier is free.
    /// Returns when to come again if nothing happens.
    fn dispatch(&mut self) -> Result<Option<Instant>, QueueError> {
        loop {
            let now = Instant::now();
            while let Some(delivery) = self.desk.take(now) {
                if self.assign.send(delivery).is_err() {
                    log::error!("no courier is left; callbacks wait for the next start");
                    return Ok(None);
                }
            }
            if !self.desk.wants_to_look(now) {
                return Ok(self.desk.look_at());
            }
            let skip = self.desk.skip(now);
            let found = self.queue.due(self.queue.clock().now(), &skip, BATCH)?;
            if found.is_empty() {
                let next = self.queue.next_due(&skip)?;
                let rest = next.map(|next| next.since(self.queue.clock().now()).min(LONGEST_REST));
                self.desk.has_seen_all(rest.map(|rest| now + rest), now);
            } else {
                self.desk.add(found);
            }
        }
    }

    fn settle(&mut self, done: Done) {
        let now = Instant::now();
        self.desk.settle(done.delivery, done.health, now);
        for done in self.reports.try_iter() {
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
