//! The rules about callbacks, for any text and any address.

use std::net::{IpAddr, SocketAddr};

use ureq::http::Uri;
use ureq::unversioned::resolver::DefaultResolver;

use super::{check_address, check_url, spelled};
use crate::config::CallbackPolicy;

/// What is said of a callback.
#[derive(Debug)]
pub struct Callback {
    /// Under `public`, `lan` and `any`: nothing, or why it is refused.
    pub refused: [Option<String>; 3],
    /// The URL that is called: the client's, percent-encoded where that is needed.
    pub called: Option<String>,
    /// Where it leads without the DNS, as the resolver reads it.
    pub literal: Option<SocketAddr>,
}

/// Looks at the text of a callback.
pub fn callback(url: &str) -> Callback {
    let policies = [CallbackPolicy::Public, CallbackPolicy::Lan, CallbackPolicy::Any];
    Callback {
        refused: policies.map(|policy| check_url(url, policy).err().map(|why| why.to_string())),
        literal: spelled(url).ok().and_then(|url| literal(&url.parse().ok()?)),
        called: spelled(url).ok(),
    }
}

/// Whether `public` allows a connection to this address.
pub fn may_connect(address: IpAddr) -> bool {
    check_address(address, CallbackPolicy::Public).is_ok()
}

fn literal(uri: &Uri) -> Option<SocketAddr> {
    let (scheme, authority) = uri.scheme().zip(uri.authority())?;
    DefaultResolver::host_and_port(scheme, authority)?.parse().ok()
}
