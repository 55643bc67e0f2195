//! Every address of the server, and what each method does there.

use tiny_http::{Method, Request};

use super::draft::Contract;
use super::problem::{Code, Problem};
use super::reply::Reply;
use super::waiting::Wait;
use super::{health, jobs, overview, page, result, submit};
use crate::job::JobId;
use crate::shared::Shared;

/// The longest path and query, in bytes.
const URI_MAX: usize = 16 * 1024;

/// What becomes of a request.
pub(crate) enum Answer {
    /// It is answered.
    Now(Reply),
    /// It is answered when its job has ended, or its time is up.
    Park(Wait),
}

/// An address.
enum Route {
    Home,
    Queue,
    QueueJson,
    Client,
    ClientTypes,
    Livez,
    Readyz,
    Send,
    Jobs,
    Job(JobId),
    JobResult(JobId),
    JobDeliveries(JobId),
}

/// Who may ask for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// Whoever reaches the server: there is nothing of anybody's in it.
    Everybody,
    /// Who has a key, where keys are asked for.
    Clients,
    /// As `Clients`; it brings a job.
    Submission { contract: Contract, query: &'a str },
}

/// What a request asks for, by its first line.
pub(crate) fn asked<'a>(method: &str, target: &'a str) -> Access<'a> {
    let (path, query) = path_and_query(target);
    match (Route::of(path), method) {
        // Which methods there are is no secret.
        (_, "OPTIONS") => Access::Everybody,
        (Ok(Route::Home | Route::Queue | Route::Client | Route::ClientTypes), _)
        | (Ok(Route::Livez | Route::Readyz), _) => Access::Everybody,
        (Ok(Route::Send), "POST") => Access::Submission { contract: Contract::Send, query },
        (Ok(Route::Jobs), "POST") => Access::Submission { contract: Contract::Jobs, query },
        (Ok(_) | Err(_), _) => Access::Clients,
    }
}

/// Whether a request asks if the server lives.
pub(crate) fn is_probe(target: &str) -> bool {
    matches!(Route::of(path_and_query(target).0), Ok(Route::Livez))
}

/// Does what the request asks for.
pub(crate) fn answer(shared: &Shared, request: &mut Request) -> Result<Answer, Problem> {
    let uri = request.url().to_owned();
    if uri.len() > URI_MAX {
        let detail = "The address is longer than 16 KiB. Send parameters in a form.";
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    let (path, query) = path_and_query(&uri);
    if path == "*" && *request.method() == Method::Options {
        return Ok(Answer::Now(options("GET, HEAD, POST, DELETE")));
    }
    let route = Route::of(path)?;
    // A HEAD is a GET whose body tiny_http does not send.
    let method = match request.method() {
        Method::Head => Method::Get,
        method => method.clone(),
    };
    match (route, method) {
        (Route::Home, Method::Get) => Ok(Answer::Now(page::home(shared, request))),
        (Route::Queue, Method::Get) => page::queue(shared).map(Answer::Now),
        (Route::QueueJson, Method::Get) => overview::show(shared).map(Answer::Now),
        (Route::Client, Method::Get) => Ok(Answer::Now(page::client())),
        (Route::ClientTypes, Method::Get) => Ok(Answer::Now(page::client_types())),
        (Route::Livez, Method::Get) => Ok(Answer::Now(health::live())),
        (Route::Readyz, Method::Get) => health::ready(shared).map(Answer::Now),
        (Route::Send, Method::Post) => submit::send(shared, request, query),
        (Route::Jobs, Method::Post) => submit::create(shared, request, query),
        (Route::Jobs, Method::Get) => jobs::list(shared, query).map(Answer::Now),
        (Route::Job(id), Method::Get) => jobs::show(shared, request, id, query),
        (Route::Job(id), Method::Delete) => {
            jobs::check_known(query, &[])?;
            jobs::delete(shared, id).map(Answer::Now)
        }
        (Route::JobResult(id), Method::Get) => result::show(shared, id, query).map(Answer::Now),
        (Route::JobDeliveries(id), Method::Get) => {
            jobs::check_known(query, &[])?;
            jobs::deliveries(shared, id).map(Answer::Now)
        }
        (route, Method::Options) => Ok(Answer::Now(options(route.allow()))),
        (route, _) => Err(method_not_allowed(&route)),
    }
}

impl Route {
    fn of(path: &str) -> Result<Route, Problem> {
        let nowhere = || Problem::new(Code::NotFound, "Nothing is here. `GET /` says what is.");
        let segments: Vec<&str> = path.strip_prefix('/').ok_or_else(nowhere)?.split('/').collect();
        let id = |text: &str| text.parse().map_err(|_| Problem::unknown_job());
        Ok(match segments.as_slice() {
            [""] => Route::Home,
            ["queue"] => Route::Queue,
            ["queue.json"] => Route::QueueJson,
            ["ringback.js"] => Route::Client,
            ["ringback.d.ts"] => Route::ClientTypes,
            ["livez"] => Route::Livez,
            ["readyz"] => Route::Readyz,
            ["send"] => Route::Send,
            ["jobs"] => Route::Jobs,
            ["jobs", job] => Route::Job(id(job)?),
            ["jobs", job, "result"] => Route::JobResult(id(job)?),
            ["jobs", job, "deliveries"] => Route::JobDeliveries(id(job)?),
            _ => return Err(nowhere()),
        })
    }

    /// The methods it takes, as `Allow` lists them.
    fn allow(&self) -> &'static str {
        match self {
            Route::Home
            | Route::Queue
            | Route::QueueJson
            | Route::Client
            | Route::ClientTypes
            | Route::Livez
            | Route::Readyz
            | Route::JobResult(_)
            | Route::JobDeliveries(_) => "GET, HEAD",
            Route::Send => "POST",
            Route::Jobs => "GET, HEAD, POST",
            Route::Job(_) => "GET, HEAD, DELETE",
        }
    }
}

