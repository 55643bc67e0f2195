//! Who may be called. A callback URL comes from a client and is called from inside: without a rule
//! it reaches whatever this machine reaches, a router's page or a cloud's metadata included.
//!
//! [`check_url`] looks at the text when a job is submitted, without asking the DNS.
//! [`check_address`] looks at every address about to be connected to, so that a name which leads
//! elsewhere by then gains nothing. [`spelled`] encodes what may stand in no URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::config::CallbackPolicy;

mod spelling;

pub(crate) use spelling::{masked, spelled, without_user};

/// The longest callback URL taken, in bytes.
const LONGEST_URL: usize = 2048;

/// Why a callback is not taken, in words for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallbackRefused {
    /// Longer than [`LONGEST_URL`].
    TooLong,
    /// Not an absolute URL with a host.
    NotAUrl,
    /// With a character that ends a line, or the like.
    Control,
    /// With `\\`, which is `/` to some and nothing to others.
    Backslash,
    /// With a `%` that no two hexadecimal digits follow.
    Percent,
    /// With a second `@` before the host.
    AtSign,
    /// With a host in other letters than ASCII.
    NotAscii(String),
    /// Neither `http` nor `https`.
    Scheme,
    /// `https`, in a program built without TLS.
    NoTls,
    /// The port is not a number from 1 to 65535.
    Port,
    /// A host such as `127.1`, which is an address to some and a name to others.
    OddHost(String),
    /// The rule forbids the address.
    Address {
        /// What the URL, or the name in it, leads to.
        host: String,
        /// What kind of address that is.
        kind: &'static str,
        /// The rule in force.
        policy: CallbackPolicy,
        /// The rule that would allow it, where one does.
        needs: Option<CallbackPolicy>,
    },
}

impl fmt::Display for CallbackRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallbackRefused::TooLong => {
                write!(f, "the callback is longer than {LONGEST_URL} bytes")
            }
            CallbackRefused::NotAUrl => f.write_str(
                "the callback is not a URL: give an absolute one such as https://example.com/hook",
            ),
            CallbackRefused::Control => f.write_str(
                "the callback has a tab, a line's end or another control character in it: \
                 give the URL on one line",
            ),
            CallbackRefused::Backslash => f.write_str(
                "the callback has a backslash in it, which programs read in different ways: write \
                 / between the parts of a path, and %5C for a backslash itself",
            ),
            CallbackRefused::Percent => f.write_str(
                "the callback has a % that two hexadecimal digits do not follow: write %25 for a \
                 percent sign itself",
            ),
            CallbackRefused::AtSign => f.write_str(
                "the callback has two @ before its host: write %40 for the one in the user or \
                 password",
            ),
            CallbackRefused::NotAscii(host) => write!(
                f,
                "the callback's host {host:?} is not in ASCII: give the name as the DNS has it, \
                 with xn--"
            ),
            CallbackRefused::Scheme => {
                f.write_str("the callback's URL must begin with http:// or https://")
            }
            CallbackRefused::NoTls => f.write_str(
                "this server was built without TLS and calls http:// only: give an http:// \
                 callback, or build with the feature `tls`",
            ),
            CallbackRefused::Port => {
                f.write_str("the callback's port must be a number from 1 to 65535")
            }
            CallbackRefused::OddHost(host) => write!(
                f,
                "the callback's host {host:?} is neither a name nor an address: write an IPv4 \
                 address as four decimal numbers"
            ),
            CallbackRefused::Address { host, kind, policy, needs: Some(needs) } => write!(
                f,
                "the callback leads to {host}, {kind}, and this server runs with \
                 `--callbacks {policy}`: give an address that this allows, or start the server \
                 with `--callbacks {needs}`"
            ),
            CallbackRefused::Address { host, kind, policy: _, needs: None } => write!(
                f,
                "the callback leads to {host}, {kind}, which is never called, whatever \
                 `--callbacks` says: give the receiver's own address"
            ),
        }
    }
}

impl std::error::Error for CallbackRefused {}

/// Whether jobs with this callback are taken. Asks no DNS: of a name only `localhost` is judged.
pub(crate) fn check_url(url: &str, policy: CallbackPolicy) -> Result<(), CallbackRefused> {
    if url.len() > LONGEST_URL {
        return Err(CallbackRefused::TooLong);
    }
    let url = spelled(url)?;
    if url.len() > LONGEST_URL {
        return Err(CallbackRefused::TooLong);
    }
    let uri: Uri = url.parse().map_err(|_| CallbackRefused::NotAUrl)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(CallbackRefused::NotAUrl);
    };
    match scheme {
        "http" => {}
        "https" if cfg!(feature = "tls") => {}
        "https" => return Err(CallbackRefused::NoTls),
        _ => return Err(CallbackRefused::Scheme),
    }
    check_port(authority)?;
    check_host(authority.host(), policy)
}

/// A port out of range would be read as none, and port 80 be called.
fn check_port(authority: &Authority) -> Result<(), CallbackRefused> {
    let text = authority.as_str();
    let after_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let after_host = after_user.strip_prefix(authority.host()).unwrap_or_default();
    match after_host {
        "" => Ok(()),
        _ if after_host.strip_prefix(':').is_some_and(is_port) => Ok(()),
        _ => Err(CallbackRefused::Port),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn check_host(host: &str, policy: CallbackPolicy) -> Result<(), CallbackRefused> {
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']').unwrap_or(literal);
        let address: Ipv6Addr = literal.parse().map_err(|_| CallbackRefused::NotAUrl)?;
        return check_address(address.into(), policy);
    }
    // A name may end in the root's dot.
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if !host.split('.').all(is_label) {
        return Err(CallbackRefused::NotAUrl);
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return check_address(address.into(), policy);
    }
    let last = host.rsplit('.').next().unwrap_or(&host);
    if is_number(last) {
        return Err(CallbackRefused::OddHost(host));
    }
    // RFC 6761: every name below `localhost` is this machine, too.
    if last == "localhost" {
        return judge(host, Reach::Local, "this machine itself", policy);
    }
    Ok(())
}

