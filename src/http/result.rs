//! `GET /jobs/{id}/result`: what a job gave, as itself.

use std::fs::File;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::header::Parameterized;
use super::jobs::{check_known, parameter};
use super::problem::{Code, Problem, quoted};
use super::reply::Reply;
use super::wire::Snapshot;
use crate::estimator::Estimator;
use crate::job::{Job, JobId, State};
use crate::queue::{StoredData, StoredOutput};
use crate::shared::Shared;

/// Everything but what RFC 8187 lets stand for itself.
const NOT_ATTR_CHAR: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+');

/// The output in its own content type, or with `?format` in one of the task's other formats.
pub(crate) fn show(shared: &Shared, id: JobId, query: &str) -> Result<Reply, Problem> {
    check_known(query, &["format"])?;
    let job = shared.queue.get(id)?.ok_or_else(Problem::unknown_job)?;
    let output = match job.state {
        State::Succeeded => shared.queue.output(id)?.ok_or_else(Problem::unknown_job)?,
        State::Queued | State::Running => return Err(not_finished(shared, job)?),
        State::Failed | State::Canceled => return Err(no_result(&job)),
    };
    let reply = match parameter(query, "format") {
        None => plain(shared, id, output.data)?,
        Some(name) => formatted(shared, id, output, &name)?,
    };
    // An output is a stranger's: it must not run as a page of this server.
    Ok(reply.with("X-Content-Type-Options", "nosniff").with("Content-Security-Policy", "sandbox"))
}

fn plain(shared: &Shared, id: JobId, data: StoredData) -> Result<Reply, Problem> {
    match data {
        StoredData::Text(text) => Ok(Reply::bytes(200, "text/plain; charset=utf-8", text)),
        StoredData::Json(value) => Ok(Reply::json(200, &value)),
        StoredData::File { path, name, content_type, bytes } => match File::open(&path) {
            Ok(file) => Ok(Reply::file(safe_type(&content_type), file, bytes)
                .with("Content-Disposition", attachment(&name))),
            // Forgotten by another request since it was looked up.
            Err(_) if shared.queue.get(id)?.is_none() => Err(Problem::unknown_job()),
            Err(error) => Err(Problem::internal(format_args!("{}: {error}", path.display()))),
        },
    }
}

fn formatted(
    shared: &Shared,
    id: JobId,
    output: StoredOutput,
    name: &str,
) -> Result<Reply, Problem> {
    let own = match output.data {
        StoredData::Text(_) => Some("text"),
        StoredData::Json(_) => Some("json"),
        StoredData::File { .. } => None,
    };
    if let Some(format) = output.formats.iter().find(|format| format.name == name) {
        return Ok(Reply::bytes(200, safe_type(&format.content_type), format.body.as_str()));
    }
    if own == Some(name) {
        return plain(shared, id, output.data);
    }
    let mut names: Vec<&str> = output.formats.iter().map(|format| format.name.as_str()).collect();
    names.extend(own.filter(|own| !names.contains(own)));
    let there_are = match names.as_slice() {
        [] => "Leave `format` out: there is but one.".to_owned(),
        names => format!("There are: {}.", names.join(", ")),
    };
    let detail = format!("The result has no format {}. {there_are}", quoted(name));
    Err(Problem::new(Code::UnknownFormat, detail))
}

fn not_finished(shared: &Shared, job: Job) -> Result<Problem, Problem> {
    let state = job.state;
    let wait = Estimator::retry_after(Snapshot::of(shared, job)?.eta_s());
    let detail = format!("The job is {state}: it has no result yet. Ask again in {wait} s.");
    Ok(Problem::new(Code::NotFinished, detail).retry_after(wait))
}

fn no_result(job: &Job) -> Problem {
    let why = match &job.error {
        Some(error) => format!("it failed: {}", error.message),
        None => format!("it was {}", job.state),
    };
    Problem::new(Code::NoResult, format!("The job has no result: {why}."))
}

/// The content type that a task gave, where it is one.
fn safe_type(content_type: &str) -> &str {
    let parsed = Parameterized::parse(content_type.as_bytes());
    match parsed.as_ref().and_then(Parameterized::essence) {
        Some(_) => content_type,
        None => "application/octet-stream",
    }
}

/// A `Content-Disposition` (RFC 6266) that keeps any name whole in its `filename*` (RFC 8187), and
/// what is ASCII of it in a `filename` for clients that know only that.
fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let encoded = utf8_percent_encode(name, NOT_ATTR_CHAR);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotation_marks() {
        assert_eq!(
            attachment("a\"; x=\"\r\nSet-Cookie: y.wav"),
            "attachment; filename=\"a_; x=___Set-Cookie: y.wav\"; \
             filename*=UTF-8''a%22%3B%20x%3D%22%0D%0ASet-Cookie%3A%20y.wav"
        );
        assert_eq!(
            attachment("línea.txt"),
            "attachment; filename=\"l_nea.txt\"; filename*=UTF-8''l%C3%ADnea.txt"
        );
    }

    #[test]
    fn a_content_type_that_is_none_says_nothing() {
        assert_eq!(safe_type("text/html; charset=utf-8"), "text/html; charset=utf-8");
        assert_eq!(safe_type("nonsense"), "application/octet-stream");
        assert_eq!(safe_type(""), "application/octet-stream");
    }
}
