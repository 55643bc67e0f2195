//! `POST /send` and `POST /jobs`: from a request to a stored job.

use std::time::{Duration, Instant};

use tiny_http::Request;

use super::client_id::ClientId;
use super::draft::{Contract, Draft};
use super::header;
use super::jobs;
use super::problem::{Code, Problem};
use super::reply::Reply;
use super::routes::Answer;
use super::upload::{self, Body, BodyKind, Framing, Upload};
use super::waiting::{Resume, Wait};
use super::wire::{IdJson, Snapshot};
use crate::disk::NoRoom;
use crate::estimator::Estimator;
use crate::job::{InputInfo, Job, JobId};
use crate::notifier::address::spelled;
use crate::queue::{Submission, SubmitError, Submitted};
use crate::shared::{Phase, Shared};
use crate::tally::Event;

/// `POST /send`: 204, and the result comes to the callback.
pub(crate) fn send(shared: &Shared, request: &mut Request, query: &str) -> Result<Answer, Problem> {
    let accepted = accept(shared, request, Contract::Send, query)?;
    Ok(Answer::Now(accepted.mark(Reply::empty(204))))
}

/// `POST /jobs`: 202 with the job, or with `Prefer: wait` the finished one.
pub(crate) fn create(
    shared: &Shared,
    request: &mut Request,
    query: &str,
) -> Result<Answer, Problem> {
    let preferred = header::preferred_wait(header::all(request, "Prefer"));
    let accepted = accept(shared, request, Contract::Jobs, query)?;
    let receipt = Receipt { accepted, preferred };
    match preferred {
        Some(seconds) if seconds > 0 => Ok(Answer::Park(Wait {
            job: receipt.accepted.id(),
            until: Instant::now() + Duration::from_secs(seconds),
            resume: Resume::Submitted(receipt),
        })),
        Some(_) | None => Ok(Answer::Now(receipt.reply(shared))),
    }
}

/// A submission that is on disk. From here on the client gets its address, whatever else fails.
#[derive(Debug)]
struct Accepted(Submitted);

impl Accepted {
    fn id(&self) -> JobId {
        match &self.0 {
            Submitted::New(job) => job.id,
            Submitted::Replayed(id) | Submitted::Coalesced(id) => *id,
        }
    }

    /// Puts the job's address on the reply, and whether it is the job of an earlier request.
    fn mark(&self, reply: Reply) -> Reply {
        let reply = reply.with("Location", jobs::address(self.id()));
        match self.0 {
            Submitted::New(_) => reply,
            Submitted::Replayed(_) => reply.with("Idempotent-Replayed", "true"),
            Submitted::Coalesced(_) => reply.with("Ringback-Coalesced", "true"),
        }
    }
}

/// What the reply to an accepted `POST /jobs` is made of, perhaps later.
#[derive(Debug)]
pub(crate) struct Receipt {
    accepted: Accepted,
    /// The seconds of `Prefer: wait`.
    preferred: Option<u64>,
}

impl Receipt {
    /// The reply, with the job as it stands now. A refusal would make the client send again what is
    /// stored: a job that cannot be read is told as it was stored, or by its id alone.
    pub(crate) fn reply(&self, shared: &Shared) -> Reply {
        let snapshot = self.snapshot(shared);
        let finished = snapshot.as_ref().is_some_and(|snapshot| snapshot.job.state.is_finished());
        let status = if finished && self.preferred.is_some() { 200 } else { 202 };
        let body = match &snapshot {
            Some(snapshot) => Reply::json(status, &snapshot.json()),
            None => Reply::json(status, &IdJson { id: self.accepted.id() }),
        };
        let mut reply = self.accepted.mark(body);
        if status == 202 {
            let wait = Estimator::retry_after(snapshot.and_then(|snapshot| snapshot.eta_s()));
            reply = reply.with("Retry-After", wait.to_string());
        }
        match self.preferred {
            Some(seconds) => reply.with("Preference-Applied", format!("wait={seconds}")),
            None => reply,
        }
    }

