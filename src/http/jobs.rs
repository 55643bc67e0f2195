//! Following jobs: one, all of them, the ledger of one; and calling one off.

use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use tiny_http::Request;

use super::header::{self, WAIT_MAX};
use super::problem::{Code, Problem, quoted};
use super::reply::{Reply, json_line};
use super::routes::Answer;
use super::waiting::{Resume, Wait};
use super::wire::{DeliveriesJson, DeliveryJson, JobsJson, Snapshot};
use crate::estimator::Estimator;
use crate::job::{JobId, State};
use crate::queue::{Canceled, Page};
use crate::shared::Shared;

/// Jobs on a page, and the most there may be.
const PAGE: usize = 20;
const PAGE_MAX: usize = 100;

/// The path of a job.
pub(crate) fn address(id: JobId) -> String {
    format!("/jobs/{id}")
}

/// `GET /jobs/{id}`: the job, at once or, with `?wait`, when it has ended.
pub(crate) fn show(
    shared: &Shared,
    request: &Request,
    id: JobId,
    query: &str,
) -> Result<Answer, Problem> {
    check_known(query, &["wait"])?;
    let wait = wait_of(query)?;
    if wait.is_zero() {
        return show_now(shared, request, id).map(Answer::Now);
    }
    let job = shared.queue.get(id)?.ok_or_else(Problem::unknown_job)?;
    if job.state.is_finished() {
        return show_now(shared, request, id).map(Answer::Now);
    }
    Ok(Answer::Park(Wait { job: id, until: Instant::now() + wait, resume: Resume::Show }))
}

/// The job as it stands now, or 304 where the client has that already.
pub(crate) fn show_now(shared: &Shared, request: &Request, id: JobId) -> Result<Reply, Problem> {
    let snapshot = Snapshot::take(shared, id)?.ok_or_else(Problem::unknown_job)?;
    let body = json_line(&snapshot.json());
    let tag = weak_tag(&body);
    let mut reply = Reply::bytes(200, "application/json", body).with("ETag", &tag);
    if !snapshot.job.state.is_finished() {
        let wait = Estimator::retry_after(snapshot.eta_s());
        reply = reply.with("Retry-After", wait.to_string());
    }
    let known = header::all(request, "If-None-Match").any(|tags| header::matches_tag(tags, &tag));
    Ok(if known { reply.with_status(304) } else { reply })
}

/// Weak, because it stands for what the body says and not for its bytes; equal for equal bodies of
/// one build of the program, which is as long as a client keeps it.
fn weak_tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("W/\"{:016x}\"", hasher.finish())
}

fn wait_of(query: &str) -> Result<Duration, Problem> {
    let Some(value) = parameter(query, "wait") else { return Ok(Duration::ZERO) };
    let seconds: u64 = value.parse().map_err(|_| {
        let detail =
            format!("`wait` is whole seconds, at most {WAIT_MAX}, not {}.", quoted(&value));
        Problem::new(Code::BadParameter, detail)
    })?;
    Ok(Duration::from_secs(seconds.min(WAIT_MAX)))
}

/// The value of a name in a query. An empty one is none, as forms send it.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(other, value)| other == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// Refuses a query with parameters that mean nothing here: a client that asks for something must hear
/// that it does not get it. `_` is what some libraries put there to keep caches out.
pub(crate) fn check_known(query: &str, known: &[&str]) -> Result<(), Problem> {
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "_" || value.is_empty() && known.contains(&&*name) {
            continue;
        }
        if !known.contains(&&*name) {
            let there_are = match known {
                [] => "none".to_owned(),
                known => known.join(", "),
            };
            let detail = format!(
                "There is no parameter {} at this address; there are: {there_are}.",
                quoted(&name)
            );
            return Err(Problem::new(Code::BadParameter, detail));
        }
        if seen.iter().any(|other| *other == name) {
            let detail = format!("`{name}` was given twice. Send it once.");
            return Err(Problem::new(Code::BadParameter, detail));
        }
        seen.push(name.into_owned());
    }
    Ok(())
}

/// `DELETE /jobs/{id}`: a job that has not ended is canceled (200, the job), one that has is
/// forgotten (204).
pub(crate) fn delete(shared: &Shared, id: JobId) -> Result<Reply, Problem> {
    match shared.queue.cancel(id)?.ok_or_else(Problem::unknown_job)? {
        Canceled::Queued => {}
        Canceled::Running => {
            // An attempt that is not listed has ended just now, or will find its lease stale.
            if let Some(pulse) = shared.attempts.get(id) {
                pulse.cancel();
            }
        }
        Canceled::Forgotten => return Ok(Reply::empty(204)),
    }
    shared.job_finished(id);
    Ok(match look_after_commit(shared, id) {
        Some(snapshot) => Reply::json(200, &snapshot.json()),
        None => Reply::empty(204),
    })
}

/// The job as it stands after a change was stored; `None` when it cannot be read, or another client
/// has forgotten it. An error here must not reach the client: the change would look undone.
pub(crate) fn look_after_commit(shared: &Shared, id: JobId) -> Option<Snapshot> {
    Snapshot::take(shared, id).unwrap_or_else(|error| {
        log::error!("job {id} was changed, and could not be read for the reply: {error}");
        None
    })
}

/// `GET /jobs`: newest first. Outputs, places in the queue and estimates are left to the jobs' own
/// addresses.
pub(crate) fn list(shared: &Shared, query: &str) -> Result<Reply, Problem> {
    check_known(query, &["state", "limit", "after"])?;
    let mut page = page_of(query)?;
    let limit = page.limit;
    // One more tells whether there is a next page.
    page.limit += 1;
    let mut jobs = shared.queue.list(&page)?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().filter(|_| more).map(|last| {
        let state = page.state.map_or(String::new(), |state| format!("state={state}&"));
        format!("/jobs?{state}limit={limit}&after={}", last.id)
    });
    let snapshots: Vec<Snapshot> = jobs.into_iter().map(Snapshot::brief).collect();
    let body =
        JobsJson { jobs: snapshots.iter().map(Snapshot::json).collect(), next: next.as_deref() };
    let reply = Reply::json(200, &body);
    Ok(match &next {
        Some(next) => reply.with("Link", format!("<{next}>; rel=\"next\"")),
        None => reply,
    })
}

fn page_of(query: &str) -> Result<Page, Problem> {
    let bad = |what: String| Problem::new(Code::BadParameter, what);
    let state = parameter(query, "state")
        .map(|word| {
            word.parse::<State>().map_err(|()| {
                let states = State::ALL.map(State::as_str).join(", ");
                bad(format!("`state` is one of {states}, not {}.", quoted(&word)))
            })
        })
        .transpose()?;
    let after = parameter(query, "after")
        .map(|id| {
            id.parse().map_err(|_| bad(format!("`after` is a job's id, not {}.", quoted(&id))))
        })
        .transpose()?;
    let limit = parameter(query, "limit")
        .map(|limit| match limit.parse() {
            Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
            _ => Err(bad(format!("`limit` is 1 to {PAGE_MAX}, not {}.", quoted(&limit)))),
        })
        .transpose()?;
    Ok(Page { state, after, limit: limit.unwrap_or(PAGE) })
}

/// `GET /jobs/{id}/deliveries`: every POST to the callback so far, oldest first.
pub(crate) fn deliveries(shared: &Shared, id: JobId) -> Result<Reply, Problem> {
    let ledger = shared.queue.deliveries(id)?.ok_or_else(Problem::unknown_job)?;
    let deliveries = ledger.iter().map(DeliveryJson::from).collect();
    Ok(Reply::json(200, &DeliveriesJson { deliveries }))
}
