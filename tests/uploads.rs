//! Inputs on their way in: forms and raw bodies, whole, broken, cut off and stalled.

use std::io::{Read, Write};
use std::net::TcpStream;

use ringback::{Attempt, Output, Server};

use crate::support::{
    FORM_TYPE, PATIENCE, Part, Target, TestServer, agent, echo, files_below, form, request,
};

fn file(contents: &[u8]) -> Part<'_> {
    Part::File("file", "a.bin", "application/octet-stream", contents)
}

#[test]
fn send_answers_204_with_the_jobs_address() {
    let server = TestServer::start(echo());
    let parts = [file(b"hello"), Part::Field("callback", "http://127.0.0.1:9/hook")];
    let reply = server.post_form("/send", &parts);
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
    let job = server.finished(reply.header("location").expect("a location"));
    assert_eq!(job["data"], "hello");
    assert_eq!(job["callback"]["url"], "http://127.0.0.1:9/hook");
}

#[test]
fn fields_are_parameters_except_the_reserved_ones() {
    let server = TestServer::start(Server::builder().task("tell", |attempt: &Attempt| {
        let all = attempt.parameters();
        Ok(Output::text(all.names().map(|n| format!("{n}={:?};", all.all(n))).collect::<String>()))
    }));
    let parts = [
        Part::Field("word", "ä b"),
        Part::Field("word", "c"),
        Part::Field("task", "tell"),
        Part::Field("coalesce", "false"),
        file(b"x"),
    ];
    let reply = server.post_form("/jobs?query=1%202", &parts);
    let job = server.finished(reply.header("location").expect("a location"));
    assert_eq!(job["data"], "query=[\"1 2\"];word=[\"ä b\", \"c\"];");
    assert_eq!(job["parameters"]["word"][1], "c");

    let callback = Part::Field("callback", "http://127.0.0.1:9/");
    let parts = [Part::Field("task", "translate"), file(b"x"), callback];
    let reply = server.post_form("/send?query=1", &parts);
    let job = server.finished(reply.header("location").expect("a location"));
    let parameters = "query=[\"1\"];task=[\"translate\"];";
    assert_eq!(job["data"], parameters, "of its own, /send knows `callback` only");
}

#[test]
fn forms_that_lack_something_are_told_what() {
    let server = TestServer::start(echo());
    let callback = || Part::Field("callback", "http://127.0.0.1:9/");
    let unnamed = || Part::File("file", "", "text/plain", b"x");
    let elsewhere = || Part::File("audio", "a.wav", "audio/wav", b"x");
    let long = "x".repeat(64 * 1024 + 1);
    let cases: [(&str, Vec<Part<'_>>, u16, &str); 14] = [
        ("/send", vec![callback()], 422, "missing_file"),
        ("/send", vec![callback(), Part::Field("file", "x")], 422, "missing_file"),
        ("/send", vec![callback(), unnamed()], 422, "missing_file"),
        ("/send", vec![file(b"x")], 422, "missing_callback"),
        ("/send", vec![callback(), file(b"")], 422, "empty_input"),
        ("/send", vec![callback(), file(b"x"), file(b"y")], 422, "unexpected_file"),
        ("/send", vec![callback(), elsewhere()], 422, "unexpected_file"),
        ("/send", vec![callback(), callback(), file(b"x")], 422, "bad_parameter"),
        ("/jobs", vec![], 422, "missing_file"),
        ("/jobs", vec![file(b"x"), Part::Field("coalesce", "no")], 422, "bad_parameter"),
        ("/jobs", vec![file(b"x"), Part::Field("task", "dance")], 422, "unknown_task"),
        ("/jobs", vec![file(b"x"), Part::Field("callback", "ftp://h/")], 422, "bad_callback"),
        ("/jobs", vec![file(b"x"), Part::Field("callback", "hook")], 422, "bad_callback"),
        ("/jobs", vec![file(b"x"), Part::Field("long", &long)], 422, "bad_parameter"),
    ];
    for (path, parts, status, code) in cases {
        let reply = server.post_form(path, &parts);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{reply:?}");
        let problem = reply.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().expect("a detail").ends_with('.'), "{problem}");
    }
    assert_eq!(server.post("/send", "audio/wav", b"x").code(), "unsupported_type");
    assert_eq!(server.post("/jobs", "audio/wav", b"").code(), "empty_input");
    assert_eq!(server.post("/jobs", "multipart/form-data", b"x").code(), "bad_multipart");
    let packed = [("content-encoding", "gzip"), ("content-type", "audio/wav")];
    assert_eq!(server.with_headers("/jobs", &packed, b"x").status, 415);
    assert_eq!(server.jobs().len(), 0);
}

