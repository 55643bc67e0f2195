//! One file over HTTP, in as many connections as it takes.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE};
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, Proxy};

use super::{Progress, Wanted};
use crate::model::digest::{self, PIECE};
use crate::model::error::ModelError;
use crate::model::part::{Part, part_path};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 5;
const MAX_ETAG: usize = 1024;

/// What one connection came to.
pub(super) enum Fetched {
    /// All of it is here.
    Whole { sha256: String },
    /// The connection ended early; `at` bytes are here.
    Cut { at: u64, why: String },
}

/// A file that is being fetched.
pub(super) struct Fetch<'a> {
    wanted: &'a Wanted,
    agent: Agent,
}

impl<'a> Fetch<'a> {
    /// Proxies are taken from the environment, but a mirror on this machine is reached without.
    pub(super) fn new(wanted: &'a Wanted, idle_timeout: Duration) -> Fetch<'a> {
        let config = Agent::config_builder()
            .proxy(if is_on_this_machine(&wanted.url) { None } else { Proxy::try_from_env() })
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            // What was asked for over TLS is not taken without.
            .https_only(wanted.url.starts_with("https:"))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(RESPONSE_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_per_read(Some(idle_timeout))
            .user_agent(concat!("ringback/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "tls")]
        let config = if wanted.url.starts_with("https:") {
            config.tls_config(crate::roots::tls_config(&[]))
        } else {
            config
        };
        Fetch { wanted, agent: config.build().into() }
    }

    /// Asks for what is missing, and appends it to `part`.
    pub(super) fn go_on(
        &mut self,
        part: &mut Part,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, ModelError> {
        let here = self.usable(part)?;
        if Some(here) == self.wanted.bytes {
            return self.whole(part);
        }
        let mut response = self.ask(part, here)?;
        let at = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if starts_at(&response, here) => here,
            // It answers for other bytes than were asked for, or has none after these: what is here
            // is not the beginning of its file.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if here > 0 => {
                part.clear()?;
                response = self.ask(part, 0)?;
                if response.status() != StatusCode::OK {
                    return Err(self.refused(response.status()));
                }
                0
            }
            status => return Err(self.refused(status)),
        };
        let total = self.total(&response, at)?;
        if at == 0 {
            part.clear()?;
            self.remember(part, &response);
        }
        self.receive(part, response, at, total, progress)
    }

    /// Bytes of an earlier connection that can be gone on from. Without a checksum there must be an
    /// ETag, by which the server can tell that its file is still the same.
    fn usable(&self, part: &Part) -> Result<u64, ModelError> {
        let here = part.len()?;
        let is_guarded = self.wanted.sha256.is_some() || self.etag(part).is_some();
        if here > self.wanted.limit() || !is_guarded {
            part.clear()?;
            return Ok(0);
        }
        Ok(here)
    }

    fn ask(&self, part: &Part, from: u64) -> Result<Response<Body>, ModelError> {
        let mut request = self.agent.get(&self.wanted.url);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(etag) = self.etag(part) {
                request = request.header(IF_RANGE, etag);
            }
        }
        request.call().map_err(|error| ModelError::Unreachable {
            url: self.wanted.url.clone(),
            why: error.to_string(),
        })
    }

    fn refused(&self, status: StatusCode) -> ModelError {
        ModelError::Refused { url: self.wanted.url.clone(), status: status.as_u16() }
    }

    fn wrong_length(&self) -> ModelError {
        ModelError::Length { url: self.wanted.url.clone(), expected: self.wanted.limit() }
    }

    /// The length of the whole file, of what is published or what the server says.
    fn total(&self, response: &Response<Body>, at: u64) -> Result<Option<u64>, ModelError> {
        let length = text(response, CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        let told = length.and_then(|length| length.checked_add(at));
        match (self.wanted.bytes, told) {
            (Some(published), Some(told)) if published != told => Err(self.wrong_length()),
            (None, Some(told)) if told > self.wanted.limit() => Err(self.wrong_length()),
            (published, told) => Ok(published.or(told)),
        }
    }

    fn receive(
        &self,
        part: &mut Part,
        response: Response<Body>,
        mut at: u64,
        total: Option<u64>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, ModelError> {
        let disk = |error| ModelError::disk("write", &part.path)(error);
        (&part.file).seek(SeekFrom::Start(at)).map_err(disk)?;
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            progress(Progress { bytes: at, total });
            let received = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => &piece[..n],
                Err(error) => return Ok(Fetched::Cut { at, why: error.to_string() }),
            };
            at += received.len() as u64;
            if at > self.wanted.limit() {
                part.clear()?;
                return Err(self.wrong_length());
            }
            (&part.file).write_all(received).map_err(disk)?;
        }
        match total {
            Some(total) if at < total => {
                Ok(Fetched::Cut { at, why: "the server closed the connection".to_owned() })
            }
            _ => self.whole(part),
        }
    }

    fn whole(&self, part: &mut Part) -> Result<Fetched, ModelError> {
        let read = (&part.file).rewind().and_then(|()| digest::of_rest(&part.file));
        let digest = read.map_err(ModelError::disk("read", &part.path))?;
        Ok(Fetched::Whole { sha256: digest.finish() })
    }

    /// Keeps the ETag of what is being written beside it, for the next process.
    fn remember(&self, part: &Part, response: &Response<Body>) {
        self.forget(part);
        let strong = |etag: &&str| etag.starts_with('"') && etag.len() <= MAX_ETAG;
        if let Some(etag) = text(response, ETAG).filter(strong) {
            // Without it the next process starts from the beginning, or relies on the checksum.
            let _ = fs::write(etag_path(part), etag);
        }
    }

    fn etag(&self, part: &Part) -> Option<String> {
        let etag = fs::read_to_string(etag_path(part)).ok()?;
        (etag.starts_with('"') && etag.len() <= MAX_ETAG).then_some(etag)
    }

    /// Forgets the ETag of a part that is no more.
    pub(super) fn forget(&self, part: &Part) {
        // It does no harm where it is: it is written anew with the next part.
        let _ = fs::remove_file(etag_path(part));
    }
}

fn etag_path(part: &Part) -> PathBuf {
    part_path(&part.path, ".etag")
}

fn text(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn is_on_this_machine(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Whether a 206 holds the bytes from `from` on: `Content-Range: bytes 100-199/200`.
fn starts_at(response: &Response<Body>, from: u64) -> bool {
    let range = text(response, CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
    let first = range.and_then(|range| range.split_once('-')).map(|(first, _)| first.trim());
    first.and_then(|first| first.parse::<u64>().ok()) == Some(from)
}
