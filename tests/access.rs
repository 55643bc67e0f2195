//! Who is let in, and how much of the server each gets: keys, names, other people's pages, rates and
//! shares. All of it is said before anything of a body is read.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use ringback::{ApiKey, Builder, CorsOrigin, Error};
use socket2::{Domain, Socket, Type};

use crate::support::{PATIENCE, Reply, Target, TestServer, agent, echo, gated, request};

const KEYS: [&str; 2] = ["0123456789abcdef", "fedcba9876543210"];

fn key(text: &str) -> ApiKey {
    text.parse().expect("a key")
}

fn with_keys(builder: Builder) -> TestServer {
    TestServer::start(KEYS.into_iter().fold(builder, |builder, text| builder.api_key(key(text))))
}

/// The head of a long upload; if it is answered, it is without the body.
fn upload(fields: &str) -> String {
    format!(
        "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Content-Length: 1000000\r\n{fields}\r\n"
    )
}

/// A connection that seems to come from another machine.
fn connect_from(server: &impl Target, address: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddrV4::new(address, 0).into()).expect("an address of loopback");
    socket.connect(&server.addr().into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends a head and reads until the server ends the connection, which it does by itself.
fn told_from(server: &impl Target, address: Ipv4Addr, head: &str) -> String {
    let mut stream = connect_from(server, address);
    stream.write_all(head.as_bytes()).expect("it is sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer and an end");
    reply
}

fn told(server: &impl Target, head: &str) -> String {
    told_from(server, Ipv4Addr::LOCALHOST, head)
}

#[track_caller]
fn assert_refused(reply: &str, status: u16, code: &str) {
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    assert!(reply.contains(&format!("\"code\":\"{code}\"")), "{reply}");
    assert!(reply.contains("Connection: close\r\n"), "{reply}");
}

#[test]
fn without_a_key_nothing_is_done_and_no_body_is_read() {
    let server = with_keys(echo());
    for authorization in
        ["", "Authorization: Bearer 0123456789abcdeX\r\n", "Authorization: Basic x\r\n"]
    {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let reply = told(&server, &upload(&format!("{authorization}{expect}")));
            assert_refused(&reply, 401, "unauthorized");
            assert!(reply.contains("WWW-Authenticate: Bearer"), "{reply}");
        }
    }
    for path in ["/jobs", "/jobs/01a2", "/nothing"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    for path in ["/", "/livez", "/readyz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for text in KEYS {
        let authorization = format!("Bearer {text}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "text/plain")];
        assert_eq!(server.with_headers("/jobs", &headers, text.as_bytes()).status, 202);
    }
}

#[test]
fn what_a_key_was_used_for_is_not_another_keys() {
    let server = with_keys(echo());
    let submit = |text: &str| {
        let authorization = format!("Bearer {text}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "text/plain"),
            ("idempotency-key", "\"one\""),
        ];
        let reply = server.with_headers("/jobs", &headers, b"the same");
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.header("location").expect("a location").to_owned()
    };
    let first = submit(KEYS[0]);
    assert_eq!(submit(KEYS[0]), first);
    assert_ne!(submit(KEYS[1]), first);
}

#[test]
fn a_client_with_its_key_is_served() {
    let server = with_keys(echo());
    let client = ringback::client::Client::new(server.url(""));
    assert!(client.list(None, 1, None).is_err());
    let client = client.with_key(key(KEYS[1]));
    let upload = ringback::client::Upload::bytes("a.txt", b"hello".to_vec());
    let submitted = client.submit(upload).expect("a job");
    let job = client.wait(submitted.id, std::time::Instant::now() + PATIENCE).expect("its end");
    assert_eq!(job.data, Some("hello".into()));
    client.cancel(submitted.id).expect("it is forgotten");
}

#[test]
fn others_do_not_reach_a_server_without_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let bind = |builder: Builder| builder.data(folder.path()).bind("0.0.0.0:0").map(drop);
    match bind(echo()) {
        Err(error @ Error::Unprotected { .. }) => {
            assert!(error.to_string().contains("--insecure"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    bind(echo().insecure()).expect("it was asked for");
    bind(echo().api_key(key(KEYS[0]))).expect("a key protects it");
}

#[test]
fn a_page_whose_name_leads_here_gets_nothing() {
    let server = TestServer::start(echo().host("jobs.example.com"));
    let get = |host: &str| {
        told(&server, &format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    assert_refused(&get("evil.example"), 403, "host_refused");
    for host in ["localhost:1", "127.0.0.1", "[::1]:8080", "jobs.example.com"] {
        assert!(get(host).starts_with("HTTP/1.1 200 "), "{host}");
    }
    let reply =
        told(&server, &upload("Expect: 100-continue\r\n").replace("localhost", "evil.example"));
    assert_refused(&reply, 403, "host_refused");
}

#[test]
fn a_page_on_another_site_may_not_submit_or_cancel() {
    let server = TestServer::start(echo());
    let job = server.submit(b"x");
    let from = |method: &str, path: &str, fields: &str| {
        told(
            &server,
            &format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{fields}\r\n"
            ),
        )
    };
    for fields in [
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: http://localhost:3000\r\n",
        "Origin: http://localhost:3000\r\n",
        "Origin: null\r\n",
    ] {
        assert_refused(&from("POST", "/send", fields), 403, "cross_site");
        assert_refused(&from("DELETE", &job, fields), 403, "cross_site");
        assert_refused(&told(&server, &upload(fields)), 403, "cross_site");
    }
    assert_eq!(server.get(&job).status, 200, "it is still there");
}

#[test]
fn a_site_that_is_named_may_use_the_server_and_is_told_so() {
    let origin: CorsOrigin = "https://app.example".parse().expect("an origin");
    let server = TestServer::start(echo().cors_origin(origin).api_key(key(KEYS[0])));
    let preflight = "OPTIONS /jobs HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\
                     Access-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: authorization\r\n\r\n";
    let reply = told(&server, preflight);
    assert!(reply.starts_with("HTTP/1.1 204 "), "{reply}");
    for field in [
        "Access-Control-Allow-Origin: https://app.example\r\n",
        "Access-Control-Allow-Methods: GET, HEAD, POST, DELETE\r\n",
        "Access-Control-Allow-Headers: Authorization, ",
        "Vary: Origin\r\n",
    ] {
        assert!(reply.contains(field), "{field}: {reply}");
    }
    let allowed = |reply: &Reply| reply.header("access-control-allow-origin").map(str::to_owned);
    let get = |origin: &str, authorization: &str| {
        let get = agent().get(server.url("/jobs")).header("origin", origin);
        request(get.header("authorization", authorization).call())
    };
    let bearer = format!("Bearer {}", KEYS[0]);
    let named = get("https://app.example", &bearer);
    assert_eq!((named.status, allowed(&named).as_deref()), (200, Some("https://app.example")));
    assert!(named.header("access-control-expose-headers").is_some());
    // A refusal can be read, too: the page has something to say.
    let refused = get("https://app.example", "Bearer wrong");
    assert_eq!((refused.status, allowed(&refused).as_deref()), (401, Some("https://app.example")));
    let too_large = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\
                     Authorization: Bearer 0123456789abcdef\r\nContent-Length: 30000000000\r\n\r\n";
    let reply = told(&server, too_large);
    assert_refused(&reply, 413, "body_too_large");
    assert!(reply.contains("Access-Control-Allow-Origin: https://app.example\r\n"), "{reply}");
    let other = get("https://other.example", &bearer);
    assert_eq!((other.status, allowed(&other)), (200, None), "its page cannot read it");
}

#[test]
fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let server = TestServer::start(echo().rate(2));
    let get = |address| {
        told_from(
            &server,
            address,
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
    };
    let (busy, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let refused = (0..100).map(|_| get(busy)).find(|reply| !reply.starts_with("HTTP/1.1 200 "));
    let refused = refused.expect("a refusal");
    assert_refused(&refused, 429, "too_many_requests");
    assert!(refused.contains("Retry-After: 1\r\n"), "{refused}");
    assert!(get(other).starts_with("HTTP/1.1 200 "));
}

#[test]
fn one_client_does_not_fill_the_queue() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.max_queued(4).per_client(2));
    let (greedy, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let submit = |address, body: &str| {
        told_from(
            &server,
            address,
            &format!(
                "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            ),
        )
    };
    assert!(submit(greedy, "runs").starts_with("HTTP/1.1 202 "));
    gate.next();
    for body in ["waits", "waits, too"] {
        assert!(submit(greedy, body).starts_with("HTTP/1.1 202 "), "{body}");
    }
    let reply = told_from(&server, greedy, &upload("Expect: 100-continue\r\n"));
    assert_refused(&reply, 429, "share_taken");
    assert!(reply.contains("Retry-After: "), "{reply}");
    for body in ["another's", "another's, too"] {
        assert!(submit(other, body).starts_with("HTTP/1.1 202 "), "{body}");
    }
    assert_refused(&told(&server, &upload("")), 503, "queue_full");
}

#[test]
fn what_a_task_does_not_take_is_refused_before_the_body() {
    let options = ringback::TaskOptions::new().accepts(["text/plain"]);
    let builder = ringback::Server::builder()
        .task_with("text", options, |_| Ok(ringback::Output::text("done")));
    let server = TestServer::start(builder);
    for expect in ["", "Expect: 100-continue\r\n"] {
        let reply = told(&server, &upload(expect).replace("text/plain", "image/png"));
        assert_refused(&reply, 415, "unsupported_type");
        let reply = told(&server, &upload(&format!("Content-Encoding: gzip\r\n{expect}")));
        assert_refused(&reply, 415, "unsupported_type");
        let reply = told(&server, &upload(expect).replace("/jobs", "/jobs?callback=ftp://x"));
        assert_refused(&reply, 422, "bad_callback");
    }
}

#[cfg(all(feature = "cli", feature = "whisper"))]
#[test]
fn no_key_is_ever_logged() {
    use crate::support::binary::Binary;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("# two\n{}\n{}\n", KEYS[0], KEYS[1])).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let server = Binary::serve(&folder.path().join("data"), &["-vv", "--api-key-file", file]);
    for shown in ["not-a-key-of-this-server", KEYS[0]] {
        let get =
            agent().get(server.url("/jobs")).header("authorization", format!("Bearer {shown}"));
        assert_eq!(request(get.call()).status, if shown == KEYS[0] { 200 } else { 401 });
    }
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    for secret in [KEYS[0], KEYS[1], "not-a-key-of-this-server"] {
        assert!(!said.iter().any(|line| line.contains(secret)), "{said:#?}");
    }
}