#[test]
fn a_cut_off_form_is_refused_wherever_it_is_cut() {
    let server = TestServer::start(echo());
    let body = form(&[file(&[b'x'; 1200]), Part::Field("word", "y")]);
    let head = |length: usize| {
        format!(
            "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM_TYPE}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    // The form is whole once its closing boundary is; a line end follows it.
    for end in 0..body.len() - 2 {
        let whole_message = [head(end).as_bytes(), &body[..end]].concat();
        let reply = server.exchange(&whole_message);
        assert!(reply.starts_with("HTTP/1.1 400"), "cut at {end}: {reply}");
        assert!(reply.contains("bad_multipart"), "cut at {end}: {reply}");
    }
    for end in (0..body.len()).step_by(7) {
        let cut_message = [head(body.len()).as_bytes(), &body[..end]].concat();
        let reply = server.exchange(&cut_message);
        assert!(reply.starts_with("HTTP/1.1 400"), "cut at {end}: {reply}");
    }
    assert_eq!(server.jobs().len(), 0);
    let whole = [head(body.len()).as_bytes(), &body].concat();
    assert!(server.exchange(&whole).starts_with("HTTP/1.1 202"));
}

#[test]
fn a_cut_off_input_leaves_nothing_behind() {
    let server = TestServer::start(echo());
    let input = vec![7; 200_000];
    let form = form(&[file(&input)]);
    for (content_type, body) in [("audio/wav", &input), (FORM_TYPE, &form)] {
        for end in [1_500, 70_000, 199_999] {
            let head = format!(
                "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let reply = server.exchange(&[head.as_bytes(), &body[..end]].concat());
            assert!(reply.starts_with("HTTP/1.1 400"), "cut at {end}: {reply}");
            assert_eq!(files_below(&server.folder().join("spool")), 0);
        }
    }
    assert_eq!(server.jobs().len(), 0);
}

fn chunked(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut message = head.into_bytes();
    for chunk in body.chunks(100) {
        message.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        message.extend_from_slice(chunk);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"0\r\n\r\n");
    message
}

const NEXT: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn chunks_are_taken_for_forms_alone() {
    let server = TestServer::start(echo().max_body(5_000));
    let fits = chunked("/jobs", FORM_TYPE, &form(&[file(&[b'x'; 3_000])]));
    let reply = server.exchange(&[&fits, NEXT].concat());
    assert!(reply.starts_with("HTTP/1.1 202"), "{reply}");
    assert!(reply.contains("\"live\""), "the connection goes on: {reply}");

    let too_long = chunked("/jobs", FORM_TYPE, &form(&[file(&[b'x'; 6_000])]));
    let reply = server.exchange(&[&too_long, NEXT].concat());
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1").count(), 1, "what follows is not looked at: {reply}");

    let raw = chunked("/jobs", "audio/wav", b"x");
    let reply = server.exchange(&[&raw, NEXT].concat());
    assert!(reply.starts_with("HTTP/1.1 411"), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1").count(), 1, "{reply}");
}

#[test]
fn a_head_that_contradicts_itself_is_refused() {
    let server = TestServer::start(echo());
    for framing in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: five",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        // Five bytes of body, or the last chunk.
        let head = format!("POST /jobs HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n0\r\n\r\n");
        let reply = server.exchange(head.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 400"), "{framing}: {reply}");
        assert!(reply.contains("bad_request"), "{framing}: {reply}");
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_unread() {
    let server = TestServer::start(echo().max_body(1_000));
    assert_eq!(server.post("/jobs", "text/plain", &[b'x'; 1_000]).status, 202);
    let reply = server.post("/jobs", "text/plain", &[b'x'; 1_001]);
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
    assert!(reply.text().contains("1000 bytes"), "{reply:?}");
    let mut stream = TcpStream::connect(server.addr()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is sent");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 413", "the client is not asked for the body");
}

#[test]
fn names_and_types_are_made_harmless() {
    let server = TestServer::start(echo());
    let evil = Part::File("file", "../../é\u{202e}%0D%0Aa\\\"b.wav", "NOT a type", b"x");
    let reply = server.post_form("/jobs", &[evil]);
    let job = server.finished(reply.header("location").expect("a location"));
    assert_eq!(job["input"]["name"], "éa\"b.wav");
    assert_eq!(job["input"].get("type"), None);
}

#[test]
fn stalled_uploads_keep_nobody_from_polling() {
    let server = TestServer::start(echo());
    let client = agent();
    let head = format!(
        "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM_TYPE}\r\n\
         Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
    );
    let get = |path: &str| request(client.get(server.url(path)).call());
    assert_eq!(get("/livez").status, 200);
    // As many as are taken in at once: each is asked for a body that does not come.
    let stalled: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.addr()).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.write_all(head.as_bytes()).expect("it is sent");
            let mut asked = [0; 12];
            stream.read_exact(&mut asked).expect("an answer");
            assert_eq!(&asked, b"HTTP/1.1 100");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(get("/jobs").status, 200);
    }
    drop(stalled);
}
