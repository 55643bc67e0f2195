//! The threads that answer requests: one pool for those that bring a body, one for the rest, one
//! that only writes long replies; so that neither slow uploads nor slow downloads keep anybody from
//! polling.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use tiny_http::Request;

use super::client_id::ClientId;
use super::problem::{Code, Problem};
use super::reply::Reply;
use super::routes::{self, Answer};
use super::shares::{Share, Shares};
use super::upload::Framing;
use super::waiting::{NotParked, Parked, Parking};
use crate::crew::Crew;
use crate::shared::Shared;

/// Threads for requests with a body: as many uploads are taken in, and stored in one commit, at once.
pub(super) const UPLOADERS: usize = 16;
/// Requests with a body that may wait for one of them.
const UPLOADS_WAITING: usize = 256;
/// Threads for all other requests, and for replies whose wait is over.
const POLLERS: usize = 4;
/// Requests that may wait for one of them; after that the acceptor waits.
const POLLS_WAITING: usize = 256;
/// Threads that write long replies, and replies that may wait for them.
const DOWNLOADERS: usize = 8;
const DOWNLOADS_WAITING: usize = 64;
/// Those of one client, so that one who reads slowly does not keep the others from theirs.
const DOWNLOADS_EACH: usize = DOWNLOADERS / 2;
/// Threads that refuse the uploads for which there is no room, and requests that may wait for
/// them.
const REFUSERS: usize = 2;
const REFUSALS_WAITING: usize = 256;

/// The ways into the pools. The acceptor holds the only ones: when it drops them the pools end.
pub(super) struct Pools {
    uploads: Sender<Request>,
    refusals: Sender<Request>,
    polls: Sender<Request>,
}

/// What the threads that answer have in common. The last of them to end ends the downloads.
struct Desk {
    shared: Arc<Shared>,
    parking: Arc<Parking>,
    downloads: Sender<Download>,
    /// The downloads that each client has.
    shares: Arc<Shares>,
}

/// A long reply to be written.
struct Download {
    request: Request,
    reply: Reply,
    _share: Share,
}

impl Pools {
    /// Hires the threads. `ripe` brings the requests whose wait is over.
    pub(super) fn hire(
        crew: &mut Crew,
        shared: Arc<Shared>,
        parking: Arc<Parking>,
        ripe: &Receiver<Parked>,
    ) -> io::Result<Pools> {
        let write = |download: Download| surviving(|| download.reply.send(download.request));
        let downloads = open(crew, "http-download", DOWNLOADERS, DOWNLOADS_WAITING, write)?;
        let shares = Shares::new(DOWNLOADS_EACH);
        let desk = Arc::new(Desk { shared, parking, downloads, shares });
        let serve = {
            let desk = Arc::clone(&desk);
            move |request| desk.serve(request)
        };
        let uploads = open(crew, "http-upload", UPLOADERS, UPLOADS_WAITING, serve)?;
        let refusals = open(crew, "http-refuse", REFUSERS, REFUSALS_WAITING, refuse)?;
        let (polls, to_poll) = bounded(POLLS_WAITING);
        for n in 1..=POLLERS {
            let (desk, requests, ripe) = (Arc::clone(&desk), to_poll.clone(), ripe.clone());
            crew.hire(format!("http-poll-{n}"), move || poll(&desk, requests, ripe))?;
        }
        Ok(Pools { uploads, refusals, polls })
    }

    /// Gives a request to the pool of its kind.
    pub(super) fn take(&self, request: Request) {
        let closed = "invariant: the pools end after the acceptor";
        if !brings_body(&request) {
            return self.polls.send(request).expect(closed);
        }
        match self.uploads.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => self.refusals.send(request).expect(closed),
            Err(TrySendError::Disconnected(_)) => unreachable!("{closed}"),
        }
    }
}

/// Hires threads that work on what comes through the returned channel until it closes.
fn open<T: Send + 'static>(
    crew: &mut Crew,
    name: &str,
    threads: usize,
    waiting: usize,
    work: impl Fn(T) + Clone + Send + 'static,
) -> io::Result<Sender<T>> {
    let (pool, arriving) = bounded(waiting);
    for n in 1..=threads {
        let (arriving, work) = (arriving.clone(), work.clone());
        crew.hire(format!("{name}-{n}"), move || arriving.iter().for_each(work))?;
    }
    Ok(pool)
}

