//! What a stranger may send, held against a real server. In every case another client is served
//! meanwhile and afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::{
    FORM_TYPE, PATIENCE, Part, Target, TestServer, echo, eventually, files_below, form,
};

/// What another client may have to wait on a busy machine.
const SOON: Duration = Duration::from_secs(5);

fn connect(server: &impl Target) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Another client asks for something and gets it.
fn assert_served(server: &impl Target) {
    let began = Instant::now();
    assert_eq!(server.get("/jobs?limit=1").status, 200);
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
}

/// Another client brings a job and gets its result.
fn assert_works(server: &impl Target) {
    let job = server.submit(b"honest");
    assert_eq!(server.finished(&job)["state"], "succeeded");
}

/// Sends as much of this as is taken, and reads until the server ends the connection.
fn told(stream: &mut TcpStream, bytes: &[u8]) -> String {
    // A server that has heard enough need not hear the rest.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => reply.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server leaves the connection open: {error}"),
        }
    }
    String::from_utf8(reply).expect("UTF-8")
}

/// Sends this on a connection of its own; it must be refused with `status`, and the connection end.
fn assert_refused(server: &impl Target, what: &str, bytes: &[u8], status: u16) {
    let reply = told(&mut connect(server), bytes);
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {reply}");
    assert_eq!(reply.matches("\r\n\r\n").count(), 1, "one answer, {what}: {reply}");
    assert!(reply.contains("Connection: close"), "{what}: {reply}");
    assert!(reply.contains("application/problem+json"), "{what}: {reply}");
    assert_served(server);
}

const NEXT: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn post(fields: &str) -> String {
    format!("POST /jobs HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n")
}

#[test]
fn a_body_of_no_clear_length_is_refused() {
    let server = TestServer::start(echo());
    for (fields, status) in [
        ("Content-Length: 30000000000", 413),
        ("Content-Length: 9000000000000000000", 413),
        ("Content-Length: 9223372036854775808", 413),
        ("Content-Length: 18446744073709551615", 413),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: abc", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length:", 400),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked", 411),
        ("Content-Length: 30000000000\r\nExpect: 100-continue", 413),
        ("Content-Length: 5\r\nExpect: a-miracle", 417),
    ] {
        // What follows might be taken for a request of its own.
        assert_refused(&server, fields, (post(fields) + NEXT).as_bytes(), status);
    }
    assert_works(&server);
}

#[test]
fn chunks_that_are_none_are_refused() {
    let server = TestServer::start(echo());
    let chunked = post(&format!("Content-Type: {FORM_TYPE}\r\nTransfer-Encoding: chunked"));
    let long = "1".repeat(1_000_000);
    let extended = format!("5;{long}\r\n");
    for (what, body) in [
        ("a size of 1 MB", &*long),
        ("an extension of 1 MB", &*extended),
        ("not a number", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("17 digits", "11111111111111111\r\n"),
        ("longer than it says", "5\r\nhello you\r\n0\r\n\r\n"),
        ("a line feed alone", "5\nhello\n0\n\n"),
    ] {
        assert_refused(&server, what, format!("{chunked}{body}").as_bytes(), 400);
    }
    assert_refused(&server, "16 EiB", format!("{chunked}ffffffffffffffff\r\n").as_bytes(), 413);
    for cut in ["", "5", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n"] {
        let reply = server.exchange(format!("{chunked}{cut}").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 400 "), "{cut:?}: {reply}");
    }
    assert_eq!(server.jobs().len(), 0);
    assert_works(&server);
}

#[test]
fn a_long_body_that_is_cut_off_or_breaks_leaves_nothing_behind() {
    let server = TestServer::start(echo().max_body(300_000));
    let body = form(&[Part::File("file", "a", "text/plain", &[b'x'; 250_000])]);
    let chunks = |bytes: &[u8]| {
        let chunk =
            |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        bytes.chunks(10_000).flat_map(chunk).collect::<Vec<u8>>()
    };
    let chunked = post(&format!("Content-Type: {FORM_TYPE}\r\nTransfer-Encoding: chunked"));
    let begun = [chunked.as_bytes(), &chunks(&body[..200_000])].concat();
    assert_refused(&server, "a broken chunk", &[&begun[..], b"oops\r\n"].concat(), 400);
    let too_long = [&begun[..], &chunks(&[b'x'; 110_000])].concat();
    assert_refused(&server, "too many bytes in chunks", &too_long, 413);
    assert!(server.exchange(&begun).starts_with("HTTP/1.1 400 "));
    assert_eq!(files_below(&server.folder().join("spool")), 0);
    assert_eq!(server.jobs().len(), 0);
    let whole = [chunked.as_bytes(), &chunks(&body), b"0\r\n\r\n", NEXT.as_bytes()].concat();
    let reply = server.exchange(&whole);
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    assert!(reply.contains("\"live\""), "the connection goes on: {reply}");
}

/// Sends `piece` again and again, 100 MB in all or until the server has heard enough.
fn assert_endless_is_refused(server: &TestServer, begin: &str, piece: &str, status: u16) {
    let mut stream = connect(server);
    stream.write_all(begin.as_bytes()).expect("it is sent");
    let block = piece.repeat(1_000_000 / piece.len());
    for _ in 0..100 {
        if stream.write_all(block.as_bytes()).is_err() {
            break;
        }
    }
    let reply = told(&mut stream, b"");
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")) || reply.is_empty(), "{reply}");
    assert_served(server);
    let once = told(
        &mut connect(server),
        format!("{begin}{}", piece.repeat(20_000 / piece.len())).as_bytes(),
    );
    assert!(once.starts_with(&format!("HTTP/1.1 {status} ")), "{once}");
}

#[test]
fn a_head_without_end_is_refused() {
    let server = TestServer::start(echo());
    assert_endless_is_refused(&server, "GET /", "a", 414);
    assert_endless_is_refused(&server, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "a", 431);
    assert_endless_is_refused(&server, "GET / HTTP/1.1\r\nHost: localhost\r\n", "X: y\r\n", 431);
    assert_refused(
        &server,
        "101 fields",
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)).as_bytes(),
        431,
    );
    assert_works(&server);
}

