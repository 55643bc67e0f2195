//! The wire contract, held against a real server: what is refused and how, what is repeated, what
//! waits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringback::{Attempt, CallbackPolicy, Output, Server};

use crate::support::{PATIENCE, Part, Target, TestServer, agent, echo, gated, request};

#[test]
fn callbacks_are_held_to_the_rule() {
    let server = TestServer::start(echo().callbacks(CallbackPolicy::Public));
    let reply = server.post("/jobs?callback=http://127.0.0.1:9/", "text/plain", b"x");
    assert_eq!((reply.status, reply.code().as_str()), (422, "callback_refused"));
    assert!(reply.text().contains("--callbacks"), "{reply:?}");
    let parts = [
        Part::Field("callback", "http://10.0.0.1/"),
        Part::File("file", "a.txt", "text/plain", b"x"),
    ];
    assert_eq!(server.post_form("/send", &parts).code(), "callback_refused");
}

#[test]
fn addresses_and_methods_that_are_not_there() {
    let server = TestServer::start(echo());
    for path in ["/nothing", "/jobs/", "/jobs//result", "/jobs/x/y/z", "//"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let unknown = "/jobs/01936f2e-0000-7000-8000-000000000000";
    for path in [unknown, "/jobs/x", &format!("{unknown}/result"), &format!("{unknown}/deliveries")]
    {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_job"), "{path}");
    }
    assert_eq!(server.get(&format!("{unknown}?wait=60")).code(), "unknown_job");
    assert_eq!(server.delete(unknown).code(), "unknown_job");
    for (path, allow) in [
        ("/jobs", "GET, HEAD, POST"),
        ("/send", "POST"),
        (unknown, "GET, HEAD, DELETE"),
        ("/livez", "GET, HEAD"),
    ] {
        let reply = request(agent().put(server.url(path)).send("x"));
        assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"));
        assert_eq!(reply.header("allow"), Some(allow));
    }
    let head = request(agent().head(server.url("/livez")).call());
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(server.get("/").text().contains("POST   /jobs"));
    assert_eq!(server.get(&format!("/jobs?after={}", "x".repeat(17_000))).status, 414);
}

#[test]
fn a_repeated_request_gets_its_reply_from_a_full_queue() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.max_queued(1));
    server.submit(b"running");
    gate.next();
    let send = |key: &str, body: &[u8]| {
        let headers = [("idempotency-key", key), ("content-type", "text/plain")];
        server.with_headers("/jobs", &headers, body)
    };
    let first = send("key-1", b"queued");
    assert_eq!(first.status, 202, "{first:?}");
    let again = send("key-1", b"queued");
    assert_eq!((again.status, again.header("location")), (202, first.header("location")));
    assert_eq!(send("key-2", b"another").code(), "queue_full");
}

#[test]
fn a_key_stands_for_one_request() {
    let server = TestServer::start(echo());
    let send = |key: &str, body: &[u8]| {
        let headers = [("idempotency-key", key), ("content-type", "text/plain")];
        server.with_headers("/jobs", &headers, body)
    };
    let first = send("\"key-1\"", b"one");
    assert_eq!((first.status, first.header("idempotent-replayed")), (202, None), "{first:?}");
    server.finished(first.header("location").expect("a location"));
    let again = send("\"key-1\"", b"one");
    assert_eq!((again.status, again.header("location")), (202, first.header("location")));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(send("key-1", b"one").header("location"), first.header("location"));
    let other = send("key-1", b"two");
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    assert_eq!(send("key-2", b"two").status, 202);
    for bad in ["\"open", "\"\"", &"k".repeat(256)] {
        assert_eq!(send(bad, b"x").code(), "bad_idempotency_key");
    }
    assert_eq!(server.jobs().len(), 2);
}

#[test]
fn the_same_work_is_one_job_while_it_is_not_done() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let first = server.post("/jobs?word=a", "text/plain", b"one");
    let (id, _) = gate.next();
    let again = server.post("/jobs?word=a", "text/plain", b"one");
    assert_eq!((again.status, again.header("location")), (202, first.header("location")));
    assert_eq!(again.header("ringback-coalesced"), Some("true"));
    assert_eq!(again.json()["id"], id.to_string());
    for other in ["/jobs?word=b", "/jobs?word=a&coalesce=false"] {
        let other = server.post(other, "text/plain", b"one");
        assert_ne!(other.header("location"), first.header("location"));
        assert_eq!(other.header("ringback-coalesced"), None);
    }
    gate.succeed("1");
    server.finished(first.header("location").expect("a location"));
    let later = server.post("/jobs?word=a", "text/plain", b"one");
    assert_ne!(later.header("location"), first.header("location"), "a finished job is history");
    assert_eq!(later.header("ringback-coalesced"), Some("true"), "its twin is queued still");
    for _ in 0..2 {
        gate.next();
        gate.succeed("x");
    }
}

