//! A callback's URL, and the addresses that may be called.
//!
//! Whatever `public` takes is judged again by others: the host is taken out of the text as browsers do
//! it, percent-decoded and folded to ASCII, and given to the C library, which reads every spelling of an
//! address that a resolver reads (octal, hexadecimal, fewer parts). If it finds an address, that must
//! be a global one, and spelled as addresses are. No name is looked up.

#![no_main]

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use ringback::fuzzing::{callback, may_connect};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        check_address(four.into());
    }
    if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        check_address(sixteen.into());
    }
    let Ok(url) = std::str::from_utf8(bytes) else { return };
    let said = callback(url);
    let [public, lan, any] = &said.refused;
    for refusal in [public, lan, any].into_iter().flatten() {
        assert!(!refusal.contains(['\r', '\n', '\0']), "{refusal:?}");
    }
    assert!(public.is_some() || lan.is_none(), "`lan` takes what `public` takes");
    assert!(lan.is_some() || any.is_none(), "`any` takes what `lan` takes");
    let called = said.called.as_deref().unwrap_or_default();
    if any.is_none() {
        check_shape(called);
    }
    if public.is_none() {
        let host = host(called);
        assert!(said.literal.is_none_or(|literal| is_global(literal.ip())), "{:?}", said.literal);
        if let Some(address) = numeric(&folded(&host)) {
            assert!(is_global(address), "{host:?} leads to {address}");
            assert_eq!(Some(address), literal(&host), "an odd spelling was taken");
        }
        let name = folded(&host);
        let name = name.trim_end_matches('.');
        assert!(name != "localhost" && !name.ends_with(".localhost"), "{host:?}");
    }
});

fn check_address(address: IpAddr) {
    assert!(!may_connect(address) || is_global(address), "{address}");
}

/// A URL that is called under any rule is visible ASCII: nothing in it ends a line or a header. Each byte
/// of the client's 2,048 may have been encoded as three.
fn check_shape(url: &str) {
    assert!(url.len() <= 3 * 2048 && url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?}");
    let scheme = url.split_once("://").expect("absolute").0.to_ascii_lowercase();
    assert_eq!(scheme, "http", "without TLS there is no other");
    assert!(host(url).is_ascii() && !host(url).contains('%'), "{url:?}");
}

/// The host as the URL standard finds it: between the last `@` and the port.
fn host(url: &str) -> String {
    let rest = url.split_once("://").expect("absolute").1;
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.find(']') {
        Some(end) => host[..=end].to_owned(),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    }
}

/// Percent-decoded, in ASCII where wide forms and the dots of other scripts stand for that, in lower case.
fn folded(host: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = host.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = behind.first_chunk::<2>().and_then(|two| std::str::from_utf8(two).ok());
        match (first, escaped.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &behind[2..];
            }
            _ => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    let ascii = |c: char| match c {
        '\u{3002}' | '\u{ff61}' => '.',
        '\u{ff01}'..='\u{ff5e}' => char::from((c as u32 - 0xfee0) as u8),
        _ => c.to_ascii_lowercase(),
    };
    String::from_utf8_lossy(&decoded).chars().map(ascii).collect()
}

/// The address that the host is written as.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.strip_suffix('.').unwrap_or(host).parse().ok().map(IpAddr::V4),
    }
}

/// The address that the C library takes the host for.
fn numeric(host: &str) -> Option<IpAddr> {
    let host = host.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']');
    let host = CString::new(host).ok()?;
    // SAFETY: all of it is zero but the flags, as the interface asks for.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = libc::AI_NUMERICHOST;
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut found = std::ptr::null_mut();
    // SAFETY: the host is ended by a zero, and the pointers live through the call.
    let status = unsafe { libc::getaddrinfo(host.as_ptr(), std::ptr::null(), &hints, &mut found) };
    if status != 0 {
        return None;
    }
    // SAFETY: on success there is one result at least, of the family that it names.
    let address = unsafe {
        match (*found).ai_family {
            libc::AF_INET => {
                let address = &*(*found).ai_addr.cast::<libc::sockaddr_in>();
                IpAddr::from(Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr)))
            }
            _ => IpAddr::from((*(*found).ai_addr.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr),
        }
    };
    // SAFETY: it came from the call above.
    unsafe { libc::freeaddrinfo(found) };
    Some(address)
}

/// Whether an address is one of the whole internet, by the standard library's words as far as it has them.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || address.is_unspecified();
    !is_special
        && a != 0
        && a < 240
        && !(a == 100 && b & 0xc0 == 64)
        && !(a == 198 && b & 0xfe == 18)
        && ![(192, 0, 0), (192, 88, 99)].contains(&(a, b, c))
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        is_global_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_global_v4(v4);
    }
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Protocol assignments, of which the AMT and the AS112 services are global.
        [0x2001, 3, ..] | [0x2001, 4, 0x112, ..] => true,
        [0x2001, 0..=0x1ff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}
