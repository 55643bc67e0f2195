//! Values with units, as they are typed: sizes, times, addresses.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes. Typed and shown as `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

/// Units of 1024 may be shortened to their letter, as elsewhere on a command line.
const UNITS: [(&[&str], u64); 9] = [
    (&["TiB", "T"], 1 << 40),
    (&["GiB", "G"], 1 << 30),
    (&["MiB", "M"], 1 << 20),
    (&["KiB", "K"], 1 << 10),
    (&["TB"], 1_000_000_000_000),
    (&["GB"], 1_000_000_000),
    (&["MB"], 1_000_000),
    (&["kB", "KB"], 1_000),
    (&["", "B"], 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        let wrong = || "give bytes with a unit, such as 512MiB, 20MB or 4GiB".to_owned();
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim();
        let (_, scale) = UNITS
            .into_iter()
            .find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(unit)))
            .ok_or_else(wrong)?;
        number.checked_mul(scale).map(ByteSize).ok_or_else(|| "that is too much".to_owned())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().filter(|(_, scale)| scale.is_power_of_two() && *scale > 1);
        match exact.into_iter().find(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale)) {
            Some((names, scale)) => write!(f, "{}{}", self.0 / scale, names[0]),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A time such as `24h` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("{error}; give a number with a unit, such as 500ms, 30s, 15m, 24h or 7days")
    })
}

/// An address to listen on: a host or IP address with a port.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let addrs = text.to_socket_addrs();
    addrs.ok().and_then(|mut addrs| addrs.next()).ok_or_else(|| {
        "give ADDRESS:PORT, such as 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:8080 for every network"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("4G", 4 << 30),
            ("20MB", 20_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "5 apples", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_it_was_shown(bytes: u64) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn no_text_breaks_the_readers(text in ".{0,20}") {
            // Neither may panic; what they say to nonsense does not matter here.
            let _ = text.parse::<ByteSize>();
            let _ = duration(&text);
        }
    }

    #[test]
    fn an_address_has_a_port() {
        assert_eq!(listen_address("127.0.0.1:0"), Ok("127.0.0.1:0".parse().expect("an address")));
        assert!(listen_address("8080").is_err());
        assert!(listen_address("127.0.0.1").is_err());
    }
}