    fn snapshot(&self, shared: &Shared) -> Option<Snapshot> {
        let stored = match &self.accepted.0 {
            Submitted::New(job) => Some(Job::clone(job)),
            Submitted::Replayed(_) | Submitted::Coalesced(_) => None,
        };
        let stored = stored.map(|job| Snapshot::stored(shared, job));
        let waits = stored.as_ref().is_some_and(Snapshot::waits);
        if waits && self.preferred.is_none() {
            // The job is as it was stored: a look would tell no more.
            return stored;
        }
        jobs::look_after_commit(shared, self.accepted.id()).or(stored)
    }
}

/// What the head of a submission says, wherever it is read.
pub(crate) struct Announced<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) content_encoding: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
    /// Of the body, in bytes.
    pub(crate) length: Option<u64>,
}

/// Looks at the head of a submission: what is wrong already, or has no room, need not be sent.
pub(crate) fn check_announced(
    shared: &Shared,
    client: &ClientId,
    contract: Contract,
    query: &str,
    announced: &Announced<'_>,
) -> Result<(), Problem> {
    let opening = Opening::read(shared, contract, query, announced)?;
    // A request with a key may repeat one that was accepted, and then gets its reply though the
    // queue is full.
    match opening.idempotency_key {
        None => {
            // A body that is too large for the server is refused as that, wherever there is room.
            let length = announced.length.filter(|length| *length <= shared.config.max_body);
            shared.spool.room().check(length).map_err(|NoRoom| no_room(shared))?;
            check_room(shared, client)
        }
        Some(_) => check_phase(shared),
    }
}

/// A submission as far as its head tells.
struct Opening {
    draft: Draft,
    kind: BodyKind,
    idempotency_key: Option<String>,
}

impl Opening {
    fn read(
        shared: &Shared,
        contract: Contract,
        query: &str,
        announced: &Announced<'_>,
    ) -> Result<Opening, Problem> {
        let idempotency_key = announced.idempotency_key.map(idempotency_key).transpose()?;
        check_encoding(announced.content_encoding)?;
        let mut draft = Draft::new(contract);
        draft.read_query(query)?;
        let kind = BodyKind::of(announced.content_type)?;
        if let BodyKind::Raw(content_type) = &kind {
            if contract == Contract::Send {
                return Err(Problem::new(
                    Code::UnsupportedType,
                    "Send a form (`multipart/form-data`) with the parts `file` and `callback`.",
                )
                .with("Accept-Post", "multipart/form-data"));
            }
            draft.check(shared, content_type.as_deref())?;
            draft.check_complete(shared)?;
        }
        Ok(Opening { draft, kind, idempotency_key })
    }
}

fn accept(
    shared: &Shared,
    request: &mut Request,
    contract: Contract,
    query: &str,
) -> Result<Accepted, Problem> {
    take_in(shared, request, contract, query).inspect_err(|problem| count_refusal(shared, problem))
}

/// Counts a submission that was not taken, if that was for now only.
pub(crate) fn count_refusal(shared: &Shared, problem: &Problem) {
    if problem.is_for_now() {
        shared.tally.count(Event::Refused);
    }
}

fn take_in(
    shared: &Shared,
    request: &mut Request,
    contract: Contract,
    query: &str,
) -> Result<Accepted, Problem> {
    let client = ClientId::of(request)?;
    let announced = Announced {
        content_type: header::find(request, "Content-Type"),
        content_encoding: header::find(request, "Content-Encoding"),
        idempotency_key: header::find(request, "Idempotency-Key"),
        length: None,
    };
    let Opening { mut draft, kind, idempotency_key } =
        Opening::read(shared, contract, query, &announced)?;
    let upload = receive(shared, request, kind, &mut draft)?;
    draft.check(shared, upload.content_type.as_deref())?;
    draft.check_complete(shared)?;
    let task = draft.task(shared)?;
    let duration_s = task.options.duration_s(&draft.parameters);
    let task = task.name.clone();
    let coalesce = draft.coalesce()?;
    let Upload { name, content_type, received } = upload;
    let submitted = shared.queue.submit(Submission {
        id: shared.queue.clock().new_job_id(),
        task,
        parameters: draft.parameters,
        input: InputInfo {
            name,
            content_type,
            bytes: received.bytes,
            sha256: received.sha256,
            duration_s,
        },
        body: received.body,
        callback: draft.callback.map(|url| spelled(&url).unwrap_or(url)),
        created_at: shared.queue.clock().now(),
        client: client.scope().to_owned(),
        sender: client.to_string(),
        idempotency_key,
        coalesce,
    });
    // Stored or refused: from now on the disk itself tells what the input takes.
    drop(received.promise);
    let submitted = submitted.map_err(|error| refusal(shared, error))?;
    if let Submitted::New(_) = submitted {
        shared.tally.count(Event::Accepted);
    }
    Ok(Accepted(submitted))
}

