use CallbackPolicy::{Any, Lan, Public};

use super::*;

/// The widest-meshed policy that allows an address, `None` where none does.
fn least(address: &str) -> Option<CallbackPolicy> {
    let address: IpAddr = address.parse().expect("an address");
    let allowing: Vec<_> = [Public, Lan, Any]
        .into_iter()
        .filter(|policy| check_address(address, *policy).is_ok())
        .collect();
    // A looser policy allows whatever a stricter one does.
    assert!([&[][..], &[Any], &[Lan, Any], &[Public, Lan, Any]].contains(&&allowing[..]));
    allowing.first().copied()
}

/// Both ends of every block of the two IANA special-purpose registries, and the neighbours that
/// are ordinary.
#[test]
fn every_special_block_has_its_policy() {
    #[rustfmt::skip]
    let table: &[(&str, Option<CallbackPolicy>)] = &[
        // 0.0.0.0/8 this network
        ("0.0.0.0", None), ("0.255.255.255", None), ("1.0.0.0", Some(Public)),
        // 10.0.0.0/8 private use
        ("9.255.255.255", Some(Public)), ("10.0.0.0", Some(Lan)), ("10.255.255.255", Some(Lan)),
        ("11.0.0.0", Some(Public)),
        // 100.64.0.0/10 shared address space
        ("100.63.255.255", Some(Public)), ("100.64.0.0", Some(Lan)), ("100.127.255.255", Some(Lan)),
        ("100.128.0.0", Some(Public)),
        // 127.0.0.0/8 loopback
        ("126.255.255.255", Some(Public)), ("127.0.0.0", Some(Any)), ("127.255.255.255", Some(Any)),
        ("128.0.0.0", Some(Public)),
        // 169.254.0.0/16 link-local, the clouds' metadata among them
        ("169.253.255.255", Some(Public)), ("169.254.0.0", Some(Any)), ("169.254.169.254", Some(Any)),
        ("169.254.255.255", Some(Any)), ("169.255.0.0", Some(Public)),
        // 172.16.0.0/12 private use
        ("172.15.255.255", Some(Public)), ("172.16.0.0", Some(Lan)), ("172.31.255.255", Some(Lan)),
        ("172.32.0.0", Some(Public)),
        // 192.0.0.0/24 protocol assignments: DS-Lite, dummy, PCP, TURN, NAT64 discovery
        ("191.255.255.255", Some(Public)), ("192.0.0.0", None), ("192.0.0.7", None),
        ("192.0.0.8", None), ("192.0.0.9", None), ("192.0.0.10", None), ("192.0.0.170", None),
        ("192.0.0.171", None), ("192.0.0.255", None), ("192.0.1.0", Some(Public)),
        // 192.0.2.0/24 documentation
        ("192.0.2.0", None), ("192.0.2.255", None), ("192.0.3.0", Some(Public)),
        // 192.31.196.0/24 AS112, 192.52.193.0/24 AMT, 192.175.48.0/24 AS112: global
        ("192.31.196.1", Some(Public)), ("192.52.193.1", Some(Public)), ("192.175.48.1", Some(Public)),
        // 192.88.99.0/24 6to4 relay anycast, deprecated
        ("192.88.98.255", Some(Public)), ("192.88.99.0", None), ("192.88.99.255", None),
        ("192.88.100.0", Some(Public)),
        // 192.168.0.0/16 private use
        ("192.167.255.255", Some(Public)), ("192.168.0.0", Some(Lan)),
        ("192.168.255.255", Some(Lan)), ("192.169.0.0", Some(Public)),
        // 198.18.0.0/15 benchmarking
        ("198.17.255.255", Some(Public)), ("198.18.0.0", Some(Any)), ("198.19.255.255", Some(Any)),
        ("198.20.0.0", Some(Public)),
        // 198.51.100.0/24, 203.0.113.0/24 documentation
        ("198.51.99.255", Some(Public)), ("198.51.100.0", None), ("198.51.100.255", None),
        ("198.51.101.0", Some(Public)), ("203.0.112.255", Some(Public)), ("203.0.113.0", None),
        ("203.0.113.255", None), ("203.0.114.0", Some(Public)),
        // 224.0.0.0/4 multicast, 240.0.0.0/4 reserved, broadcast
        ("223.255.255.255", Some(Public)), ("224.0.0.0", None), ("239.255.255.255", None),
        ("240.0.0.0", None), ("255.255.255.254", None), ("255.255.255.255", None),

        // ::/128 unspecified, ::1/128 loopback, ::/96 the retired IPv4-compatible form
        ("::", None), ("::1", Some(Any)), ("::2", None), ("::7f00:1", None), ("::8.8.8.8", None),
        // ::ffff:0:0/96 mapped
        ("::ffff:8.8.8.8", Some(Public)), ("::ffff:10.0.0.1", Some(Lan)),
        ("::ffff:127.0.0.1", Some(Any)), ("::ffff:0.0.0.0", None), ("::fffe:127.0.0.1", None),
        // ::ffff:0:0:0/96 stateless translation
        ("::ffff:0:127.0.0.1", None),
        // 64:ff9b::/96 NAT64, 64:ff9b:1::/48 local NAT64
        ("64:ff9b::808:808", Some(Public)), ("64:ff9b::c0a8:1", Some(Lan)),
        ("64:ff9b::7f00:1", Some(Any)), ("64:ff9b::a9fe:a9fe", Some(Any)), ("64:ff9b::e000:1", None),
        ("64:ff9b::1:0:0", None), ("64:ff9b:1::", Some(Any)),
        ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Some(Any)), ("64:ff9b:2::", None),
        // 100::/64 discard only, 100:0:0:1::/64 dummy prefix
        ("100::", None), ("100::ffff:ffff:ffff:ffff", None), ("100:0:0:1::1", None),
        // 2001::/23 protocol assignments: Teredo, PCP, TURN, DNS-SD, benchmarking, AMT, AS112,
        // ORCHID, ORCHIDv2, DRIP
        ("2001::", None), ("2001:0:4136:e378:8000:63bf:3fff:fdd2", None), ("2001:1::1", None),
        ("2001:1::2", None), ("2001:1::3", None), ("2001:2::", Some(Any)),
        ("2001:2:0:ffff:ffff:ffff:ffff:ffff", Some(Any)), ("2001:2:1::", None),
        ("2001:3::1", Some(Public)), ("2001:4:112::1", Some(Public)), ("2001:4:113::1", None),
        ("2001:10::1", None), ("2001:20::1", None), ("2001:30::1", None), ("2001:1ff:ffff::", None),
        ("2001:200::", Some(Public)),
        // 2001:db8::/32 and 3fff::/20 documentation
        ("2001:db7:ffff::", Some(Public)), ("2001:db8::", None), ("2001:db8:ffff::1", None),
        ("2001:db9::", Some(Public)), ("3ffe:ffff::", Some(Public)), ("3fff::", None),
        ("3fff:fff:ffff::", None), ("3fff:1000::", Some(Public)),
        // 2002::/16 6to4
        ("2002:808:808::1", Some(Public)), ("2002:a00:1::1", Some(Lan)),
        ("2002:7f00:1::1", Some(Any)), ("2002:e000:1::", None), ("2003::", Some(Public)),
        // 2620:4f:8000::/48 AS112
        ("2620:4f:8000::1", Some(Public)),
        // 2000::/3 global unicast; outside it nothing is given to anyone
        ("1fff:ffff::", None), ("2000::", Some(Public)), ("2606:4700:4700::1111", Some(Public)),
        ("4000::", None), ("5f00::1", None),
        // fc00::/7 unique local, fe80::/10 link-local, fec0::/10 the retired site-local
        ("fbff::", None), ("fc00::", Some(Lan)), ("fd00:ec2::254", Some(Lan)),
        ("fdff:ffff::", Some(Lan)), ("fe00::", None), ("fe80::", Some(Any)), ("febf::1", Some(Any)),
        ("fec0::1", None),
        // ff00::/8 multicast
        ("ff00::", None), ("ff02::1", None), ("ffff::", None),
    ];
    for (address, policy) in table {
        assert_eq!(least(address), *policy, "{address}");
    }
}