#[test]
fn heads_that_are_none_are_refused() {
    let server = TestServer::start(echo());
    let get = |rest: &str| format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n");
    for (what, head, status) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two hosts", get("Host: y\r\n"), 400),
        ("NUL in a value", get("X: a\0b\r\n"), 400),
        ("NUL in a name", get("X\0: a\r\n"), 400),
        ("NUL in the address", "GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("CR in a value", get("X: a\rSet: b\r\n"), 400),
        ("LF in a value", get("X: a\nSet: b\r\n"), 400),
        ("LF alone", "GET / HTTP/1.1\nHost: x\n\n".to_owned(), 400),
        ("a space before the colon", get("Content-Length : 5\r\n"), 400),
        ("a folded line", get("X: a\r\n b\r\n"), 400),
        ("not ASCII", get("X: é\r\n"), 400),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("HTTP/1.2.3", "GET / HTTP/1.2.3\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}".to_owned(), 400),
    ] {
        assert_refused(&server, what, head.as_bytes(), status);
    }
    assert_refused(
        &server,
        "not UTF-8",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \xff\xfe\r\n\r\n",
        400,
    );
    assert_refused(
        &server,
        "an address not UTF-8",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        400,
    );
    let cookie =
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nCookie: \xff\r\nConnection: close\r\n\r\n";
    let reply = told(&mut connect(&server), cookie);
    assert!(reply.starts_with("HTTP/1.1 200 "), "cookies are of no concern here: {reply}");
    assert_works(&server);
}

#[test]
fn a_client_speaks_for_nobody_else() {
    let server = TestServer::start(echo());
    // The gate's own field would make these five bytes a body of two.
    let forged = post(
        "Ringback-Length: 2\r\nRingback-Peer: 1.2.3.4:5\r\nContent-Length: 5\r\nConnection: close",
    ) + "hello";
    let reply = told(&mut connect(&server), forged.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    assert!(reply.contains("\"bytes\":5"), "{reply}");
}

#[test]
fn a_hundred_slow_heads_keep_nobody_waiting() {
    let server = TestServer::start(echo());
    let mut slow: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    for byte in b"GET /livez HT" {
        for stream in &mut slow {
            stream.write_all(&[*byte]).expect("it is sent");
        }
        assert_served(&server);
    }
    assert_works(&server);
    for stream in &mut slow {
        stream
            .write_all(b"TP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it is sent");
    }
    for stream in &mut slow {
        assert!(told(stream, b"").starts_with("HTTP/1.1 200 "), "who is slow is served in the end");
    }
}

#[test]
fn a_burst_of_connections_is_served() {
    let server = TestServer::start(echo());
    let mut streams: Vec<TcpStream> = (0..64).map(|_| connect(&server)).collect();
    for round in 0..3 {
        for stream in &mut streams {
            stream.write_all(NEXT.as_bytes()).expect("it is sent");
        }
        for (n, stream) in streams.iter_mut().enumerate() {
            let mut reply = Vec::new();
            while !reply.ends_with(b"}\n") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{n} in round {round}");
                reply.push(byte[0]);
            }
            assert!(reply.starts_with(b"HTTP/1.1 200 "));
        }
    }
}

