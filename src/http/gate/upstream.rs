//! tiny_http on its private socket, made anew whenever it has stopped accepting.
//!
//! tiny_http's accept thread ends for good on the first error of `accept`, and panics where the system has
//! no file or no thread to give. Its socket closes then. Whoever sees that first says so: the thread that
//! takes requests from tiny_http, or a connection that is refused. The next server listens on a new
//! socket. Requests that are being answered go on, because each has its connection.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use log::Level;
use tiny_http::{Request, Server};

use super::handover::Handover;
use super::inner::Inner;
use super::passage::{self, Place, Secret, Way, turn_away};
use crate::repeated::Repeated;

/// How long a request waits for the next server.
const RENEWAL: Duration = Duration::from_secs(1);
/// A server that ends sooner than this was made in vain.
const YOUNG: Duration = Duration::from_secs(1);
/// The rests after servers that were made in vain double from the first to the longest.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_millis(250);
/// How long requests are still taken from a server that no longer accepts: its threads may be about to read
/// a head.
const RETIREMENT: Duration = Duration::from_secs(5);
/// How often such a server is asked for requests.
const LOOK: Duration = Duration::from_millis(20);
/// The most such servers.
const RETIRED_MAX: usize = 8;

/// tiny_http, and the way to it.
pub(crate) struct Upstream {
    pub(super) secret: Secret,
    pub(super) handover: Handover,
    state: Mutex<State>,
    /// The state is another one.
    changed: Condvar,
    place: Box<dyn Place>,
}

enum State {
    Serving(Serving),
    /// The server, made at this time, accepts no more, and the next one is not there yet.
    Lost {
        made: Instant,
    },
    Closed,
}

#[derive(Clone)]
struct Serving {
    server: Arc<Server>,
    way: Arc<dyn Way>,
    made: Instant,
}

/// The server after the one at hand.
enum Successor {
    /// The one at hand serves.
    None,
    New(Arc<Server>),
    Closed,
}

impl Upstream {
    /// Starts tiny_http on a private socket below `data`, if a socket can be there.
    pub(crate) fn start(data: &Path) -> io::Result<Upstream> {
        Upstream::start_in(passage::place(data)?)
    }

    pub(super) fn start_in(place: Box<dyn Place>) -> io::Result<Upstream> {
        let serving = Serving::start(&*place)?;
        let state = Mutex::new(State::Serving(serving));
        Ok(Upstream {
            secret: Secret::new()?,
            handover: Handover::default(),
            state,
            changed: Condvar::new(),
            place,
        })
    }