#[test]
fn literals_and_localhost_are_judged_at_submit() {
    for (host, policy) in [
        ("127.0.0.1", Some(Any)),
        ("127.0.0.1.", Some(Any)),
        ("127.0.0.1:8080", Some(Any)),
        ("user:word@127.0.0.1:8080", Some(Any)),
        ("8.8.8.8@127.0.0.1", Some(Any)),
        ("localhost", Some(Any)),
        ("LocalHost.", Some(Any)),
        ("a.localhost:80", Some(Any)),
        ("192.168.1.20", Some(Lan)),
        ("[::1]", Some(Any)),
        ("[::1]:8080", Some(Any)),
        ("[::ffff:10.0.0.1]", Some(Lan)),
        ("[2606:4700:4700::1111]:8443", Some(Public)),
        ("0.0.0.0", None),
        ("[::]", None),
        ("example.com", Some(Public)),
        ("localhost.example.com", Some(Public)),
        ("9to5.example", Some(Public)),
    ] {
        let url = format!("http://{host}/hook?a=b");
        let first = [Public, Lan, Any].into_iter().find(|&p| check_url(&url, p).is_ok());
        assert_eq!(first, policy, "{url}");
    }
}

/// Forms that some resolvers read as an address: refused, whatever they would lead to.
#[test]
fn odd_forms_of_ipv4_are_refused() {
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.0x1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.256",
        "1.2.3.4.5",
        "example.0x",
        "10.0x1.",
    ] {
        let refused = check_url(&format!("http://{host}/"), Any).expect_err(host);
        assert!(matches!(refused, CallbackRefused::OddHost(_)), "{host}: {refused:?}");
    }
}