/// Whether this can be between the dots of a name that is called. Other characters come in percent-encoded
/// or not at all, and who decodes a host may find an address in it.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether resolvers take a host that ends in this label for an IPv4 address (URL standard, "ends
/// in a number checker").
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    hex.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        || (!label.is_empty() && label.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether a callback may connect to `address`.
pub(crate) fn check_address(
    address: IpAddr,
    policy: CallbackPolicy,
) -> Result<(), CallbackRefused> {
    let (reach, kind) = match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => classify_v4(v4),
            None => classify_v6(v6),
        },
    };
    judge(address.to_string(), reach, kind, policy)
}

fn judge(
    host: String,
    reach: Reach,
    kind: &'static str,
    policy: CallbackPolicy,
) -> Result<(), CallbackRefused> {
    let allowed = match policy {
        CallbackPolicy::Public => matches!(reach, Reach::Global),
        CallbackPolicy::Lan => matches!(reach, Reach::Global | Reach::Lan),
        CallbackPolicy::Any => matches!(reach, Reach::Global | Reach::Lan | Reach::Local),
    };
    if allowed {
        return Ok(());
    }
    let needs = match reach {
        Reach::Global => Some(CallbackPolicy::Public),
        Reach::Lan => Some(CallbackPolicy::Lan),
        Reach::Local => Some(CallbackPolicy::Any),
        Reach::Never => None,
    };
    Err(CallbackRefused::Address { host, kind, policy, needs })
}

/// How far an address reaches, which decides the rule that allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The whole internet.
    Global,
    /// A private network.
    Lan,
    /// This machine, its link, or its test bench.
    Local,
    /// No receiver can have it.
    Never,
}

/// A block of addresses that the IANA set aside: its first address, the length of its prefix in
/// bits, and what it is.
type Block<Ip> = (Ip, u32, Reach, &'static str);

/// The IPv4 special-purpose registry, without the blocks that are ordinary global addresses (the
/// AS112 and AMT services). All of 192.0.0.0/24 counts as reserved: its two global addresses are
/// anycast services of the nearest router, not receivers.
const V4_BLOCKS: &[Block<Ipv4Addr>] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reach::Never, "an unspecified address"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Lan, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Lan, "an address behind carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Local, "a loopback address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::Local, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Lan, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Never, "a reserved address"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Reach::Never, "an address for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Never, "a retired 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Lan, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Local, "an address for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Reach::Never, "an address for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Reach::Never, "an address for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reach::Never, "a multicast address"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Reach::Never, "the broadcast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reach::Never, "a reserved address"),
];

/// The IPv6 special-purpose registry; the first block that holds an address counts. Teredo is
/// retired and hides two IPv4 addresses, so it stays under 2001::/23, which is reserved but for
/// the two global services named.
const V6_BLOCKS: &[Block<Ipv6Addr>] = &[
    (v6(0, 0, 0, 0, 0, 0, 0, 0), 128, Reach::Never, "the unspecified address"),
    (v6(0, 0, 0, 0, 0, 0, 0, 1), 128, Reach::Local, "a loopback address"),
    (v6(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Reach::Local, "an address of a local translator"),
    (v6(0x2001, 3, 0, 0, 0, 0, 0, 0), 32, Reach::Global, "a global address"),
    (v6(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48, Reach::Global, "a global address"),
    (v6(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, Reach::Local, "an address for benchmarks"),
    (v6(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Never, "a reserved address"),
    (v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Reach::Never, "an address for documentation"),
    (v6(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Reach::Never, "an address for documentation"),
    (v6(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Reach::Global, "a global address"),
    (v6(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Lan, "a unique local address"),
    (v6(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Local, "a link-local address"),
    (v6(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Reach::Never, "a multicast address"),
];

#[expect(clippy::too_many_arguments, reason = "an address has eight segments")]
const fn v6(a: u16, b: u16, c: u16, d: u16, e: u16, f: u16, g: u16, h: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

fn classify_v4(address: Ipv4Addr) -> (Reach, &'static str) {
    let holds = |block: &&Block<Ipv4Addr>| {
        let (first, prefix, _, _) = **block;
        (address.to_bits() ^ first.to_bits()) >> (32 - prefix) == 0
    };
    let found = V4_BLOCKS.iter().find(holds);
    found.map_or((Reach::Global, "a global address"), |&(_, _, reach, kind)| (reach, kind))
}

fn classify_v6(address: Ipv6Addr) -> (Reach, &'static str) {
    let holds = |block: &&Block<Ipv6Addr>| {
        let (first, prefix, _, _) = **block;
        (address.to_bits() ^ first.to_bits()) >> (128 - prefix) == 0
    };
    // What the IETF has given to nobody is nobody's.
    let found = V6_BLOCKS.iter().find(holds);
    found.map_or((Reach::Never, "a reserved address"), |&(_, _, reach, kind)| (reach, kind))
}

/// The IPv4 address that a connection to `address` ends at: of the mapped (::ffff:0:0/96), the
/// NAT64 (64:ff9b::/96, RFC 6052) and the 6to4 form (2002::/16, RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
