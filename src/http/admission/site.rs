//! What a browser says of where a request comes from and where it is meant to go. Other programs
//! say what they like; browsers are what other people's pages make requests with.

use std::net::{IpAddr, SocketAddr};

use super::Knock;
use crate::config::{Config, CorsOrigin};
use crate::http::problem::{Code, Problem, quoted};
use crate::http::reply::Reply;

/// What a page on another site may send, and read of an answer (Fetch standard, CORS protocol).
const METHODS: &str = "GET, HEAD, POST, DELETE";
const REQUEST_FIELDS: &str = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Prefer";
const ANSWER_FIELDS: &str = "Location, Retry-After, ETag, Preference-Applied, Idempotent-Replayed, \
                             Ringback-Coalesced, WWW-Authenticate, Content-Disposition";
/// For how many seconds a browser need not ask again.
const PREFLIGHT_AGE: u32 = 600;

/// The names of this server, and the sites that may use it.
pub(super) struct Sites {
    /// Names under which it may be spoken to; `None` where any will do.
    hosts: Option<Vec<String>>,
    origins: Vec<CorsOrigin>,
}

/// What is told to the page that a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cors {
    /// The page's origin, where it may read the answer.
    origin: Option<String>,
    /// Whether the answer might have been another one for another origin.
    varies: bool,
}

impl Sites {
    pub(super) fn new(config: &Config, addr: SocketAddr) -> Sites {
        // A page whose name was made to lead to a private address is of the same origin as what it
        // finds there. Elsewhere nobody knows by which names a server goes, unless told.
        let checked = addr.ip().is_loopback() || !config.hosts.is_empty();
        Sites { hosts: checked.then(|| config.hosts.clone()), origins: config.cors_origins.clone() }
    }

    /// Refuses a request that was meant for a server of another name.
    pub(super) fn check_host(&self, knock: &Knock<'_>) -> Result<(), Problem> {
        let (Some(hosts), Some(authority)) = (&self.hosts, authority(knock)) else {
            return Ok(());
        };
        let host = host_of(authority);
        let is_ours = host.eq_ignore_ascii_case("localhost")
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || hosts.iter().any(|name| name.eq_ignore_ascii_case(host));
        if is_ours {
            return Ok(());
        }
        let detail = format!(
            "This server does not go by the name {}. Use its address, or start it with `--host`.",
            quoted(host)
        );
        Err(Problem::new(Code::HostRefused, detail))
    }

    /// Refuses what a page on another site has its visitor's browser send: all but the following of
    /// a link.
    pub(super) fn check_site(&self, knock: &Knock<'_>, cors: &Cors) -> Result<(), Problem> {
        if cors.origin.is_some() {
            return Ok(());
        }
        let is_link = knock.is_safe() && knock.field("Sec-Fetch-Mode") == Some("navigate");
        let is_foreign = match (knock.field("Sec-Fetch-Site"), knock.field("Origin")) {
            (Some("same-origin" | "none"), _) => false,
            (Some(_), _) => !is_link,
            (None, Some(origin)) => !knock.is_safe() && !is_same(origin, authority(knock)),
            (None, None) => false,
        };
        if is_foreign {
            let detail = "A page on another site may not do this, unless `--cors-origin` names it.";
            return Err(Problem::new(Code::CrossSite, detail));
        }
        Ok(())
    }

    /// What the page that a request comes from is told.
    pub(super) fn cors(&self, knock: &Knock<'_>) -> Cors {
        let origin = knock.field("Origin").filter(|origin| {
            self.origins.iter().any(|allowed| match allowed {
                CorsOrigin::Any => true,
                CorsOrigin::Named(name) => name.eq_ignore_ascii_case(origin),
            })
        });
        Cors { origin: origin.map(str::to_owned), varies: !self.origins.is_empty() }
    }
}

impl Cors {
    /// The answer to a browser that asks whether its page may send something; `None` for any other
    /// request, and for pages that may not.
    pub(super) fn preflight(&self, knock: &Knock<'_>) -> Option<Reply> {
        let asks =
            knock.method == "OPTIONS" && knock.field("Access-Control-Request-Method").is_some();
        (asks && self.origin.is_some()).then(|| {
            Reply::empty(204)
                .with("Access-Control-Allow-Methods", METHODS)
                .with("Access-Control-Allow-Headers", REQUEST_FIELDS)
                .with("Access-Control-Max-Age", PREFLIGHT_AGE.to_string())
        })
    }

    /// The fields that an answer gets, with their line ends.
    pub(crate) fn fields(&self) -> String {
        let mut fields = String::new();
        if self.varies {
            fields.push_str("Vary: Origin\r\n");
        }
        if let Some(origin) = &self.origin {
            // It is ASCII without control characters, as all of a head that is taken.
            fields.push_str(&format!(
                "Access-Control-Allow-Origin: {origin}\r\n\
                 Access-Control-Expose-Headers: {ANSWER_FIELDS}\r\n"
            ));
        }
        fields
    }
}

/// Whom the request is meant for: the target says it, or else `Host` (RFC 9112, 3.2.2).
fn authority<'a>(knock: &Knock<'a>) -> Option<&'a str> {
    match knock.target.split_once("://") {
        Some((_, rest)) if !knock.target.starts_with('/') => rest.split(['/', '?']).next(),
        _ => knock.field("Host"),
    }
}

/// A host without its port.
fn host_of(authority: &str) -> &str {
    match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// Whether a page is one of the server that the request is meant for. A proxy in front may speak
/// https where this server does not, so that the scheme is left out.
fn is_same(origin: &str, authority: Option<&str>) -> bool {
    let page = origin.split_once("://").map(|(_, page)| page);
    matches!((page, authority), (Some(page), Some(here)) if page.eq_ignore_ascii_case(here))
}

#[cfg(test)]
mod tests;