/// The last label of `127.0.0.1..` was looked at, which is empty, and the rest taken for a name.
#[test]
fn an_address_with_two_dots_behind_it_was_taken_for_a_name() {
    for host in ["127.0.0.1..", "localhost..", "127.0.0.1...", "example..com", ".example.com"] {
        let refused = check_url(&format!("http://{host}/"), Any);
        assert_eq!(refused, Err(CallbackRefused::NotAUrl), "{host}");
    }
}

#[test]
fn an_address_in_percent_encoding_was_taken_for_a_name() {
    for host in ["127%2e0%2e0%2e1", "%31%32%37.0.0.1", "local%68ost", "a%00b", "a!b", "a$b,c"] {
        let refused = check_url(&format!("http://{host}/"), Any);
        assert_eq!(refused, Err(CallbackRefused::NotAUrl), "{host}");
    }
}

/// What stood between the name and the last colon was not looked at.
#[test]
fn half_an_address_was_taken_for_a_name_and_a_port() {
    for authority in ["[2606:4700:@f700::1111]:4", "a:b]:80", "f700::1:80", "h:1:2"] {
        let refused = check_url(&format!("http://{authority}/"), Any);
        assert!(
            matches!(refused, Err(CallbackRefused::Port | CallbackRefused::NotAUrl)),
            "{authority}: {refused:?}"
        );
    }
}

#[test]
fn line_ends_behind_a_fragment_were_let_through() {
    for url in ["http://h/#\r\nX: y", "http://h#\0", "http://h/#\u{85}"] {
        assert_eq!(check_url(url, Any), Err(CallbackRefused::Control), "{url:?}");
    }
    assert_eq!(check_url("http://example.com/#part", Public), Ok(()));
}

#[test]
fn what_is_not_a_callback_is_refused() {
    for (url, why) in [
        ("", CallbackRefused::NotAUrl),
        ("/hook", CallbackRefused::NotAUrl),
        ("example.com", CallbackRefused::NotAUrl),
        ("http://", CallbackRefused::NotAUrl),
        ("http:///hook", CallbackRefused::NotAUrl),
        ("http://./hook", CallbackRefused::NotAUrl),
        ("http://exa mple.com/", CallbackRefused::NotAUrl),
        ("http://example.com/\r\nX: y", CallbackRefused::Control),
        ("http://[::1", CallbackRefused::NotAUrl),
        ("http://[fe80::1%25eth0]/", CallbackRefused::NotAUrl),
        ("ftp://example.com/", CallbackRefused::Scheme),
        ("file://host/etc/passwd", CallbackRefused::Scheme),
        ("http://example.com:0/", CallbackRefused::Port),
        ("http://example.com:65536/", CallbackRefused::Port),
        ("http://example.com:99999/", CallbackRefused::Port),
    ] {
        assert_eq!(check_url(url, Any), Err(why), "{url:?}");
    }
    let long = format!("http://example.com/{}", "a".repeat(LONGEST_URL));
    assert_eq!(check_url(&long, Any), Err(CallbackRefused::TooLong));
}

#[test]
fn https_needs_tls() {
    let checked = check_url("https://example.com/hook", Public);
    if cfg!(feature = "tls") {
        assert_eq!(checked, Ok(()));
    } else {
        assert_eq!(checked, Err(CallbackRefused::NoTls));
    }
}

#[test]
fn a_refusal_names_the_switch() {
    let refused = check_url("http://127.0.0.1/", Public).expect_err("loopback");
    let text = refused.to_string();
    assert!(text.contains("127.0.0.1"), "{text}");
    assert!(text.contains("`--callbacks public`"), "{text}");
    assert!(text.contains("`--callbacks any`"), "{text}");
    let refused = check_url("http://10.0.0.1/", Public).expect_err("private").to_string();
    assert!(refused.contains("`--callbacks lan`"), "{refused}");
    let refused = check_url("http://224.0.0.1/", Any).expect_err("multicast").to_string();
    assert!(refused.contains("never called"), "{refused}");
}

proptest::proptest! {
    /// Whatever a client writes is answered, on one line.
    #[test]
    fn any_text_is_answered(url in "(http://)?\\PC{0,40}") {
        if let Err(refused) = check_url(&url, Public) {
            proptest::prop_assert!(!refused.to_string().contains(['\r', '\n']));
        }
    }
}