#[test]
fn stalled_uploads_keep_nobody_from_uploading() {
    let server = TestServer::start(echo());
    // Those that fit are waited for before anybody behind the gate hears of them.
    let stalled: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect(&server);
            let begun = post("Content-Type: audio/wav\r\nContent-Length: 1000") + "RIFF";
            stream.write_all(begun.as_bytes()).expect("it is sent");
            stream
        })
        .collect();
    for _ in 0..5 {
        assert_served(&server);
        assert_works(&server);
    }
    drop(stalled);
    assert_eq!(server.jobs().len(), 5, "theirs are none");
}

#[test]
fn readers_that_never_read_keep_nobody_waiting() {
    let server = TestServer::start(echo());
    let page = format!("/jobs?limit={}", "1".repeat(4000));
    let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(200);
    let deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(&server);
            SockRef::from(&stream).set_recv_buffer_size(2048).expect("a small buffer");
            stream.set_nonblocking(true).expect("no waiting");
            // What does not fit is not sent.
            let _ = stream.write(request.as_bytes());
            stream
        })
        .collect();
    for _ in 0..5 {
        assert_served(&server);
    }
    assert_works(&server);
    drop(deaf);
}

#[test]
fn pipelined_requests_are_answered_one_by_one() {
    let server = TestServer::start(echo());
    const MANY: usize = 20_000;
    let mut stream = connect(&server);
    let mut sender = stream.try_clone().expect("a clone");
    let sending = std::thread::spawn(move || {
        let block = NEXT.repeat(100);
        for _ in 0..MANY / 100 {
            sender.write_all(block.as_bytes()).expect("it is sent");
        }
        sender.shutdown(Shutdown::Write).expect("it is ended");
    });
    assert_served(&server);
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("the answers");
    sending.join().expect("all was sent");
    assert_eq!(reply.matches("HTTP/1.1 200 OK\r\n").count(), MANY);
    assert_works(&server);
}

#[test]
fn connections_reset_at_any_stage_do_no_harm() {
    let server = TestServer::start(echo());
    let job = server.submit(b"x");
    let upload = post("Content-Type: audio/wav\r\nContent-Length: 200000") + &"x".repeat(150_000);
    let wait = format!("GET {job}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for message in ["", "GE", "GET / HTTP/1.1\r\nHo", NEXT, &wait, &upload] {
        for part in [message.len() / 2, message.len()] {
            for _ in 0..10 {
                let mut stream = connect(&server);
                stream.write_all(&message.as_bytes()[..part]).expect("it is sent");
                // Closed with this, a connection is reset.
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("no lingering");
            }
            assert_served(&server);
        }
    }
    assert_works(&server);
    eventually("nothing is left in the spool of those that were cut off", || {
        (files_below(&server.folder().join("spool")) <= server.jobs().len()).then_some(())
    });
}

#[test]
fn weights_that_are_not_numbers_do_no_harm() {
    let server = TestServer::start(echo());
    for value in ["a;q=nan", "a;q=inf, b;q=-1", "chunked;q=nan, trailers;q=nan, a;q=0.5", ";;;,,,"]
    {
        let head = format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nTE: {value}\r\nConnection: close\r\n\r\n"
        );
        let reply = told(&mut connect(&server), head.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 200 "), "{value}: {reply}");
    }
    assert_works(&server);
}

#[cfg(all(feature = "cli", feature = "whisper"))]
#[test]
fn a_server_with_few_files_outlives_many_connections() {
    use crate::support::binary::Binary;

    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve_with_files(128, folder.path(), &["--workers", "1"]);
    let open_files = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid()));
        files.map_or(0, Iterator::count)
    };
    let before = open_files();
    let mut idle: Vec<TcpStream> = (0..400).map(|_| connect(&server)).collect();
    // Those who do nothing make room for one who does.
    assert_served(&server);
    for stream in &mut idle {
        // Most were turned away or had to make room.
        let _ = stream.write_all(NEXT.as_bytes());
    }
    assert_served(&server);
    drop(idle);
    assert_served(&server);
    eventually("the files are closed again", || (open_files() <= before + 20).then_some(()));
    let wav = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audio/jfk.wav"));
    let reply = server.post("/jobs", "audio/wav", &wav.expect("a recording"));
    assert_eq!(reply.status, 202, "{reply:?}");
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");
}
