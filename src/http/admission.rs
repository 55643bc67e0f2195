//! Who is let in. The gate asks this of every head, before anything of the body is read: is the
//! request meant for this server, does it come from a page that may send it, whose is it, is that
//! client within its rate, and can what it brings be taken at all.

mod keys;
mod meter;
mod site;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use tiny_http::Request;

use self::keys::Keys;
use self::meter::Meter;
pub(crate) use self::site::Cors;
use self::site::Sites;
use super::header;
use super::problem::{Code, Problem};
use super::reply::Reply;
use super::routes::{self, Access};
use super::submit;
use crate::api_key::KeyId;
use crate::shared::Shared;

/// The field in which the gate says whose a request is.
pub(crate) const CLIENT_FIELD: &str = "Ringback-Client";

/// Whom the limits per client go by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientId {
    /// Who shows this key.
    Key(KeyId),
    /// Who comes from this address, without a key. Of an IPv6 address only the network (the first
    /// 64 bits) counts: one client has all the others.
    Address(IpAddr),
}

impl ClientId {
    /// A client without a key.
    pub(crate) fn of_address(address: IpAddr) -> ClientId {
        ClientId::Address(match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
            }
            other => other,
        })
    }

    /// It is on this machine, and has shown no key.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, ClientId::Address(address) if address.is_loopback())
    }

    /// Among whose jobs repeats are looked for: those of the same key. All clients without one are
    /// as one, so that a client whose address changes still finds its job.
    pub(crate) fn scope(&self) -> &str {
        match self {
            ClientId::Key(id) => id.as_str(),
            ClientId::Address(_) => "",
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientId::Key(id) => f.write_str(id.as_str()),
            ClientId::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for ClientId {
    type Err = ();

    fn from_str(text: &str) -> Result<ClientId, ()> {
        match text.parse() {
            Ok(id) => Ok(ClientId::Key(id)),
            Err(()) => text.parse().map(ClientId::Address).map_err(|_| ()),
        }
    }
}

/// Whose request it is, as the gate says.
pub(crate) fn client_of(request: &Request) -> Result<ClientId, Problem> {
    let named = header::find(request, CLIENT_FIELD).and_then(|client| client.parse().ok());
    named.ok_or_else(|| Problem::internal("a request came past the gate"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_without_a_key_are_told_apart_by_their_network() {
        let client = |address: &str| ClientId::of_address(address.parse().unwrap());
        assert_eq!(client("203.0.113.7"), client("::ffff:203.0.113.7"));
        assert_ne!(client("203.0.113.7"), client("203.0.113.8"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::2:3"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::1").to_string(), "::1");
    }

    #[test]
    fn a_client_reads_back_as_it_was_shown() {
        let key: crate::ApiKey = "0123456789abcdef".parse().unwrap();
        for client in [
            ClientId::Key(key.id()),
            ClientId::of_address("192.0.2.1".parse().unwrap()),
            ClientId::of_address("2001:db8::1".parse().unwrap()),
        ] {
            assert_eq!(client.to_string().parse(), Ok(client));
        }
        assert_eq!("somebody".parse::<ClientId>(), Err(()));
    }
}
