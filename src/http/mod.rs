//! HTTP in front of the queue. Clients reach the [`gate`], which takes their requests to tiny_http one
//! by one, after [`admission`] has let them in. One acceptor takes them from there and hands each to the pool of its kind (see [`pool`]); a request that waits for its job is parked meanwhile (see
//! [`waiting`]). Every address is in [`routes`].

mod admission;
mod client_id;
mod draft;
mod file_name;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gate;
mod header;
mod health;
mod jobs;
mod multipart;
mod overview;
mod page;
mod pool;
mod problem;
mod reply;
mod result;
mod routes;
mod shares;
mod submit;
mod upload;
mod waiting;
mod wire;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use self::admission::{Admission, Knock};
use self::gate::{Gate, Limits, Upstream};
pub(crate) use self::gate::{TooFewFiles, check_open_files};
use self::pool::Pools;
use self::waiting::Parking;
use crate::crew::Crew;
use crate::job::JobId;
use crate::shared::Shared;

/// What the threads behind the gate get to end when the last connections were cut.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// Clients that have gone and were not told of yet.
const DEPARTURES: usize = 256;

/// The threads that answer HTTP.
pub(crate) struct Http {
    gate: Gate,
    upstream: Arc<Upstream>,
    parking: Arc<Parking>,
    crew: Crew,
}

impl Http {
    /// Starts to accept from `listener`. `finished` says which jobs have ended.
    pub(crate) fn start(
        listener: TcpListener,
        shared: Arc<Shared>,
        finished: Receiver<JobId>,
    ) -> io::Result<Http> {
        let limits = Limits::new(shared.config.max_body, shared.config.workers);
        let upstream = Arc::new(Upstream::start(&shared.config.data)?);
        let mut crew = Crew::new();
        let (departures, departed) = bounded(DEPARTURES);
        let (waiter, parking, ripe) = waiting::waiter(Arc::clone(&shared), finished, departed);
        let parking = Arc::new(parking);
        let admission = Admission::new(Arc::clone(&shared));
        crew.hire("http-waiter", move || waiter.run())?;
        let pools = Pools::hire(&mut crew, shared, Arc::clone(&parking), &ripe)?;
        crew.hire("http-acceptor", {
            let upstream = Arc::clone(&upstream);
            move || upstream.run(|request| pools.take(request))
        })?;
        let judge = move |knock: &Knock<'_>| admission.judge(knock);
        let gate = Gate::open(listener, Arc::clone(&upstream), limits, judge, departures)?;
        Ok(Http { gate, upstream, parking, crew })
    }

    /// Answers what is parked as it stands, stops accepting and ends the threads. What is not done by
    /// `deadline` is left behind. True when all have ended.
    pub(crate) fn stop(self, deadline: Instant) -> bool {
        let Http { gate, upstream, parking, crew } = self;
        // Whoever waits is answered, so that the connections can end.
        parking.close();
        let no_connections = gate.stop(deadline);
        upstream.close();
        crew.join_by(deadline + LAST_STEPS) && no_connections
    }
}