fn brings_body(request: &Request) -> bool {
    match Framing::of(request) {
        Ok(Framing::Length(length)) => length > 0,
        Ok(Framing::Chunked) | Err(_) => true,
    }
}

fn poll(desk: &Desk, mut requests: Receiver<Request>, mut ripe: Receiver<Parked>) {
    let mut open = 2;
    while open > 0 {
        select! {
            recv(requests) -> request => match request {
                Ok(request) => desk.serve(request),
                Err(_) => {
                    requests = never();
                    open -= 1;
                }
            },
            recv(ripe) -> parked => match parked {
                Ok(parked) => desk.resume(parked),
                Err(_) => {
                    ripe = never();
                    open -= 1;
                }
            },
        }
    }
}

impl Desk {
    /// Answers a request, or parks it.
    fn serve(&self, mut request: Request) {
        surviving(|| match routes::answer(&self.shared, &mut request) {
            Ok(Answer::Now(reply)) => self.send(request, reply),
            Err(problem) => problem.reply().send(request),
            Ok(Answer::Park(wait)) => {
                if let Err(left) = self.parking.park(request, wait) {
                    let NotParked { request, wait } = *left;
                    let reply = reply_or_problem(wait.reply(&self.shared, &request));
                    self.send(request, reply);
                }
            }
        });
    }

    /// Answers a request whose wait is over.
    fn resume(&self, parked: Parked) {
        surviving(|| {
            let Parked { request, wait, place } = parked;
            let reply = reply_or_problem(wait.reply(&self.shared, &request));
            drop(place);
            self.send(request, reply);
        });
    }

    /// Writes a short reply; leaves a long one to those who have the time.
    fn send(&self, request: Request, reply: Reply) {
        if !reply.is_long() {
            return reply.send(request);
        }
        let share = ClientId::of(&request).map(|client| self.shares.take(client));
        let download = match share {
            Ok(Some(share)) => Download { request, reply, _share: share },
            Ok(None) => {
                return busy("As many long replies go to you as may. Read them first.")
                    .send(request);
            }
            Err(problem) => return problem.reply().send(request),
        };
        match self.downloads.try_send(download) {
            Ok(()) => {}
            Err(TrySendError::Full(Download { request, .. })) => {
                let detail = "The server sends as many long replies as it can. Try again soon.";
                busy(detail).send(request);
            }
            Err(TrySendError::Disconnected(_)) => {
                unreachable!("invariant: the downloads end after those who answer")
            }
        }
    }
}

/// Refuses an upload for which there is no room.
fn refuse(request: Request) {
    surviving(|| {
        busy("The server takes in as many uploads as it can. Try again soon.").send(request);
    });
}

fn busy(detail: &str) -> Reply {
    Problem::new(Code::Busy, detail).retry_after(2).reply()
}

fn reply_or_problem(result: Result<Reply, Problem>) -> Reply {
    result.unwrap_or_else(|problem| problem.reply())
}

/// Keeps the thread when a request brings down what answers it: tiny_http panics on a few.
fn surviving(work: impl FnOnce()) {
    // Nothing shared is left half-changed: the locks on the way are held for single steps.
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("a request's answer panicked; its client was told 500 if it could be");
    }
}

#[cfg(test)]
mod tests {
    use tiny_http::{Method, TestRequest};

    use super::*;

    fn upload(path: &str) -> Request {
        TestRequest::new().with_method(Method::Post).with_path(path).with_body("x").into()
    }

    #[test]
    fn requests_go_to_the_pool_of_their_kind() {
        let (uploads, to_upload) = bounded(1);
        let (refusals, to_refuse) = bounded(1);
        let (polls, to_poll) = bounded(2);
        let pools = Pools { uploads, refusals, polls };
        pools.take(upload("/taken"));
        pools.take(upload("/refused"));
        pools.take(TestRequest::new().with_path("/get").into());
        pools.take(TestRequest::new().with_method(Method::Post).with_path("/empty").into());
        let path = |requests: &Receiver<Request>| {
            requests.try_recv().map(|request| request.url().to_owned())
        };
        assert_eq!(path(&to_upload).as_deref(), Ok("/taken"));
        assert_eq!(path(&to_refuse).as_deref(), Ok("/refused"));
        assert_eq!(path(&to_poll).as_deref(), Ok("/get"));
        assert_eq!(path(&to_poll).as_deref(), Ok("/empty"), "without a body nothing can stall");
    }
}