    /// Opens a connection for one request. Waits about a second for a server that accepts.
    pub(super) fn connect(&self) -> io::Result<Inner> {
        let deadline = Instant::now() + RENEWAL;
        loop {
            let Serving { server, way, .. } = self.serving(deadline)?;
            match way.connect() {
                Ok(stream) => return Ok(Inner::new(stream)),
                Err(error) if is_closed(&error) && Instant::now() < deadline => self.lose(&server),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes requests from tiny_http until [`close`](Upstream::close) is called.
    pub(crate) fn run(&self, take: impl Fn(Request)) {
        let take = |request: Request| match self.secret.is_told_by(&request) {
            true => {
                self.handover.arrived();
                take(request);
            }
            false => turn_away(request),
        };
        let Ok(Serving { mut server, .. }) = self.serving(Instant::now()) else { return };
        let mut retired = Retired::default();
        let mut renewal = Renewal::new();
        loop {
            let received = match retired.is_empty() {
                true => server.recv().map(Some),
                false => server.recv_timeout(LOOK),
            };
            match received {
                Ok(Some(request)) => take(request),
                // Nothing came, or the thread was woken.
                Ok(None) => {}
                // The server accepts no more, or the thread was woken.
                Err(error) => {
                    renewal.reason = error.to_string();
                    self.lose(&server);
                }
            }
            retired.drain(take);
            match self.successor(&server, &mut renewal) {
                Successor::None => {}
                Successor::New(next) => retired.add(std::mem::replace(&mut server, next)),
                Successor::Closed => break,
            }
        }
        retired.add(server);
        retired.drain(take);
    }

    /// Ends [`run`](Upstream::run). No connection can be opened any more.
    pub(crate) fn close(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Closed);
        self.changed.notify_all();
        match before {
            State::Serving(serving) => serving.server.unblock(),
            // The thread waits for the state to change.
            State::Lost { .. } | State::Closed => {}
        }
    }

    /// The server that accepts, once there is one.
    fn serving(&self, deadline: Instant) -> io::Result<Serving> {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_lost = |state: &mut State| matches!(state, State::Lost { .. });
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), left, is_lost)
            .expect("invariant: no panic under this lock");
        match &*state {
            State::Serving(serving) => Ok(serving.clone()),
            State::Lost { .. } => Err(io::ErrorKind::TimedOut.into()),
            State::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Notes that `server` accepts no more, and wakes the thread that makes the next one.
    fn lose(&self, server: &Arc<Server>) {
        let mut state = self.lock();
        if let State::Serving(serving) = &*state
            && Arc::ptr_eq(&serving.server, server)
        {
            *state = State::Lost { made: serving.made };
            server.unblock();
        }
    }

    /// The server after `server`; made here where `server` was lost.
    fn successor(&self, server: &Arc<Server>, renewal: &mut Renewal) -> Successor {
        let mut state = self.lock();
        match &*state {
            State::Serving(serving) if Arc::ptr_eq(&serving.server, server) => {
                return Successor::None;
            }
            State::Serving(serving) => return Successor::New(Arc::clone(&serving.server)),
            State::Lost { made } => renewal.begin(*made),
            State::Closed => return Successor::Closed,
        }
        loop {
            let is_open = |state: &mut State| !matches!(state, State::Closed);
            (state, _) = self
                .changed
                .wait_timeout_while(state, renewal.rest(), is_open)
                .expect("invariant: no panic under this lock");
            if matches!(*state, State::Closed) {
                return Successor::Closed;
            }
            drop(state);
            let started = Serving::start(&*self.place);
            state = self.lock();
            match (started, &*state) {
                (_, State::Closed) => return Successor::Closed,
                (Ok(serving), _) => {
                    let next = Arc::clone(&serving.server);
                    *state = State::Serving(serving);
                    self.changed.notify_all();
                    return Successor::New(next);
                }
                (Err(error), _) => renewal.fail(&error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("invariant: no panic under this lock")
    }
}

impl Serving {
    fn start(place: &dyn Place) -> io::Result<Serving> {
        let (way, listener) = place.open()?;
        // tiny_http panics where the system has no thread to give.
        let server = catch_unwind(AssertUnwindSafe(|| Server::from_listener(listener, None)))
            .map_err(|_| io::Error::other("the system has no thread to give"))?
            .map_err(io::Error::other)?;
        Ok(Serving { server: Arc::new(server), way: way.into(), made: Instant::now() })
    }
}

/// Whether nobody listens on a socket any more.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotFound)
}

/// How often servers were made in vain.
struct Renewal {
    in_vain: u32,
    /// The last error of a server.
    reason: String,
    trouble: Repeated,
}

impl Renewal {
    fn new() -> Renewal {
        let reason = "its socket is closed".to_owned();
        Renewal { in_vain: 0, reason, trouble: Repeated::new(Level::Warn) }
    }

    /// The server that was made at this time was lost.
    fn begin(&mut self, made: Instant) {
        let reason = &self.reason;
        self.trouble.say(format!("HTTP stopped behind the gate and is started again: {reason}"));
        self.in_vain = if made.elapsed() < YOUNG { self.in_vain + 1 } else { 0 };
    }

    fn fail(&mut self, error: &io::Error) {
        self.in_vain += 1;
        self.trouble.say(format!("HTTP cannot be started again behind the gate: {error}"));
    }

    /// The time before the next server is made. None before the first.
    fn rest(&self) -> Duration {
        match self.in_vain {
            0 => Duration::ZERO,
            n => FIRST_REST.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_REST),
        }
    }
}

/// Servers that accept no more, with the times until when requests are taken from them.
#[derive(Default)]
struct Retired(VecDeque<(Arc<Server>, Instant)>);

impl Retired {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, server: Arc<Server>) {
        if self.0.len() == RETIRED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((server, Instant::now() + RETIREMENT));
    }

    fn drain(&mut self, take: impl Fn(Request)) {
        for (server, _) in &self.0 {
            while let Ok(Some(request)) = server.try_recv() {
                take(request);
            }
        }
        let now = Instant::now();
        self.0.retain(|(_, until)| *until > now);
    }
}

#[cfg(test)]
mod tests;
