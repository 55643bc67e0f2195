//! Who is let in. The gate asks this of every head, before anything of the body is read: is the
//! request meant for this server, does it come from a page that may send it, whose is it, is that
//! client within its rate, and can what it brings be taken at all.

mod keys;
mod meter;
mod site;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use self::keys::Keys;
use self::meter::Meter;
pub(crate) use self::site::Cors;
use self::site::Sites;
use super::client_id::ClientId;
use super::problem::{Code, Problem};
use super::reply::Reply;
use super::routes::{self, Access};
use super::submit;
use crate::shared::Shared;

/// What is known of a request when its head has come.
pub(crate) struct Knock<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: &'a [httparse::Header<'a>],
}

impl<'a> Knock<'a> {
    /// The value of the first field of this name, where it is ASCII.
    fn field(&self, name: &str) -> Option<&'a str> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value.trim_ascii()).ok().filter(|value| value.is_ascii())
    }

    /// It asks to see something, and to change nothing.
    fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS")
    }
}

/// What becomes of a request.
pub(crate) struct Judgement {
    /// What a page on another site is told with the answer, whatever that is.
    pub(crate) cors: Cors,
    pub(crate) verdict: Result<Admitted, Problem>,
}

/// A request that is not refused.
pub(crate) enum Admitted {
    /// It goes on as this client's.
    As(ClientId),
    /// It is answered by this; it was a browser's question whether a request may come.
    Answered(Box<Reply>),
}

/// Judges heads.
pub(crate) struct Admission {
    shared: Arc<Shared>,
    keys: Keys,
    sites: Sites,
    meter: Option<Meter>,
}

impl Admission {
    pub(crate) fn new(shared: Arc<Shared>) -> Admission {
        let config = &shared.config;
        Admission {
            keys: Keys::new(&config.api_keys),
            sites: Sites::new(config, shared.addr),
            meter: config.rate(shared.addr).map(Meter::new),
            shared,
        }
    }

    /// Looks at a head.
    pub(crate) fn judge(&self, knock: &Knock<'_>) -> Judgement {
        let cors = self.sites.cors(knock);
        let asked = routes::asked(knock.method, knock.target);
        let verdict = self.admit(knock, &cors, asked);
        if let (Err(problem), Access::Submission { .. }) = (&verdict, asked) {
            submit::count_refusal(&self.shared, problem);
        }
        Judgement { cors, verdict }
    }

    fn admit(
        &self,
        knock: &Knock<'_>,
        cors: &Cors,
        asked: Access<'_>,
    ) -> Result<Admitted, Problem> {
        self.sites.check_host(knock)?;
        let shown = self.keys.shown(knock.field("Authorization"));
        let client = match &shown {
            Ok(Some(id)) => ClientId::Key(id.clone()),
            // Whoever tries keys out is counted by the address.
            Ok(None) | Err(_) => ClientId::of_address(knock.peer),
        };
        self.check_rate(&client)?;
        if let Some(answer) = cors.preflight(knock) {
            return Ok(Admitted::Answered(Box::new(answer)));
        }
        self.sites.check_site(knock, cors)?;
        if asked != Access::Everybody {
            shown?;
        }
        if let Access::Submission { contract, query } = asked {
            let announced = submit::Announced {
                content_type: knock.field("Content-Type"),
                content_encoding: knock.field("Content-Encoding"),
                idempotency_key: knock.field("Idempotency-Key"),
                length: knock.field("Content-Length").and_then(|length| length.parse().ok()),
            };
            submit::check_announced(&self.shared, &client, contract, query, &announced)?;
        }
        Ok(Admitted::As(client))
    }

    fn check_rate(&self, client: &ClientId) -> Result<(), Problem> {
        let Some(meter) = &self.meter else { return Ok(()) };
        meter.take(client, Instant::now()).map_err(|wait| {
            let detail = format!(
                "More than {} requests a second came from you (`--rate`). Wait a little.",
                meter.per_second()
            );
            Problem::new(Code::TooManyRequests, detail).retry_after(wait.as_secs() + 1)
        })
    }
}
