//! HTTP in front of the queue.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::job::JobId;
use crate::shared::Shared;

/// The threads that answer HTTP.
pub(crate) struct Http {}

impl Http {
    /// Starts to accept from `listener`.
    pub(crate) fn start(
        listener: TcpListener,
        shared: Arc<Shared>,
        finished: Receiver<JobId>,
    ) -> io::Result<Http> {
        todo!()
    }

    /// Answers what is parked as it stands, stops accepting and ends the threads. What is not done by
    /// `deadline` is left behind. True when all have ended.
    pub(crate) fn stop(self, deadline: Instant) -> bool {
        todo!()
    }
}
