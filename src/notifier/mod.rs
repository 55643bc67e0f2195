//! The second half of every job with a callback: telling its outcome until the receiver has it.

pub(crate) mod address;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::shared::Shared;

/// The notifier's thread and its couriers.
pub(crate) struct Notifier {}

impl Notifier {
    /// Starts to look for due deliveries, now and whenever `doorbell` rings.
    pub(crate) fn start(shared: Arc<Shared>, doorbell: Receiver<()>) -> io::Result<Notifier> {
        todo!()
    }

    /// Begins no more POSTs and waits for those in flight until `deadline`. What is not recorded by
    /// then is sent again after the next start, under the same `webhook-id`. True when all threads have ended.
    pub(crate) fn stop(self, deadline: Instant) -> bool {
        todo!()
    }
}