/// Reads the body.
fn receive(
    shared: &Shared,
    request: &mut Request,
    kind: BodyKind,
    draft: &mut Draft,
) -> Result<Upload, Problem> {
    let max = shared.config.max_body;
    let framing = Framing::of(request)?;
    match kind {
        BodyKind::Form(boundary) => {
            let body = Body::of(request, framing, max)?;
            upload::receive_form(shared, body, &boundary, draft)
        }
        BodyKind::Raw(_) if framing == Framing::Chunked => Err(Problem::new(
            Code::LengthRequired,
            "Send a `Content-Length`: without one a body that was cut off looks whole.",
        )),
        BodyKind::Raw(content_type) => {
            let body = Body::of(request, framing, max)?;
            upload::receive_raw(shared, body, content_type)
        }
    }
}

/// An input is kept as it comes: one that is packed for the way would reach the task packed.
fn check_encoding(encoding: Option<&str>) -> Result<(), Problem> {
    match encoding {
        None => Ok(()),
        Some(identity) if identity.trim().eq_ignore_ascii_case("identity") => Ok(()),
        Some(_) => Err(Problem::new(
            Code::UnsupportedType,
            "A body with a `Content-Encoding` is not taken. Send it as it is.",
        )
        .with("Accept-Encoding", "identity")),
    }
}

fn check_phase(shared: &Shared) -> Result<(), Problem> {
    if shared.phase() == Phase::Draining {
        let detail = "The server is stopping and takes no new jobs. Try again soon.";
        return Err(Problem::new(Code::Draining, detail).retry_after(5));
    }
    Ok(())
}

/// Whether a new job would have a place.
fn check_room(shared: &Shared, client: &ClientId) -> Result<(), Problem> {
    check_phase(shared)?;
    let depth = shared.queue.depth();
    if depth.queued >= depth.bound {
        return Err(queue_full(shared));
    }
    if shared.queue.has_its_share(&client.to_string()) {
        return Err(share_taken(shared));
    }
    Ok(())
}

fn queue_full(shared: &Shared) -> Problem {
    let bound = shared.queue.depth().bound;
    let wait = until_one_ends(shared);
    let detail = format!("{bound} jobs wait already (`--max-queued`). Try again in {wait} s.");
    Problem::new(Code::QueueFull, detail).retry_after(wait)
}

fn share_taken(shared: &Shared) -> Problem {
    let share = shared.config.per_client(shared.addr);
    let wait = until_one_ends(shared);
    let detail =
        format!("{share} jobs of yours wait already (`--per-client`). Try again in {wait} s.");
    Problem::new(Code::ShareTaken, detail).retry_after(wait)
}

fn until_one_ends(shared: &Shared) -> u64 {
    Estimator::retry_after(shared.until_one_ends())
}

fn refusal(shared: &Shared, error: SubmitError) -> Problem {
    match error {
        SubmitError::Full => queue_full(shared),
        SubmitError::ShareTaken => share_taken(shared),
        SubmitError::KeyReused => Problem::new(
            Code::IdempotencyKeyReused,
            "This `Idempotency-Key` came before with another request. Use a new key.",
        ),
        SubmitError::DiskFull => no_room(shared),
        SubmitError::Store(error) => {
            shared.bells.sweep_due();
            Problem::store_failed(error)
        }
    }
}

/// The janitor looks after a disk that is short, from now on until it no longer is.
fn no_room(shared: &Shared) -> Problem {
    shared.bells.sweep_due();
    Problem::disk_full()
}

fn idempotency_key(value: &str) -> Result<String, Problem> {
    header::idempotency_key(value).map_err(|header::BadKey| {
        let detail = "An `Idempotency-Key` is 1 to 255 printable ASCII characters, best in \"\".";
        Problem::new(Code::BadIdempotencyKey, detail)
    })
}
