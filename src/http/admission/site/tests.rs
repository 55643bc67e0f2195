use super::*;

fn sites(listen: &str, hosts: &[&str], origins: &[&str]) -> Sites {
    let config = Config {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        cors_origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        ..Config::default()
    };
    Sites::new(&config, listen.parse().unwrap())
}

/// Looks at a request with these fields.
fn with<T>(
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    look: impl FnOnce(&Knock<'_>) -> T,
) -> T {
    let fields: Vec<httparse::Header<'_>> = fields
        .iter()
        .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
        .collect();
    look(&Knock { peer: [127, 0, 0, 1].into(), method, target, fields: &fields })
}

fn takes_host(sites: &Sites, host: &str) -> bool {
    with("GET", "/", &[("Host", host)], |knock| sites.check_host(knock).is_ok())
}

#[test]
fn a_name_that_was_made_to_lead_to_loopback_is_refused() {
    let loopback = sites("127.0.0.1:8080", &["jobs.example.com"], &[]);
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]:8080",
        "jobs.example.com",
        "Jobs.Example.Com:443",
    ] {
        assert!(takes_host(&loopback, host), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a:b:c"] {
        assert!(!takes_host(&loopback, host), "{host}");
    }
    let absolute =
        |target| with("GET", target, &[("Host", "localhost")], |knock| loopback.check_host(knock));
    assert!(absolute("http://evil.example/jobs").is_err());
    assert!(absolute("http://localhost:8080?x").is_ok());
    assert!(absolute("/?u=http://evil.example/").is_ok());
    assert!(takes_host(&sites("[::1]:8080", &[], &[]), "[::1]"));
}

#[test]
fn elsewhere_any_name_will_do_until_one_is_given() {
    assert!(takes_host(&sites("0.0.0.0:8080", &[], &[]), "nas.local"));
    let named = sites("0.0.0.0:8080", &["jobs.example.com"], &[]);
    assert!(takes_host(&named, "jobs.example.com"));
    assert!(takes_host(&named, "203.0.113.7:8080"));
    assert!(!takes_host(&named, "nas.local"));
}

fn may(sites: &Sites, method: &str, fields: &[(&str, &str)]) -> bool {
    let fields = [&[("Host", "localhost:8080")], fields].concat();
    with(method, "/jobs", &fields, |knock| sites.check_site(knock, &sites.cors(knock)).is_ok())
}

#[test]
fn pages_on_other_sites_may_not_use_the_server() {
    let ours = sites("127.0.0.1:8080", &[], &["https://app.example"]);
    let (site, mode, origin) = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Origin");
    for (method, fields) in [
        // Not a browser.
        ("POST", &[][..]),
        ("POST", &[(site, "same-origin"), (origin, "http://localhost:8080")]),
        ("POST", &[(site, "none")]),
        ("POST", &[(origin, "http://localhost:8080")]),
        ("POST", &[(origin, "https://LOCALHOST:8080")]),
        ("GET", &[(site, "cross-site"), (mode, "navigate")]),
        ("POST", &[(site, "cross-site"), (origin, "https://app.example")]),
        ("DELETE", &[(origin, "https://app.example")]),
        ("GET", &[(origin, "https://evil.example")]),
    ] {
        assert!(may(&ours, method, fields), "{method} {fields:?}");
    }
    for (method, fields) in [
        ("POST", &[(site, "cross-site")][..]),
        // Another port of the same host is the same site, and not the same origin.
        ("POST", &[(site, "same-site"), (origin, "http://localhost:3000")]),
        ("POST", &[(site, "cross-site"), (mode, "navigate")]),
        ("DELETE", &[(origin, "http://localhost:3000")]),
        ("POST", &[(origin, "null")]),
        ("POST", &[(origin, "https://evil.example")]),
        ("GET", &[(site, "cross-site"), (mode, "no-cors")]),
        ("POST", &[(origin, "https://app.example.evil.example")]),
    ] {
        assert!(!may(&ours, method, fields), "{method} {fields:?}");
    }
}

#[test]
fn a_named_site_is_told_that_it_may() {
    let ours = sites("127.0.0.1:8080", &[], &["https://app.example"]);
    let asks = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")];
    with("OPTIONS", "/jobs", &asks, |knock| {
        let cors = ours.cors(knock);
        assert_eq!(cors.preflight(knock).unwrap().status(), 204);
        assert!(cors.fields().contains("Access-Control-Allow-Origin: https://app.example\r\n"));
    });
    with("OPTIONS", "/jobs", &asks[..1], |knock| {
        assert!(ours.cors(knock).preflight(knock).is_none());
    });
    let other = [("Origin", "https://other.example"), ("Access-Control-Request-Method", "POST")];
    with("OPTIONS", "/jobs", &other, |knock| {
        let cors = ours.cors(knock);
        assert!(cors.preflight(knock).is_none());
        assert_eq!(cors.fields(), "Vary: Origin\r\n");
    });
    let none = sites("127.0.0.1:8080", &[], &[]);
    with("GET", "/jobs", &asks, |knock| assert_eq!(none.cors(knock), Cors::default()));
    let all = sites("127.0.0.1:8080", &[], &["*"]);
    with("POST", "/jobs", &other, |knock| assert!(all.cors(knock).origin.is_some()));
}