#[test]
fn a_tag_spares_what_the_client_has() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let blocker = server.submit(b"0");
    gate.next();
    let job = server.submit(b"1");
    let first = server.get(&job);
    let tag = first.header("etag").expect("a tag").to_owned();
    let ask = || request(agent().get(server.url(&job)).header("if-none-match", &tag).call());
    let unchanged = ask();
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{unchanged:?}");
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    assert!(unchanged.header("retry-after").is_some());
    gate.succeed("0");
    server.finished(&blocker);
    gate.next();
    assert_eq!(ask().status, 200, "it runs now");
    gate.succeed("1");
    let done = server.finished(&job);
    assert_eq!(done["data"], "1");
    let done = ask();
    assert_eq!((done.status, done.header("retry-after")), (200, None));
}

#[test]
fn a_submission_waits_for_its_end_when_it_prefers_to() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let prefer = |wait: &str, body: &[u8]| {
        let headers = [("prefer", wait), ("content-type", "text/plain")];
        server.with_headers("/jobs", &headers, body)
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| prefer("respond-async, wait=30", b"1"));
        gate.next();
        gate.succeed("done");
        let reply = waiting.join().expect("a reply");
        assert_eq!((reply.status, &reply.json()["data"]), (200, &"done".into()), "{reply:?}");
        assert_eq!(reply.header("preference-applied"), Some("wait=30"));
        assert!(reply.header("location").is_some());
    });
    let began = Instant::now();
    let reply = prefer("wait=1", b"2");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!((reply.status, reply.header("preference-applied")), (202, Some("wait=1")));
    assert!(reply.header("retry-after").is_some());
    gate.next();
    gate.succeed("2");
}

#[test]
fn a_wait_ends_with_its_time_or_with_the_job_however_that_ends() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let job = server.submit(b"1");
    gate.next();
    let began = Instant::now();
    let reply = server.get(&format!("{job}?wait=1"));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!((reply.status, &reply.json()["state"]), (200, &"running".into()));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(server.get(&format!("{job}?wait=soon")).code(), "bad_parameter");
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (tell, url) = (tell.clone(), server.url(&format!("{job}?wait=60")));
            scope.spawn(move || tell.send(request(agent().get(url).call())));
        }
        // Canceled before or after a request is parked: it is answered either way.
        assert_eq!(server.delete(&job).status, 200);
        for _ in 0..3 {
            let reply = told.recv_timeout(PATIENCE).expect("an answer before the minute");
            assert_eq!(reply.json()["state"], "canceled");
        }
    });
}

#[test]
fn no_end_is_missed_by_those_who_wait_for_it() {
    // Jobs that end while the requests that wait for them are on their way to be parked.
    let server = TestServer::start(echo());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let agent = agent();
                for n in 0..50 {
                    let job = agent.post(server.url("/jobs")).header("prefer", "wait=60");
                    let reply = request(job.send(format!("{client} {n}")));
                    assert_eq!((reply.status, &reply.json()["state"]), (200, &"succeeded".into()));
                    let job = agent.post(server.url("/jobs")).send(format!("{n} {client}"));
                    let address = request(job).header("location").expect("a location").to_owned();
                    let shown = agent.get(server.url(&format!("{address}?wait=60"))).call();
                    assert_eq!(request(shown).json()["state"], "succeeded");
                }
            });
        }
    });
    assert!(began.elapsed() < Duration::from_secs(50), "nobody waited for a minute");
}

#[test]
fn a_request_that_brings_down_its_answer_brings_down_no_thread() {
    let server = TestServer::start(echo());
    // tiny_http sorts these by their weights, and panics: there is no order among them.
    let weights: Vec<String> = (0..60)
        .map(|n| if n % 3 == 0 { "a;q=nan".to_owned() } else { format!("a;q=0.{}", n * 7 % 10) })
        .collect();
    let evil =
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nTE: {}\r\n\r\n", weights.join(", "));
    for _ in 0..8 {
        server.exchange(evil.as_bytes());
    }
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn a_stop_answers_those_who_wait() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.drain(Duration::from_millis(200)));
    let job = server.submit(b"1");
    gate.next();
    let (asked, url) = (server.addr(), format!("{job}?wait=60"));
    let waiting = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(asked).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!("GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it is sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("an answer");
        reply
    });
    // The request is on its way or parked: both are answered.
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));
    server.stop();
    let reply = waiting.join().expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert!(reply.contains("\"state\":\"queued\""), "it went back to the queue: {reply}");
}

