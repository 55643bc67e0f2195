use proptest::prelude::*;

use super::*;

const CALLER: Caller =
    Caller { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), connection: 4711 };

fn parse(head: &[u8]) -> Result<Head, u16> {
    let parsed =
        Head::parse(head, CALLER, |knock| Ok(Admitted::As(ClientId::of_address(knock.peer))));
    match parsed.map_err(|problem| problem.reply().status())? {
        Parsed::Request(head) => Ok(head),
        Parsed::Answered(reply) => panic!("nobody answers here: {reply:?}"),
    }
}

/// A POST with these further fields.
fn post(fields: &str) -> Result<Head, u16> {
    parse(format!("POST /jobs HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes())
}

#[test]
fn what_goes_on_is_written_anew() {
    let head = parse(
        b"POST /jobs?a=1 HTTP/1.1\r\nHost: h\r\nX-One:  two \r\nConnection: close, X-Gone\r\n\
          x-gone: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nRINGBACK-Client: 1.2.3.4\r\n\
          Ringback-Secret: 00\r\nRingback-Length: 1\r\nCookie: \xff\r\nAuthorization: Bearer k\r\nProxy-Authorization: x\r\nContent-Length: 5\r\n\r\n",
    )
    .unwrap();
    assert_eq!((head.framing, head.persistence), (Framing::Length(5), Persistence::Close));
    assert!(head.expects_continue);
    let passed = "POST /jobs?a=1 HTTP/1.1\r\nHost: h\r\nX-One: two\r\n\
                  Ringback-Connection: 4711\r\nRingback-Client: 127.0.0.1\r\nConnection: close\r\n";
    let secret = Secret::new().unwrap();
    for (framing, fields) in [
        (InnerFraming::None, ""),
        (InnerFraming::Whole(5), "Content-Length: 5\r\n"),
        (InnerFraming::Pieces(None), "Transfer-Encoding: chunked\r\n"),
        (InnerFraming::Pieces(Some(5)), "Transfer-Encoding: chunked\r\nRingback-Length: 5\r\n"),
        (
            InnerFraming::OnDemand(Some(5)),
            "Transfer-Encoding: chunked\r\nRingback-Length: 5\r\nExpect: 100-continue\r\n",
        ),
    ] {
        let sent = String::from_utf8(head.for_inner(framing, &secret)).unwrap();
        assert_eq!(sent, format!("{passed}{fields}{}\r\n", secret.line()));
    }
}

#[test]
fn the_host_was_left_out_where_the_client_named_it_among_the_connections_fields() {
    let head = parse(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Host\r\nX: 1\r\n\r\n").unwrap();
    let sent =
        String::from_utf8(head.for_inner(InnerFraming::None, &Secret::new().unwrap())).unwrap();
    assert!(sent.contains("\r\nHost: h\r\n") && !sent.contains("X: 1"), "{sent}");
}

#[test]
fn a_body_is_framed_one_way_or_the_request_refused() {
    let framing = |fields: &str| post(fields).map(|head| head.framing);
    assert_eq!(framing(""), Ok(Framing::None));
    assert_eq!(framing("Content-Length: 0\r\n"), Ok(Framing::Length(0)));
    assert_eq!(framing("content-length:\t7 \r\n"), Ok(Framing::Length(7)));
    for bad in [
        "",
        "-5",
        "+5",
        "abc",
        "5, 5",
        "5 5",
        "5.0",
        "0x5",
        "5\u{a0}",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        assert_eq!(framing(&format!("Content-Length: {bad}\r\n")), Err(400), "{bad:?}");
    }
    assert_eq!(framing("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(400));
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    let chunked = |coding: &str| framing(&format!("{form}Transfer-Encoding: {coding}\r\n"));
    assert_eq!(chunked("chunked"), Ok(Framing::Chunked));
    assert_eq!(chunked("Chunked "), Ok(Framing::Chunked));
    for bad in
        ["", "gzip", "xchunked", "chunked, chunked", "gzip, chunked", "identity", "chunked;a"]
    {
        assert_eq!(chunked(bad), Err(400), "{bad:?}");
    }
    assert_eq!(chunked("chunked\r\nTransfer-Encoding: chunked"), Err(400));
    assert_eq!(chunked("chunked\r\nContent-Length: 5"), Err(400));
    assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Err(411));
    assert_eq!(framing("Content-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n"), Err(411));
    let old = format!("POST / HTTP/1.0\r\n{form}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(parse(old.as_bytes()).map(|head| head.framing), Err(400));
}

#[test]
fn heads_that_are_none_are_refused() {
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\n", 505),
        ("GET / HTTP/9\r\nHost: a\r\n\r\n", 400),
        ("GET / ICY/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\nHost: a\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("G\u{0}T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nOrigin: \u{e9}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \u{e9}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n : 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nNoColon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: gold\r\n\r\n", 417),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nmore", 400),
    ] {
        assert_eq!(parse(head.as_bytes()).map(drop), Err(status), "{head:?}");
    }
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(parse(many.as_bytes()).map(drop), Err(431));
}

#[test]
fn a_connection_stays_as_its_version_says_unless_it_says_otherwise() {
    use Persistence::{Close, KeepAlive};
    for (version, fields, persistence) in [
        ("1.1", "", KeepAlive),
        ("1.1", "Connection: Close\r\n", Close),
        ("1.1", "Connection: keep-alive\r\nConnection: x, close\r\n", Close),
        ("1.1", "Connection: upgrade\r\n", KeepAlive),
        ("1.0", "", Close),
        ("1.0", "Connection: Keep-Alive\r\n", KeepAlive),
        ("1.0", "Connection: Keep-Alive, close\r\n", Close),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: x\r\n{fields}\r\n");
        let head = parse(head.as_bytes()).unwrap();
        assert_eq!(head.persistence, persistence, "{version} {fields}");
    }
}

#[test]
fn a_head_ends_with_an_empty_line() {
    let status = |bytes: &[u8]| end_of_head(bytes, 0).map_err(|problem| problem.reply().status());
    assert_eq!(status(b""), Ok(None));
    assert_eq!(status(b"GET / HTTP/1.1\r\nA: b\r\n"), Ok(None));
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\nX"), Ok(Some(18)));
    assert_eq!(status(b"GET / HTTP/1.1\n\n"), Err(400));
    assert_eq!(status(b"GET / HTTP/1.1\r\nA: b\n"), Err(400));
    assert_eq!(status(b"\x16\x03\x01"), Err(400), "somebody speaks TLS");
    assert_eq!(too_large(b"GET /aaaa").reply().status(), 414);
    assert_eq!(too_large(b"GET / HTTP/1.1\r\nA: ").reply().status(), 431);
}

proptest! {
    #[test]
    fn it_does_not_matter_how_a_head_arrives(
        names in prop::collection::vec("[A-Za-z-]{1,12}", 0..8),
        cuts in prop::collection::vec(1_usize..40, 1..10),
    ) {
        let fields: String = names.iter().map(|name| format!("X-{name}: {name}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let sent = format!("{head}GET /next HTTP/1.1\r\n\r\n");
        let (mut here, mut scanned) = (0, 0);
        for cut in cuts.iter().cycle() {
            here = (here + cut).min(sent.len());
            let seen = &sent.as_bytes()[..here];
            match end_of_head(seen, scanned).map_err(|_| TestCaseError::fail("refused"))? {
                Some(end) => {
                    prop_assert_eq!(end, head.len());
                    break;
                }
                None => scanned = here,
            }
        }
        prop_assert!(parse(head.as_bytes()).is_ok());
    }

    #[test]
    fn garbage_is_refused_and_nothing_worse(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        likely in "(GET|POST|A) [/a\u{0}é?]{0,4} HTTP/[0-9].[0-9](\r\n|\n|\r)([A-Za-z]{1,3}[ :]{1,2}[\u{0}-\u{ff}]{0,4}(\r\n|\n)){0,5}\r\n",
    ) {
        // What comes out does not matter here.
        drop(parse(likely.as_bytes()));
        drop(end_of_head(likely.as_bytes(), 0));
        drop(end_of_head(&bytes, 0));
        drop(parse(&bytes));
        bytes.splice(0..0, *b"GET / HTTP/1.1\r\nHost: x\r\n");
        drop(parse(&bytes));
    }

    #[test]
    fn what_goes_on_is_ascii_lines_and_nothing_else(value in "[ -~\t\u{0}-\u{1f}é]{0,20}") {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Value: {value}\r\n\r\n");
        if let Ok(head) = parse(head.as_bytes()) {
            let sent = head.for_inner(InnerFraming::None, &Secret::new().unwrap());
            prop_assert!(sent.is_ascii() && !sent.contains(&0));
            let bare = sent.split(|&byte| byte == b'\n').any(|line| {
                line.strip_suffix(b"\r").unwrap_or(line).contains(&b'\r')
            });
            prop_assert!(!bare);
        }
    }
}
