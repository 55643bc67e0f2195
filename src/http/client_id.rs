//! Whose a request is: what keys, rates and shares go by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use tiny_http::Request;

use super::header;
use super::problem::Problem;
use crate::api_key::KeyId;

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
    /// Whose request it is, as the gate says.
    pub(crate) fn of(request: &Request) -> Result<ClientId, Problem> {
        let named = header::find(request, CLIENT_FIELD).and_then(|client| client.parse().ok());
        named.ok_or_else(|| Problem::internal("a request came past the gate"))
    }

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

    /// It may be a proxy on this machine, and then is all clients. Programs that do not ask for another
    /// address connect from the first one of loopback.
    pub(crate) fn may_be_proxy(&self) -> bool {
        let first = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        matches!(self, ClientId::Address(address) if first.contains(address))
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