#[test]
fn a_server_that_starts_says_so_and_takes_jobs() {
    let (go, goes) = mpsc::channel::<()>();
    let folder = tempfile::tempdir().expect("a folder");
    let builder = echo().data(folder.path()).prepare(move || {
        goes.recv().expect("the test says go");
        Ok(())
    });
    let server = builder.bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", server.addr());
    let starting = std::thread::spawn(move || server.start().expect("start"));
    let reply = request(agent().get(format!("{url}/readyz")).call());
    assert_eq!((reply.status, reply.code().as_str()), (503, "starting"));
    assert_eq!(request(agent().get(format!("{url}/livez")).call()).status, 200);
    assert_eq!(request(agent().post(format!("{url}/jobs")).send("x")).status, 202);
    go.send(()).expect("it waits");
    let running = starting.join().expect("it starts");
    assert_eq!(request(agent().get(format!("{url}/readyz")).call()).status, 200);
    running.stop();
}

#[test]
fn jobs_are_listed_newest_first_and_by_the_page() {
    let server = TestServer::start(echo());
    let mut sent: Vec<String> = (0..5).map(|n| server.submit(format!("{n}").as_bytes())).collect();
    for job in &sent {
        server.finished(job);
    }
    sent.reverse();
    let mut listed = Vec::new();
    let mut next = "/jobs?limit=2&state=succeeded".to_owned();
    loop {
        let page = server.get(&next);
        for job in page.json()["jobs"].as_array().expect("jobs") {
            assert_eq!(job.get("data"), None, "lists leave the data out");
            listed.push(format!("/jobs/{}", job["id"].as_str().expect("an id")));
        }
        let body = page.json();
        let Some(path) = body.get("next").and_then(|next| next.as_str()) else { break };
        assert_eq!(page.header("link"), Some(format!("<{path}>; rel=\"next\"").as_str()));
        next = path.to_owned();
    }
    assert_eq!(listed, sent);
    assert_eq!(server.get("/jobs?state=failed").json()["jobs"].as_array().map(Vec::len), Some(0));
    for bad in ["state=lost", "limit=0", "limit=101", "limit=x", "after=x"] {
        assert_eq!(server.get(&format!("/jobs?{bad}")).code(), "bad_parameter", "{bad}");
    }
}

#[test]
fn a_job_without_an_output_has_no_result() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let job = server.submit(b"1");
    gate.next();
    let result = server.get(&format!("{job}/result"));
    assert_eq!((result.status, result.code().as_str()), (404, "not_finished"));
    assert!(result.header("retry-after").is_some());
    server.delete(&job);
    assert_eq!(server.get(&format!("{job}/result")).code(), "no_result");
    let deliveries = server.get(&format!("{job}/deliveries")).json();
    assert_eq!(deliveries["deliveries"].as_array().map(Vec::len), Some(0));
}

#[test]
fn an_output_cannot_act_as_a_page_of_the_server() {
    let server = TestServer::start(Server::builder().task("page", |attempt: &Attempt| {
        let path = attempt.scratch()?.join("out");
        std::fs::write(&path, "<script>")?;
        Ok(Output::file(path, "a\"\r\nX-Evil: 1.html", "text/html\r\nX-Evil: 1"))
    }));
    let job = server.submit(b"1");
    let data = server.finished(&job);
    assert_eq!(data["data"]["bytes"], 8);
    let result = server.get(&format!("{job}/result"));
    assert_eq!((result.status, result.text()), (200, "<script>"));
    assert_eq!(result.header("x-evil"), None);
    assert_eq!(result.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(result.header("content-security-policy"), Some("sandbox"));
    let disposition = result.header("content-disposition").expect("a disposition");
    assert!(disposition.starts_with("attachment; filename=\"a___X-Evil: 1.html\""));
}

#[test]
fn stalled_downloads_keep_nobody_from_polling() {
    let server = TestServer::start(Server::builder().task("draw", |attempt: &Attempt| {
        let path = attempt.scratch()?.join("out");
        std::fs::write(&path, vec![3; 20_000_000])?;
        Ok(Output::file(path, "out", "image/x"))
    }));
    let client = agent();
    let get = |path: &str| request(client.get(server.url(path)).call());
    let job = server.submit(b"1");
    server.finished(&job);
    let stalled: Vec<TcpStream> = (0..6)
        .map(|_| {
            let mut stream = TcpStream::connect(server.addr()).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let head = format!("GET {job}/result HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("it is sent");
            let mut begun = [0; 12];
            stream.read_exact(&mut begun).expect("an answer");
            assert_eq!(&begun, b"HTTP/1.1 200");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(get(&job).status, 200);
    }
    drop(stalled);
}