/// The answer to `OPTIONS` (RFC 9110, 9.3.7).
fn options(allow: &str) -> Reply {
    Reply::empty(204).with("Allow", format!("{allow}, OPTIONS"))
}

fn method_not_allowed(route: &Route) -> Problem {
    let allow = route.allow();
    Problem::new(Code::MethodNotAllowed, format!("This address takes {allow}."))
        .with("Allow", allow)
}

/// Splits a request's target. Proxies are sent whole URLs (RFC 9112, 3.2.2), whose scheme has no case.
fn path_and_query(uri: &str) -> (&str, &str) {
    let target = match uri.split_once("://") {
        Some((scheme, rest)) if is_http(scheme) => {
            rest.find(['/', '?']).map_or("", |end| &rest[end..])
        }
        Some(_) | None => uri,
    };
    match target.split_once('?') {
        Some(("", query)) => ("/", query),
        Some((path, query)) => (path, query),
        None if target.is_empty() && !uri.is_empty() => ("/", ""),
        None => (target, ""),
    }
}

fn is_http(scheme: &str) -> bool {
    ["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_begins_with_no_slash_is_nowhere() {
        for path in ["..%00/", "x/jobs", "jobs", "*", ""] {
            assert!(Route::of(path).is_err(), "{path:?}");
        }
        assert!(matches!(Route::of("/jobs"), Ok(Route::Jobs)));
    }

    #[test]
    fn splits_a_target() {
        assert_eq!(path_and_query("/jobs"), ("/jobs", ""));
        assert_eq!(path_and_query("/jobs?a=1?b"), ("/jobs", "a=1?b"));
        assert_eq!(path_and_query("http://host:80/jobs?a"), ("/jobs", "a"));
        assert_eq!(path_and_query("http://host"), ("/", ""));
        assert_eq!(path_and_query("HTTP://Host/jobs?a=http://b/c"), ("/jobs", "a=http://b/c"));
        assert_eq!(path_and_query("hTTps://host:1?a"), ("/", "a"));
        assert_eq!(path_and_query("/jobs?callback=http://b/c"), ("/jobs", "callback=http://b/c"));
        assert_eq!(path_and_query("*"), ("*", ""));
    }
}
