//! One delivery from the store to the receiver and back into the ledger: what a courier's thread
//! does with each that it is handed.

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::backoff::Schedule;
use super::courier::{Courier, Posted, Verdict};
use super::host_log::HostLog;
use super::webhook::Message;
use crate::crew::Never;
use crate::job::{Delivery, DeliveryAttempt, DeliveryId, State};
use crate::queue::{Health, NextDelivery, QueueError, delivery_host};
use crate::repeated::Repeated;
use crate::shared::Shared;
use crate::tally::Event;

/// How long to wait before a store that failed is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Ledger lines that could not be stored.
static NOT_RECORDED: Repeated = Repeated::new(log::Level::Error);
/// Outcomes that could not be read.
static NOT_READ: Repeated = Repeated::new(log::Level::Error);

/// What the couriers' threads share.
pub(super) struct Round {
    pub(super) shared: Arc<Shared>,
    pub(super) courier: Courier,
    pub(super) schedule: Schedule,
    pub(super) host_log: HostLog,
    /// Set when POSTs in flight are broken off: their failures are not the receivers'.
    pub(super) broken_off: AtomicBool,
}

/// A courier is back.
pub(super) struct Done {
    pub(super) delivery: DeliveryId,
    pub(super) health: Health,
}

/// What there is to send.
enum Prepared {
    Message(Message),
    /// The job is there and its output cannot be read.
    Unreadable(io::Error),
    /// The job was deleted, and its delivery with it.
    Forgotten,
}

impl Round {
    /// Makes the deliveries that come until no more can come.
    pub(super) fn run(
        &self,
        assignments: &Receiver<Delivery>,
        done: &Sender<Done>,
        stopped: &Receiver<Never>,
    ) {
        for delivery in assignments {
            let health = {
                let _in_flight = self.shared.in_flight.enter();
                self.deliver(&delivery, stopped)
            };
            if done.send(Done { delivery: delivery.id, health }).is_err() {
                return;
            }
        }
    }

    fn deliver(&self, delivery: &Delivery, stopped: &Receiver<Never>) -> Health {
        let posted = match self.prepare(delivery) {
            Ok(Prepared::Message(mut message)) => self.post(delivery, &mut message),
            Ok(Prepared::Unreadable(error)) => Posted::unread(&error),
            Ok(Prepared::Forgotten) => return Health::Unknown,
            Err(error) => {
                NOT_READ.say(format_args!("a job's outcome could not be read: {error}"));
                // It stays due, and is found again.
                let _ = pause(stopped);
                return Health::Unknown;
            }
        };
        if posted.status.is_none() && self.broken_off.load(Ordering::Acquire) {
            return Health::Unknown;
        }
        self.record(delivery, posted, stopped)
    }

    fn prepare(&self, delivery: &Delivery) -> Result<Prepared, QueueError> {
        let queue = &self.shared.queue;
        let Some(job) = queue.get(delivery.job)? else { return Ok(Prepared::Forgotten) };
        let output = match job.state {
            State::Succeeded => queue.output(job.id)?,
            State::Queued | State::Running | State::Failed | State::Canceled => None,
        };
        match Message::new(&job, output.as_ref()) {
            Ok(message) => Ok(Prepared::Message(message)),
            // Deleted in between, perhaps.
            Err(_) if queue.get(job.id)?.is_none() => Ok(Prepared::Forgotten),
            Err(error) => Ok(Prepared::Unreadable(error)),
        }
    }

    /// Whatever a receiver answers must not cost the thread.
    fn post(&self, delivery: &Delivery, message: &mut Message) -> Posted {
        let post = || self.courier.post(&delivery.url, delivery.id, message);
        catch_unwind(AssertUnwindSafe(post)).unwrap_or_else(|_| {
            log::error!("the callback of job {} ended in a panic", delivery.job);
            Posted::panicked()
        })
    }

    /// Writes the POST down, however long that takes: without it, the receiver would be called
    /// again for the same attempt.
    fn record(&self, delivery: &Delivery, posted: Posted, stopped: &Receiver<Never>) -> Health {
        let number = delivery.attempts.saturating_add(1);
        let health = posted.health;
        let (attempt, next) = self.judge(number, posted);
        if let Some(error) = &attempt.error {
            log::debug!("callback of job {}, attempt {number}: {error}", delivery.job);
        }
        let change = loop {
            match self.shared.queue.record(delivery.id, attempt.clone(), next, health) {
                Ok(change) => break change,
                Err(error) => {
                    NOT_RECORDED.say(format_args!("a callback could not be recorded: {error}"));
                    if pause(stopped).is_break() {
                        return health;
                    }
                }
            }
        };
        self.host_log.tell(&delivery_host(&delivery.url), change, attempt.error.as_deref());
        if next == NextDelivery::Delivered {
            self.shared.tally.count(Event::Delivered);
        }
        health
    }

    /// What follows from a POST, for the ledger and for the delivery.
    fn judge(&self, number: u32, posted: Posted) -> (DeliveryAttempt, NextDelivery) {
        let now = self.shared.queue.clock().now();
        let (error, next) = match posted.verdict {
            Verdict::Delivered => (None, NextDelivery::Delivered),
            Verdict::Gone => {
                let error = "the receiver answered 410 Gone and is not asked again".to_owned();
                (Some(error), NextDelivery::Dead)
            }
            Verdict::Failed { why, retry_after } => {
                let wait = self.schedule.wait_after(number, retry_after, fastrand::f64());
                let next =
                    wait.map_or(NextDelivery::Dead, |wait| NextDelivery::At(now.after(wait)));
                (Some(why), next)
            }
        };
        let attempt = DeliveryAttempt {
            attempt: number,
            at: now.before(posted.took),
            status: posted.status,
            latency_ms: u64::try_from(posted.took.as_millis()).unwrap_or(u64::MAX),
            error,
            next_attempt_at: match next {
                NextDelivery::At(time) => Some(time),
                NextDelivery::Delivered | NextDelivery::Dead => None,
            },
        };
        (attempt, next)
    }
}

/// Waits for the store to recover. Breaks off when the notifier stops.
pub(super) fn pause(stopped: &Receiver<Never>) -> ControlFlow<()> {
    match stopped.recv_timeout(STORE_PAUSE) {
        Ok(never) => match never {},
        Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
        Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
    }
}
